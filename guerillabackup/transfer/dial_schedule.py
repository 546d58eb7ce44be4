"""When a peer is dialled: every so often, sooner again after a failure, at once on demand. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass

RETRY_SPREAD = 0.25
"""Share of a pause that chance takes off, so that many that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class DialSchedule:
    """How often a peer is dialled; seconds."""

    interval: float | None = None
    """From the end of one connection to the beginning of the next; None: only on demand."""
    at_start: bool = True
    retries: bool = True
    """Whether a failure has it dialled again."""
    first_retry: float = 10.0
    """After the first failure in a row; each further one doubles it."""
    max_retry: float = 3600.0


class DialTimer:
    """When one peer is dialled next. Times are those of a clock that nobody sets; `jitter` gives 0 to 1."""

    def __init__(self, schedule: DialSchedule, now: float, jitter: Callable[[], float]) -> None:
        self._schedule = schedule
        self._jitter = jitter
        self._failures = 0
        self.next_time: float | None = None
        """None: not before it is asked for."""
        if schedule.at_start:
            self.next_time = now
        elif schedule.interval is not None:
            self.next_time = now + schedule.interval

    @property
    def failures(self) -> int:
        """How often in a row it failed."""
        return self._failures

    def demand(self, now: float) -> None:
        """Dial as soon as can be."""
        self.next_time = now

    def began(self) -> None:
        """It is dialled now."""
        self.next_time = None

    def ended(self, now: float, *, is_failure: bool) -> None:
        """The connection is over, or could not be made. A demand that came meanwhile stays."""
        self._failures = self._failures + 1 if is_failure else 0
        if self.next_time is not None:
            return
        if is_failure and self._schedule.retries:
            # A shorter interval does not cut the pauses, which spare the peer.
            self.next_time = now + self._pause()
        elif self._schedule.interval is not None:
            self.next_time = now + self._schedule.interval

    def _pause(self) -> float:
        schedule = self._schedule
        # The exponent is bounded: what fails for years does not make a number without end.
        full = min(schedule.first_retry * 2.0 ** min(self._failures - 1, 32), schedule.max_retry)
        return full * (1 - RETRY_SPREAD * self._jitter())
