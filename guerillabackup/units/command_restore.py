"""The command that reads a source's output when it is restored, as the configuration of this host has it.

An element never says what is to be run: whoever can write to a spool could otherwise run commands. It joins
the configuration, the units' folder and the settings.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from guerillabackup.config import Configuration
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.loader import list_units
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.units.command_environment import open_environment
from guerillabackup.units.command_run import make_command_element
from guerillabackup.units.command_source import CONFIG_KEY, CommandSource, split_sources

INSTEAD = (
    "name the program with: --into-command -- PROGRAM ARGUMENT...; an archive of files is restored with "
    "--to DIR"
)


def find_restore_source(configuration: Configuration, source_url: SourceUrl) -> CommandSource:
    """The settings of a source that have a RestoreCommand; raises ConfigError, which says what there is.

    What is wrong with other sources, or with units that do not have this one, is no hindrance.
    """
    known: list[str] = []
    problems: list[str] = []
    for unit in list_units(configuration.units_directory).units:
        try:
            own = configuration if unit.overlay is None else configuration.overlay(unit.overlay)
            listed = split_sources(own.get(CONFIG_KEY, {}))
        except GuerillaBackupError as error:
            problems.append(f"unit {unit.name}: {error}")
            continue
        if listed.unnamed is not None:
            problems += [f"unit {unit.name}: {problem}" for problem in listed.unnamed.problems]
        if source_url in listed.refused:
            raise listed.refused[source_url]
        for source in listed.sources:
            if source.source_url == source_url and source.restore_command is not None:
                return source
            if source.source_url == source_url:
                raise ConfigError(
                    f"source {source_url} has no RestoreCommand in unit {unit.name}; {INSTEAD}", *problems
                )
            known.append(source.source_url.text)
    close = difflib.get_close_matches(source_url.text, known, 3)
    hint = f"; did you mean {', '.join(close)}" if close else ""
    raise ConfigError(
        f"no unit of this host's configuration has commands for source {source_url}{hint}; {INSTEAD}",
        *problems,
    )


@contextmanager
def open_restore_command(source: CommandSource) -> Iterator[OSProcessPipelineElement]:
    """The RestoreCommand of a source as a stage, for as long as the context lasts; raises ConfigError."""
    if source.restore_command is None:
        raise ConfigError(f"source {source.source_url} has no RestoreCommand")
    with open_environment(source) as environment:
        yield make_command_element(source, source.restore_command, environment)
