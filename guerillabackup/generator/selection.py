"""Which units and sources a run is about: what was asked for, and whose a source is. No I/O.

A source of two units is the first one's, by the units' names: chains of two units would fork.
"""

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.command_option import config_dir_option
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface, SourceRequest


class NothingToRunError(ConfigError):
    """No unit is enabled, or none has a source."""


@dataclass(frozen=True, slots=True)
class LoadedUnit:
    """A unit's class and configuration and the sources it would have, or why it could not be loaded.

    `sources` is None where the unit cannot say. `test_mode` says where it was set that everything is run and
    nothing stored, None: it is not. `refused`: its files are wrong now, and this is what they said before.
    """

    name: str
    unit_class: type[SchedulableGeneratorUnitInterface] | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[SourceUrl] | None = None
    error: GuerillaBackupError | None = None
    test_mode: str | None = None
    refused: str | None = None


def find_foreign_sources(units: Iterable[LoadedUnit]) -> dict[str, dict[SourceUrl, str]]:
    """For each unit's name: those of its sources that are another unit's, and that one's name."""
    owners: dict[SourceUrl, str] = {}
    foreign: dict[str, dict[SourceUrl, str]] = {}
    for unit in units:
        name = unit.name
        of_unit = {url: owners.setdefault(url, name) for url in unit.sources or ()}
        foreign[name] = {url: owner for url, owner in of_unit.items() if owner != name}
    return foreign


def describe_foreign(url: SourceUrl | str, owner: str, unit_name: str) -> str:
    """What to say of a source of two units."""
    return f"source {url} is one of unit {owner} and one of unit {unit_name}: take it from one of them"


def choose_units(
    units: Sequence[LoadedUnit], unit_names: Sequence[str], source_urls: Sequence[SourceUrl]
) -> list[LoadedUnit]:
    """The units to run: all, or those named, or those of them that have the sources; raises ConfigError."""
    known = [unit.name for unit in units]
    for name in unit_names:
        if name not in known:
            raise ConfigError(f"there is no unit {name!r}; there are: {', '.join(known) or 'none'}")
    chosen = [unit for unit in units if not unit_names or unit.name in unit_names]
    if chosen and all(unit.error is None and unit.sources == () for unit in chosen):
        raise NothingToRunError(
            *(f"unit {unit.name} has no source: there is nothing to back up" for unit in chosen)
        )
    if not source_urls:
        return chosen
    _check_known(source_urls, chosen)
    return [unit for unit in chosen if set(source_urls).intersection(unit.sources or ())]


def make_request(
    source_urls: Sequence[SourceUrl], *, full: bool, accept_empty: bool = False
) -> Callable[[SourceUrl], SourceRequest]:
    """What was asked for a source, of a run that is told of some sources, or of none in particular."""

    def request(url: SourceUrl) -> SourceRequest:
        if source_urls and url not in source_urls:
            return SourceRequest.NOT_NOW
        if accept_empty:
            return SourceRequest.FULL_AS_IT_IS
        if full:
            return SourceRequest.FULL
        return SourceRequest.NOW if source_urls else SourceRequest.WHEN_DUE

    return request


def _check_known(source_urls: Iterable[SourceUrl], units: Iterable[LoadedUnit]) -> None:
    """Raise ConfigError with every source that no unit has."""
    known = sorted({url.text for unit in units for url in unit.sources or ()})
    problems = []
    for url in source_urls:
        if url.text in known:
            continue
        near = difflib.get_close_matches(url.text, known, 3)
        hint = f"is {' or '.join(near)} meant?" if near else f"there are: {', '.join(known[:10]) or 'none'}"
        problems.append(f"there is no source {url.text!r}; {hint}")
    if problems:
        failed = [f"unit {unit.name}: {unit.error}" for unit in units if unit.error is not None]
        raise ConfigError(*problems, *failed)


def trigger_command(
    config_directory: str,
    unit_names: Iterable[str],
    source_urls: Iterable[SourceUrl],
    full: bool,
    accept_empty: bool,
) -> str:
    """What to type for a service to do the same at once."""
    parts = ["guerillabackup generator trigger"]
    parts += [f"--unit {shlex.quote(name)}" for name in unit_names]
    parts += [f"--source {shlex.quote(str(url))}" for url in source_urls]
    parts += ["--full"] if full else []
    parts += ["--accept-empty"] if accept_empty else []
    return " ".join(parts) + config_dir_option(config_directory)
