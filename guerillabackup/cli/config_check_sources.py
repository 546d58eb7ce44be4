"""What `config check` finds about the sources of the units: where they are, what is never left out of them.

It joins the overlays and the tar unit's own checks.
"""

from collections.abc import Mapping
from typing import Any

from guerillabackup.cli.unit_hint import what_to_do
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.units.settings import find_unencrypted
from guerillabackup.units.tar_place import check_place
from guerillabackup.units.tar_source import TarSource, find_idle_excludes, split_sources

TAR_SOURCES = "TarBackupUnitConfigList"


def find_source_problems(configuration: Mapping[str, Any]) -> list[str]:
    """What of a unit's sources is not there or may not be read, where nothing makes it before the backup."""
    problems = []
    for source in _sources(configuration):
        if source.pre_command is not None or source.full_override is not None:
            continue
        try:
            check_place(source)
        except GuerillaBackupError as error:
            problems.append(f"source {source.source_url}: {error}")
    return problems


def find_source_warnings(configuration: Mapping[str, Any]) -> list[str]:
    """What an administrator should look at, although the sources of the unit would be backed up."""
    sources = _sources(configuration)
    unencrypted = find_unencrypted(sources, configuration)
    warnings = [] if unencrypted is None else [unencrypted]
    for source in sources:
        warnings += [f"source {source.source_url}: {text}" for text in find_idle_excludes(source)]
    return warnings


def warn_of_nothing(config_directory: str, overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A warning when there is no unit, or no source in any of them; other units than tar's may have some."""
    if not overlays:
        return [f"no unit is enabled: nothing is backed up; {what_to_do(config_directory)}"]
    empty = [name for name, overlay in overlays.items() if overlay.get(TAR_SOURCES) == {}]
    if len(empty) < len(overlays):
        return []
    return [f"unit {name} has no source: nothing is backed up" for name in empty]


def _sources(configuration: Mapping[str, Any]) -> tuple[TarSource, ...]:
    """The sources whose settings are right; the others are told of elsewhere."""
    listed = configuration.get(TAR_SOURCES)
    if listed is None:
        return ()
    try:
        return split_sources(listed).sources
    except GuerillaBackupError:
        return ()
