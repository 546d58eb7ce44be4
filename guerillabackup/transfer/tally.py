"""What a receiving connection notes on its way, to be told at its end. Touches: random."""

import random
from dataclasses import dataclass, field

from guerillabackup.element import SourceUrl

MAX_LOGGED = 50
"""Refusals of one connection that have a log line each."""


@dataclass(slots=True)
class Tally:
    """What one connection did."""

    logged: int = 0
    """Refusals with a log line each."""
    unlogged: int = 0
    """Further refusals."""
    locked: set[bytes] = field(default_factory=set)
    """Keys of elements that are here and were locked each time."""
    gaps: list[tuple[SourceUrl, bytes]] = field(default_factory=list)
    """Sources, and predecessors that may be missing."""

    def goes_again(self) -> bool:
        """Whether to go through the list once more in this connection.

        Two that offer each other the same elements go in step, and each finds its copies locked: until one of
        them, by chance, has done, and the other has not.
        """
        return not self.locked or random.random() < 0.5

    def has_room_for_line(self) -> bool:
        """Whether one more refusal gets its line; counts it."""
        if self.logged >= MAX_LOGGED:
            self.unlogged += 1
            return False
        self.logged += 1
        return True
