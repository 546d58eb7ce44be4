"""What a run came to, of one unit and of all of them. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, GuerillaBackupError, KeyUnusableError
from guerillabackup.generator.interface import SourceOutcome, SourceState


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What a unit's run came to; `error` when the unit as a whole could not be loaded or run.

    `skipped` says why a unit that is due was not run: its condition did not hold. `was_invoked` says whether
    it got that far; `next_in` in how many seconds the unit wants to be invoked again, and `states` how its
    sources are, as far as it said so.
    """

    unit_name: str
    sources: tuple[SourceOutcome, ...] = ()
    error: GuerillaBackupError | None = None
    skipped: str | None = None
    was_invoked: bool = False
    next_in: float = 0.0
    states: Mapping[SourceUrl, SourceState] | None = None

    @property
    def errors(self) -> tuple[GuerillaBackupError, ...]:
        """All errors, the unit's own and its sources'."""
        own = () if self.error is None else (self.error,)
        return (*own, *(source.error for source in self.sources if source.error is not None))

    @property
    def was_given_up(self) -> bool:
        """Whether something of it was, because the generator ends."""
        return any(isinstance(error, CancelledError) for error in self.errors)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run of the generator came to."""

    units: tuple[UnitOutcome, ...]
    warnings: tuple[str, ...]

    @property
    def errors(self) -> tuple[GuerillaBackupError, ...]:
        return tuple(error for unit in self.units for error in unit.errors)

    @property
    def only_keys_failed(self) -> bool:
        """Whether there were errors, and every one of them a key's."""
        return bool(self.errors) and all(isinstance(error, KeyUnusableError) for error in self.errors)


def describe_source(unit_name: str, source: SourceOutcome) -> dict[str, Any]:
    """What came of a source, as a JSON object."""
    return {
        "unit": unit_name,
        "source": str(source.source_url),
        "element": None if source.element_id is None else str(source.element_id),
        "error": None if source.error is None else str(source.error),
        "retry_after": source.retry_after,
        "remarks": list(source.remarks),
    }


def list_waiting(outcome: UnitOutcome) -> list[tuple[SourceUrl, SourceState]]:
    """What a run left for a later one without being an error, as a log file that a program has open."""
    states = outcome.states if outcome.was_invoked and outcome.states is not None else {}
    return [(url, state) for url, state in states.items() if state.waits_for is not None]


def describe_outcome(outcome: UnitOutcome) -> dict[str, Any]:
    """What came of a unit, as a JSON object."""
    return {
        "unit": outcome.unit_name,
        "error": None if outcome.error is None else str(outcome.error),
        "skipped": outcome.skipped,
        "sources": [describe_source(outcome.unit_name, source) for source in outcome.sources],
        "waiting": [{"source": str(url), "reason": state.waits_for} for url, state in list_waiting(outcome)],
        "given_up": outcome.was_given_up,
        "only_keys_failed": RunOutcome((outcome,), ()).only_keys_failed,
    }
