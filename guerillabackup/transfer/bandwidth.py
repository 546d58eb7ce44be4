"""A limit of bytes per second that many connections share, and that may change at any time.

Touches: threading, time.
"""

import threading
import time
from collections.abc import Callable

BURST_SECONDS = 0.25
"""What may go at once after a pause, and how long one portion takes at most when nobody else sends."""


class BandwidthLimit:
    """Makes who moves bytes wait, so that all of them together stay below the limit; None: there is none.

    Safe to use from any number of threads. Who comes first goes first: the next ones wait for what it takes.
    """

    def __init__(
        self,
        bytes_per_second: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()  # guards all below
        self._rate = _check(bytes_per_second)
        self._last = clock()
        self._spent = 0
        self._allowed = self._burst()
        """How far `_spent` may be by now: it grows with time, and never far ahead."""

    @property
    def bytes_per_second(self) -> int | None:
        """The limit as it is now."""
        return self._rate

    def set_limit(self, bytes_per_second: int | None) -> None:
        """Change it; who waits goes on at the new rate."""
        with self._lock:
            self._refill()
            self._rate = _check(bytes_per_second)
            self._allowed = min(self._allowed, self._spent + self._burst())

    def portion(self, wanted: int) -> int:
        """How many bytes to move in one go: few enough that a wait is short, and a change soon felt."""
        rate = self._rate
        return wanted if rate is None else max(1, min(wanted, int(rate * BURST_SECONDS)))

    def spend(self, count: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Account for bytes that were or will be moved, and wait until they were allowed, or all is over."""
        if self._rate is None:
            return
        with self._lock:
            self._refill()
            self._spent += count
            turn = self._spent
        while (wait := self._seconds_until(turn)) > 0 and not is_over():
            self._sleep(min(wait, BURST_SECONDS))

    def _seconds_until(self, turn: int) -> float:
        with self._lock:
            self._refill()
            missing = turn - self._allowed
            return 0.0 if self._rate is None or missing < 1 else missing / self._rate

    def _refill(self) -> None:
        now = self._clock()
        if self._rate is None:
            self._allowed = float(self._spent)
        else:
            grown = self._allowed + max(0.0, now - self._last) * self._rate
            self._allowed = min(grown, self._spent + self._burst())
        self._last = now

    def _burst(self) -> float:
        return 0.0 if self._rate is None else self._rate * BURST_SECONDS


def _check(bytes_per_second: int | None) -> int | None:
    if bytes_per_second is not None and bytes_per_second < 1:
        raise ValueError(f"a limit of {bytes_per_second} bytes a second: it is 1 at least, or None")
    return bytes_per_second
