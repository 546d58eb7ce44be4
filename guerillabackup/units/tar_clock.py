"""What the clock did during a backup and after it: whether times can still tell what changed since.

tar takes its time for the next incremental backup when it starts. Whatever is changed while the clock shows
less than that again looks as old as what is in the archive. No I/O.
"""

import math
from typing import NamedTuple

from guerillabackup.generator.timing import CLOCK_TOLERANCE, ClockAnchor

FINE_TIMES, COARSE_TIMES = 0.01, 2
"""Seconds by which the time of a change may be before it: a tick of the kernel, or even seconds (FAT)."""
JITTER = 0.05
"""Seconds by which two readings of the same clock may differ."""


class ClockReading(NamedTuple):
    """The clock at one moment: UTC seconds, and what no setting changes where that is known."""

    seconds: float
    anchor: ClockAnchor | None


class RunClock(NamedTuple):
    """The clock before and after the making of an archive; `started`: when the reading of its source did.

    Between `before` and that a command may have made the snapshot that is read.
    """

    before: ClockReading
    started: float
    after: ClockReading

    @property
    def lead(self) -> int:
        """Whole seconds, rounded up, by which what is archived may be older than the reading."""
        return max(0, math.ceil(self.started - self.before.seconds))

    @property
    def went_back(self) -> bool:
        """Whether it was set back in between."""
        return self.after.seconds < self.before.seconds - CLOCK_TOLERANCE or was_set_back(
            self.before.anchor, None, self.after.anchor
        )


def was_set_back(last: ClockAnchor | None, ended: float | None, now: ClockAnchor | None) -> bool:
    """Whether the clock was, since it stood as `last` says before a backup that ended at `ended`.

    After another start of the machine: when that, by the clock as it is now, was before the backup's end. So
    on another machine, too, that was up already: nobody knows how its clock stood to the first one's.
    """
    if last is None or now is None:
        return False
    if last.boot_id != now.boot_id:
        return ended is not None and now.offset < ended - CLOCK_TOLERANCE
    return now.was_set_back_since(last)


def small_fall(last: ClockAnchor | None, now: ClockAnchor | None) -> int:
    """Whole seconds, rounded up, by which the clock fell behind, where that is no setting back."""
    if last is None or now is None or last.boot_id != now.boot_id:
        return 0
    fall = last.offset - now.offset
    return math.ceil(fall) if fall > JITTER else 0
