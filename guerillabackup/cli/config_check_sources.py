"""What `config check` finds about the sources of the units: what they need and do not have, what looks wrong.

It joins the overlays and the units' own checks.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerillabackup.cli.config_check_logs import find_live_logs
from guerillabackup.cli.unit_hint import what_to_do
from guerillabackup.config_key import Key
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.units import command_source, logfile_input, tar_source
from guerillabackup.units.command_environment import find_environment_problems
from guerillabackup.units.logfile_files import LogDirectory
from guerillabackup.units.settings import find_unencrypted
from guerillabackup.units.tar_place import check_place


@dataclass(frozen=True, slots=True)
class SourceKind:
    """The sources of one kind of units: the key that lists them, and what to ask of each.

    `parse` raises ConfigError with every problem; `split` hands back those without.
    """

    key: str
    about: str
    parse: Callable[[object], Sequence[Any]]
    split: Callable[[object], Sequence[Any]]
    find_problems: Callable[[Any], Sequence[str]]
    find_warnings: Callable[[Any], Sequence[str]]
    example: str = "{}"


def _tar_problems(source: tar_source.TarSource) -> Sequence[str]:
    """Programs that are not there; and what may not be read, where nothing makes it before the backup."""
    return [*_missing_programs(source), *_place_problems(source)]


def _missing_programs(source: tar_source.TarSource) -> Iterator[str]:
    if source.full_override is None and shutil.which("tar") is None:
        yield "the program tar is not there: install the package tar"
    commands = {
        "PreBackupCommand": source.pre_command,
        "PostBackupCommand": source.post_command,
        "FullOverrideCommand": source.full_override,
        "IncOverrideCommand": source.inc_override,
    }
    for setting, argv in commands.items():
        if argv is not None and shutil.which(argv[0]) is None:
            yield f"{setting}: program {argv[0]} is not there"


def _place_problems(source: tar_source.TarSource) -> Sequence[str]:
    if source.pre_command is not None or source.full_override is not None:
        return ()
    try:
        check_place(source)
    except GuerillaBackupError as error:
        return (str(error),)
    return ()


def _log_problems(log_input: logfile_input.LogInput) -> Sequence[str]:
    """Why the directory of log files cannot be used."""
    try:
        with LogDirectory(log_input.directory) as directory:
            directory.list_names()
            directory.check_removable()
    except GuerillaBackupError as error:
        return (str(error),)
    return ()


KINDS = (
    SourceKind(
        "TarBackupUnitConfigList",
        "Sources of the tar unit.",
        tar_source.parse_sources,
        lambda value: tar_source.split_sources(value).sources,
        _tar_problems,
        tar_source.find_idle_excludes,
    ),
    SourceKind(
        command_source.CONFIG_KEY,
        "Sources of the command unit.",
        command_source.parse_sources,
        lambda value: command_source.split_sources(value).sources,
        find_environment_problems,
        command_source.find_exposed_secrets,
    ),
    SourceKind(
        "LogBackupUnitInputList",
        "Log files of the logfile unit.",
        logfile_input.check_inputs,
        lambda value: logfile_input.parse_inputs(value, SourceUrl("/entry")).inputs,
        _log_problems,
        find_live_logs,
        "[]",
    ),
)


def _checker(kind: SourceKind) -> Callable[[Any], Sequence[str]]:
    def check(value: Any) -> Sequence[str]:
        try:
            kind.parse(value)
        except ConfigError as error:
            return error.problems
        return ()

    return check


UNIT_KEYS = tuple(Key(kind.key, kind.about, _checker(kind), kind.example) for kind in KINDS)


def find_source_problems(configuration: Mapping[str, Any]) -> list[str]:
    """What a unit's sources need and this host does not have."""
    return [
        f"source {source.source_url}: {text}"
        for kind, sources in _sources(configuration)
        for source in sources
        for text in kind.find_problems(source)
    ]


def find_source_warnings(configuration: Mapping[str, Any]) -> list[str]:
    """What an administrator should look at, although the sources of the unit would be backed up."""
    warnings = []
    for kind, sources in _sources(configuration):
        unencrypted = find_unencrypted(sources, configuration)
        warnings += [] if unencrypted is None else [unencrypted]
        for source in sources:
            warnings += [f"source {source.source_url}: {text}" for text in kind.find_warnings(source)]
    return warnings


def find_shared_sources(overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Two units with one source would each go on from the other's element: the chain forks."""
    owners: dict[str, str] = {}
    problems = []
    for unit, overlay in overlays.items():
        listed = [overlay.get(kind.key) for kind in KINDS]
        for source in (source for sources in listed if isinstance(sources, dict) for source in sources):
            other = owners.setdefault(str(source), unit)
            if other != unit:
                problems.append(describe_foreign(str(source), other, unit))
    return problems


def find_encryption_keys(configuration: Mapping[str, Any]) -> list[str]:
    """The keys that the unit's sources are encrypted for in place of the main configuration's."""
    names: list[str] = []
    for _, sources in _sources(configuration):
        for source in sources:
            own = source.encryption_key or ()
            names += [own] if isinstance(own, str) else own
    return names


def warn_of_nothing(config_directory: str, overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A warning when there is no unit, or no source in any of them; units of other kinds may have some."""
    if not overlays:
        return [f"no unit is enabled: nothing is backed up; {what_to_do(config_directory)}"]
    empty = [name for name, overlay in overlays.items() if _is_empty(overlay)]
    if len(empty) < len(overlays):
        return []
    return [f"unit {name} has no source: nothing is backed up" for name in empty]


def _is_empty(overlay: Mapping[str, Any]) -> bool:
    listed = [overlay[kind.key] for kind in KINDS if overlay.get(kind.key) is not None]
    return bool(listed) and not any(listed)


def _sources(configuration: Mapping[str, Any]) -> Iterator[tuple[SourceKind, Sequence[Any]]]:
    """The sources whose settings are right; the others are told of elsewhere."""
    for kind in KINDS:
        listed = configuration.get(kind.key)
        if listed is None:
            continue
        try:
            yield kind, kind.split(listed)
        except GuerillaBackupError:
            continue
