"""When what failed is tried again: after a minute, then twice as long each time, up to an hour. No I/O."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

FIRST_SECONDS = 60
MAX_SECONDS = 3600
SPREAD = 0.2
"""Share of a delay that chance decides, so that what failed together is not tried again together."""

Jitter = Callable[[], float]
"""A number of 0 to 1, another one each time."""


def retry_delay(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row; `jitter` of 0 to 1 is the part left to chance."""
    # The exponent is bounded: what fails for years does not make a number without end.
    full: float = min(FIRST_SECONDS * 2 ** min(max(failures, 1) - 1, 16), MAX_SECONDS)
    return full * (1 - SPREAD * jitter)


@dataclass(frozen=True, slots=True)
class _Failed:
    count: int
    at: float
    delay: float


class Retries:
    """Which of several things failed, how often in a row, and how long each one waits. Times are seconds."""

    def __init__(self, jitter: Jitter) -> None:
        self._jitter = jitter
        self._failed: dict[Hashable, _Failed] = {}

    def note_failure(self, thing: Hashable, now: float) -> int:
        """It failed once more; hands back in how many seconds it is tried again."""
        before = self._failed.get(thing)
        count = 1 if before is None else before.count + 1
        delay = round(retry_delay(count, self._jitter()))
        self._failed[thing] = _Failed(count, now, delay)
        return delay

    def note_success(self, thing: Hashable) -> None:
        """It went well: the next failure is the first one again."""
        self._failed.pop(thing, None)

    def has_failed(self, thing: Hashable) -> bool:
        """Whether it failed since it last went well."""
        return thing in self._failed

    def pause(self, thing: Hashable, now: float) -> float:
        """Seconds until it is tried again, 0: now. Never more than its delay, when the clock was set back."""
        failed = self._failed.get(thing)
        if failed is None:
            return 0.0
        return min(max(0.0, failed.at + failed.delay - now), failed.delay)
