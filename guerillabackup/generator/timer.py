"""Wakes a poll at a time, and when the clock is set or the machine wakes up. Touches: ctypes, os, time.

Times are those of `uptime`. Where the kernel gives no such timer, the poll gets a timeout instead, which is
never long, so that a clock that was set is noticed soon.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable

FALLBACK_SECONDS = 60.0
TOLERANCE = 2.0
"""Seconds the clock may move against the machine's own time without having been set: leap seconds."""
FAR_AWAY = 10 * 365 * 86400.0

_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_ABSTIME, _CANCEL_ON_SET = 1, 2


class _TimeSpec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _TimerSpec(ctypes.Structure):
    _fields_ = [("interval", _TimeSpec), ("value", _TimeSpec)]


def uptime() -> float:
    """Seconds since the start of the machine, those it slept too; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WakeTimer:
    """`clock` gives UTC seconds: the system's, but in tests. Used by one thread."""

    def __init__(self, clock: Callable[[], float] = time.time, *, with_timer: bool = True) -> None:
        self._clock = clock
        self._offset = clock() - uptime()
        self._deadline: float | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = _create(self._libc) if with_timer else -1
        """Readable when it is time, or the clock was set; -1 where there is only the timeout."""

    def set(self, deadline: float | None) -> None:
        """Wake at this time, in place of the one set before; None: only when the clock is set."""
        self._deadline = deadline
        if self.descriptor >= 0:
            wait = FAR_AWAY if deadline is None else min(max(0.0, deadline - uptime()), FAR_AWAY)
            moment = time.time() + wait
            value = _TimeSpec(int(moment), int(moment % 1 * 1e9))
            spec = _TimerSpec(_TimeSpec(0, 0), value)
            # It says ECANCELED where the clock was set since the last time, and is set all the same.
            self._libc.timerfd_settime(self.descriptor, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(spec), None)

    def timeout(self) -> int | None:
        """Milliseconds a poll may take at most, None: as long as it likes."""
        if self.descriptor >= 0:
            return None
        wait = FALLBACK_SECONDS if self._deadline is None else self._deadline - uptime()
        return int(min(max(0.0, wait), FALLBACK_SECONDS) * 1000) + 1

    def was_clock_set(self) -> bool:
        """Whether somebody set the clock since this was last asked, or it may be so. Never blocks."""
        was_cancelled = False
        if self.descriptor >= 0:
            try:
                os.read(self.descriptor, 8)
            except BlockingIOError:
                pass
            except OSError:
                was_cancelled = True
        before, self._offset = self._offset, self._clock() - uptime()
        return was_cancelled or abs(self._offset - before) > TOLERANCE

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _create(libc: ctypes.CDLL) -> int:
    try:
        return int(libc.timerfd_create(time.CLOCK_REALTIME, _CLOEXEC | _NONBLOCK))
    except AttributeError:
        return -1
