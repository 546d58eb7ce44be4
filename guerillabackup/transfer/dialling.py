"""Follows peers that are dialled once, to the end of each. Joins the works with who wants to hear of it."""

from collections.abc import Callable
from dataclasses import dataclass

from guerillabackup.transfer.interface import TransferCounters
from guerillabackup.transfer.works import Works

TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class DialOutcome:
    """What came of dialling a peer; `error` is None when both sides agreed to the end."""

    agent_id: str
    error: str | None
    counters: TransferCounters
    moves_nothing: bool = False
    """Whether neither side has anything to fetch for the other."""


def follow_dials(works: Works, tick: Callable[[str, TransferCounters], None]) -> list[DialOutcome]:
    """Dial all peers of the works at once; `tick` hears how far each is."""
    left = {name: (connector, connector.demand()) for name, connector in works.dialled().items()}
    outcomes: list[DialOutcome] = []
    while left:
        for name, (connector, attempt) in list(left.items()):
            has_ended = connector.wait_for_attempt(attempt, TICK_SECONDS / len(left))
            status = works.status().get(name)
            counters = TransferCounters() if status is None else status.counters
            tick(name, counters)
            if has_ended:
                del left[name]
                error = connector.last_error
                outcomes.append(
                    DialOutcome(
                        name,
                        None if error is None else str(error),
                        counters,
                        error is None and status is not None and status.moves_nothing,
                    )
                )
    return sorted(outcomes, key=lambda outcome: outcome.agent_id)
