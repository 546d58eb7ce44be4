"""Which elements were refused lately, so that the same one is not fetched again and again.

In memory only: after a restart each is tried once more. Touches: threading, time.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FIRST_PAUSE = 300.0
LONGEST_PAUSE = 86400.0
"""Seconds; each refusal of the same element doubles its pause."""
FIRST_INTERRUPTION_PAUSE = 30.0
LONGEST_INTERRUPTION_PAUSE = 900.0
"""Those after the second time that a connection ended in the middle of an element."""
ONE_BY_ONE = 256
"""Elements that are asked for one by one after a connection ended in the middle of several: so it is known
which one the peer cannot send."""
MAX_REMEMBERED = 10_000
MAX_REASON = 200
"""Characters of a reason that are remembered: a peer has a say in it."""


@dataclass(slots=True)
class Refused:
    """An element that was refused: why, how often, and until when it is left alone."""

    reason: str
    count: int
    until: float


class Refusals:
    """The refused elements of one agent by key; those refused longest ago are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards the entries
        self._refused: OrderedDict[bytes, Refused] = OrderedDict()
        self._one_by_one = 0

    def must_wait(self, key: bytes) -> bool:
        """Whether it is too early to try the element again."""
        if not self._refused:
            return False
        with self._lock:
            refused = self._refused.get(key)
            return refused is not None and self._clock() < refused.until

    def add(self, key: bytes, reason: str) -> Refused:
        """Note one more refusal."""
        return self._add(key, reason, FIRST_PAUSE, LONGEST_PAUSE)

    def interrupted(self, key: bytes, reason: str) -> Refused:
        """Note that a connection ended in the middle of it: once is nobody's fault, and pauses nothing."""
        return self._add(key, reason, FIRST_INTERRUPTION_PAUSE, LONGEST_INTERRUPTION_PAUSE, free=1)

    def group_interrupted(self) -> None:
        """A connection ended in the middle of several elements."""
        self._one_by_one = ONE_BY_ONE

    def take_one_by_one(self) -> bool:
        """Whether the next elements are better asked for one by one; counts one."""
        if self._one_by_one == 0:
            return False
        self._one_by_one -= 1
        return True

    def _add(self, key: bytes, reason: str, first: float, longest: float, free: int = 0) -> Refused:
        with self._lock:
            before = self._refused.pop(key, None)
            count = 1 if before is None else before.count + 1
            doublings = min(count - 1 - free, 30)
            pause = min(longest, first * 2.0**doublings) if doublings >= 0 else 0.0
            refused = Refused(reason[:MAX_REASON], count, self._clock() + pause)
            self._refused[key] = refused
            if len(self._refused) > MAX_REMEMBERED:
                self._refused.popitem(last=False)
            return refused

    def forget(self, key: bytes) -> None:
        """It was taken after all."""
        if self._refused:
            with self._lock:
                self._refused.pop(key, None)

    def count(self) -> int:
        """How many elements are remembered."""
        return len(self._refused)
