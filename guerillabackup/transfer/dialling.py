"""Follows peers that are dialled once, to the end of each. Joins the works with who wants to hear of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from guerillabackup.transfer.dial_connector import DialConnectorService
from guerillabackup.transfer.interface import TransferCounters
from guerillabackup.transfer.peers import PeerStatus
from guerillabackup.transfer.works import Works

TICK_SECONDS = 0.25
MAX_DIALS = 50
"""Times that one peer is dialled, as each refused element may end a connection."""


@dataclass(frozen=True, slots=True)
class DialOutcome:
    """What came of dialling a peer; `error` is None when both sides agreed to the end."""

    agent_id: str
    error: str | None
    counters: TransferCounters
    moves_nothing: bool = False
    """Whether neither side has anything to fetch for the other."""


def follow_dials(works: Works, tick: Callable[[str, TransferCounters], None]) -> list[DialOutcome]:
    """Dial all peers of the works at once; `tick` hears how far each is.

    A peer whose connection ended by an element that was refused is dialled again, without that one: else
    those behind it would never come where no service runs.
    """
    left = {name: _Dialled(connector, connector.demand()) for name, connector in works.dialled().items()}
    outcomes: list[DialOutcome] = []
    while left:
        for name, dialled in list(left.items()):
            has_ended = dialled.connector.wait_for_attempt(dialled.attempt, TICK_SECONDS / len(left))
            status = works.status().get(name)
            counters = TransferCounters() if status is None else status.counters
            tick(name, counters)
            if has_ended and not dialled.goes_again(counters):
                del left[name]
                outcomes.append(dialled.conclude(name, status, counters))
    return sorted(outcomes, key=lambda outcome: outcome.agent_id)


@dataclass(slots=True)
class _Dialled:
    """A peer, and the attempt that is waited for."""

    connector: DialConnectorService
    attempt: int
    dials: int = 1
    refused_anew: int = 0
    """By the end of the last attempt; `left_alone` likewise."""
    left_alone: int = 0

    def goes_again(self, counters: TransferCounters) -> bool:
        """Whether it is dialled once more, as that may bring what this attempt did not."""
        is_refused = counters.refused_anew > self.refused_anew
        if self.connector.last_error is None or not is_refused or self.dials >= MAX_DIALS:
            return False
        self.refused_anew, self.left_alone = counters.refused_anew, counters.elements_left_alone
        self.dials += 1
        self.attempt = self.connector.demand()
        return True

    def conclude(self, name: str, status: PeerStatus | None, counters: TransferCounters) -> DialOutcome:
        """What came of all attempts; what the first ones refused is not told as left alone by the last."""
        error = self.connector.last_error
        left_alone = counters.elements_left_alone - self.left_alone - self.refused_anew
        return DialOutcome(
            name,
            None if error is None else str(error),
            replace(counters, elements_left_alone=max(0, left_alone)),
            error is None and status is not None and status.moves_nothing,
        )
