"""When the run of a command whose output becomes an element has to be ended. Touches: time."""

import time
from collections.abc import Callable

from guerillabackup.pipeline.activity import find_session
from guerillabackup.pipeline.interface import TransformationProcessInterface
from guerillabackup.pipeline.os_process import OSProcess

LEFT_BEHIND_SECONDS = 10.0
"""How long what a command leaves running may still hold its output: a filter may be at its last bytes."""
MAX_NAMED = 3


class CommandWatch:
    """Looks now and then whether a run has to be ended, and remembers why.

    `producer` is the command; `cancelled` says that somebody else wants the end.
    """

    def __init__(
        self,
        producer: TransformationProcessInterface,
        time_limit: float | None,
        cancelled: Callable[[], bool],
    ) -> None:
        assert isinstance(producer, OSProcess)
        self._producer = producer
        self._time_limit = time_limit
        self._cancelled = cancelled
        self._started = time.monotonic()
        self._ended: float | None = None
        self.reason: str | None = None
        """Why it was ended; None: somebody else wanted it."""

    def is_over(self) -> bool:
        """For `run_pipeline`: whether it has to be ended; `reason` says why, unless it was cancelled."""
        now = time.monotonic()
        if self._time_limit is not None and now - self._started > self._time_limit:
            self.reason = f"{self._producer.name} had not ended after {self._time_limit:g} s, its TimeLimit"
        if self._producer.exit_status is not None:
            self._ended = now if self._ended is None else self._ended
            if now - self._ended > LEFT_BEHIND_SECONDS:
                self._look_for_left(self._producer.process_id)
        return self.reason is not None or self._cancelled()

    def _look_for_left(self, process_id: int | None) -> None:
        """Whether the command's output is still held by what it started: nobody knows how that ends."""
        left = [] if process_id is None else find_session(process_id)
        if left:
            named = ", ".join(f"{name} ({number})" for number, name in left[:MAX_NAMED])
            self.reason = (
                f"{self._producer.name} ended well, but what it left running holds its output: {named};"
                " let it wait for what it starts"
            )
