"""What code of a unit's own hands back, checked before the service relies on it. No I/O.

A unit may be wrong in any way; what is not what the interface says would end whoever uses it.
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.interface import SourceOutcome, SourceState

MAX_TEXT = 4000
"""Characters of an error that are told: it is kept, and sent to every client that asks."""
MAX_SECONDS = 10 * 365 * 86400.0


def describe_error(error: BaseException) -> str:
    """What any exception says, with its name; its own code may fail, or have no end."""
    name = type(error).__name__
    try:
        return f"{name}: {_shorten(str(error))}"
    except BaseException:  # it does not matter what: this one cannot be told
        return f"{name}, which does not say what it is about"


def bounded(error: GuerillaBackupError) -> GuerillaBackupError:
    """The error, or a shorter one in its place that can be told."""
    try:
        text = str(error)
    except BaseException:  # it does not matter what: this one cannot be told
        return GuerillaBackupError(describe_error(error))
    return error if len(text) <= MAX_TEXT else GuerillaBackupError(_shorten(text))


def check_outcomes(given: Any) -> tuple[SourceOutcome, ...]:
    """What a unit's invocation handed back; raises ConfigError."""
    if not isinstance(given, list | tuple):
        _refuse("its invocation", "a list of SourceOutcome", given)
    outcomes = []
    for item in given:
        if not (
            isinstance(item, SourceOutcome)
            and isinstance(item.source_url, SourceUrl)
            and isinstance(item.element_id, ElementId | None)
            and isinstance(item.error, GuerillaBackupError | None)
            and isinstance(item.remarks, list | tuple)
            and isinstance(item.retry_after, int | float)
        ):
            _refuse("its invocation", "SourceOutcome", item)
        error = None if item.error is None else bounded(item.error)
        remarks = tuple(_shorten(str(remark)) for remark in item.remarks)
        outcomes.append(SourceOutcome(item.source_url, item.element_id, error, item.retry_after, remarks))
    return tuple(outcomes)


def check_states(given: Any) -> dict[SourceUrl, SourceState] | None:
    """What a unit says of its sources; raises ConfigError."""
    if given is None:
        return None
    states = {}
    for url, state in (given if isinstance(given, Mapping) else {"": given}).items():
        if not (isinstance(url, SourceUrl) and isinstance(state, SourceState)):
            _refuse("it", "SourceState by SourceUrl", state)
        seconds = None if state.next_in is None else check_seconds(state.next_in)
        waits_for = None if state.waits_for is None else _shorten(str(state.waits_for))
        states[url] = SourceState(seconds, bool(state.has_failed), waits_for)
    return states


def check_sources(given: Any) -> tuple[SourceUrl, ...] | None:
    """The sources a unit says that it has; raises ConfigError."""
    if given is None:
        return None
    urls = tuple(given) if isinstance(given, list | tuple | set | frozenset | Mapping) else (given,)
    for url in urls:
        if not isinstance(url, SourceUrl):
            _refuse("list_sources", "SourceUrl", url)
    return urls


def check_seconds(given: Any) -> float:
    """A number of seconds from now on, within what a clock has; raises ConfigError."""
    if not isinstance(given, int | float) or (isinstance(given, float) and math.isnan(given)):
        raise ConfigError(f"its next invocation is in {_shorten(repr(given))}, which is no number of seconds")
    return float(max(0.0, min(given, MAX_SECONDS)))


def _refuse(what: str, wanted: str, given: object) -> NoReturn:
    raise ConfigError(f"{what} handed back a {type(given).__name__} where {wanted} is wanted")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
