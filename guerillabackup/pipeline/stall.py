"""What a run decides while it waits: is there still life, and whose failure was the cause. No I/O."""

from collections.abc import Mapping

from guerillabackup.errors import BrokenOutputError, GuerillaBackupError, UnreadInputError
from guerillabackup.pipeline.interface import StageCounts


class StallWatch:
    """Knows since when no stage has moved a byte or used the processor."""

    def __init__(self, now: float) -> None:
        self._counts: tuple[StageCounts, ...] = ()
        self._changed = now

    def observe(self, now: float, counts: tuple[StageCounts, ...]) -> float:
        """Take what all stages have done so far; the seconds for which nothing of it changed."""
        if counts != self._counts:
            self._counts = counts
            self._changed = now
        return now - self._changed


def find_cause(errors: Mapping[int, GuerillaBackupError]) -> GuerillaBackupError:
    """Of the errors of stages, by their place, the one the others follow from.

    A process whose reader has gone, or one that left input unread, mostly follows from another's failure; and
    what a process makes of a cut input follows from a failure before it.
    """
    place = min(errors, key=lambda index: (_rank(errors[index]), index))
    return errors[place]


def _rank(error: GuerillaBackupError) -> int:
    if isinstance(error, BrokenOutputError):
        return 2
    return 1 if isinstance(error, UnreadInputError) else 0
