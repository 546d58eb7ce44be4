"""When a source is due, and for which type of backup: arithmetic on UTC seconds. No I/O."""

from collections.abc import Sequence
from typing import NamedTuple

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError

MAX_SECONDS = 100 * 366 * 24 * 3600
CLOCK_TOLERANCE = 2
"""Seconds the clock may fall behind before it is taken to have been set back: a leap second is none."""


class Timing(NamedTuple):
    """At least `minimum` and at most `maximum` seconds after the last one.

    With a `modulo`, at the first time in that span that leaves the remainder `offset`; when there is none, at
    `maximum`. Without, at `minimum`.
    """

    minimum: int
    maximum: int
    modulo: int | None
    offset: int

    @classmethod
    def parse(cls, value: object) -> "Timing":
        """From [min, max, modulo or None, offset], as configuration files have it; raises ConfigError."""
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
            raise ConfigError(f"timing {value!r} is not a list [min, max, modulo or None, offset]")
        minimum, maximum, modulo, offset = value
        if maximum is None and modulo is None:
            maximum = minimum
        for name, number in (("min", minimum), ("max", maximum)):
            if not _is_seconds(number):
                raise ConfigError(
                    f"timing {value!r}: {name} {number!r} is not whole seconds from 0 to {MAX_SECONDS}"
                )
        if minimum > maximum:
            raise ConfigError(f"timing {value!r}: min {minimum} is greater than max {maximum}")
        if modulo is None:
            return cls(minimum, maximum, None, 0)
        if not _is_seconds(modulo) or modulo == 0:
            raise ConfigError(
                f"timing {value!r}: modulo {modulo!r} is not whole seconds from 1 to {MAX_SECONDS}"
            )
        if not _is_seconds(offset) or offset >= modulo:
            raise ConfigError(
                f"timing {value!r}: offset {offset!r} is not whole seconds below modulo {modulo}"
            )
        return cls(minimum, maximum, modulo, offset)

    def next_time(self, last: float) -> float:
        """When it is due after a run at `last`. A time that was missed stays due."""
        earliest = last + self.minimum
        if self.modulo is None:
            return earliest
        steps = -((self.offset - earliest) // self.modulo)
        return min(self.offset + steps * self.modulo, last + self.maximum)


class ClockAnchor(NamedTuple):
    """The clock at some moment, seen from the start of the machine, which no setting of the clock changes.

    `offset` is UTC seconds less the seconds since the start; `boot_id` says which start.
    """

    boot_id: str
    offset: float

    def was_set_back_since(self, earlier: "ClockAnchor") -> bool:
        """Whether the clock went back between the two; unknown after another start: no."""
        return self.boot_id == earlier.boot_id and self.offset < earlier.offset - CLOCK_TOLERANCE


class Due(NamedTuple):
    """The next backup of a source: in how many seconds (not above zero: now), of which type, and why."""

    seconds: float
    backup_type: BackupType
    reason: str


def next_backup(
    now: float,
    last_full: float | None,
    last_any: float | None,
    full: Timing,
    inc: Timing | None,
    *,
    was_set_back: bool = False,
) -> Due:
    """What is due next. A full backup that is due wins over an incremental one.

    A remembered time that lies ahead means that the clock was set back; `was_set_back` says so where it has
    passed that time again. What was changed since then may look older than the last backup to programs
    that compare times, so only a full backup is safe: it is due now.
    """
    if last_full is None or last_any is None:
        return Due(0, BackupType.FULL, "there is none to go on from")
    if was_set_back or max(last_full, last_any) > now + CLOCK_TOLERANCE:
        return Due(0, BackupType.FULL, "the clock was set back since the last backup")
    due = Due(full.next_time(last_full) - now, BackupType.FULL, "the time for a full backup has come")
    if due.seconds <= 0 or inc is None:
        return due
    seconds = inc.next_time(last_any) - now
    if seconds < due.seconds:
        return Due(seconds, BackupType.INC, "the time for an incremental backup has come")
    return due


def _is_seconds(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS
