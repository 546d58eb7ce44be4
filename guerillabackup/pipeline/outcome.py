"""How a child process ended, in words and as an error. Touches: os, signal."""

import enum
import os
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from guerillabackup.errors import (
    BrokenOutputError,
    GuerillaBackupError,
    PipelineError,
    StorageError,
    StorageFullError,
)
from guerillabackup.pipeline.messages import last_words

_SHELL_SIGPIPE_STATUS = 128 + signal.SIGPIPE


class ProcessState(enum.Enum):
    """Where a process is; only in RUNNING is there a child or thread that may still do something."""

    CREATED = enum.auto()
    RUNNING = enum.auto()
    ENDED = enum.auto()
    FAILED = enum.auto()
    STOPPED = enum.auto()


class ProcessEnd(NamedTuple):
    """How a child ended: its exit status, or below zero the signal, and its last words."""

    stage: str
    program: str
    exit_status: int
    messages: tuple[str, ...]

    def describe(self, messages: Sequence[str] | None = None) -> str:
        """A line for people; `messages` in place of all it said."""
        words = last_words(
            list(self.messages if messages is None else messages), os.path.basename(self.program)
        )
        ending = (
            f"was ended by {_signal_name(-self.exit_status)}"
            if self.exit_status < 0
            else f"ended with exit status {self.exit_status}"
        )
        return f"stage {self.stage} ({self.program}) {ending}{': ' if words else ''}{words}"


class ErrorLatch:
    """The one error of a process: kept from when it is known, told until the process is stopped."""

    def __init__(self) -> None:
        self._error: GuerillaBackupError | None = None
        self._was_told = False

    @property
    def is_set(self) -> bool:
        """Whether there is an error."""
        return self._error is not None

    @property
    def is_untold(self) -> bool:
        """Whether there is an error nobody was told yet."""
        return self._error is not None and not self._was_told

    def keep(self, error: GuerillaBackupError) -> None:
        """The first one counts: what comes later follows from it."""
        if self._error is None:
            self._error = error

    def tell(self) -> None:
        """Raise the error if there is one, the same each time."""
        if self._error is not None:
            self._was_told = True
            raise self._error

    def release(self) -> None:
        """Raise the error if nobody was told yet, and forget it in any case."""
        error, self._error = self._error, None
        try:
            if error is not None and not self._was_told:
                raise error
        finally:
            # An error that its own traceback holds would keep buffers and descriptors alive.
            del error


Judge = Callable[[ProcessEnd], GuerillaBackupError | None]


def judge_end(end: ProcessEnd) -> StorageError:
    """The error for an end that is not allowed; a broken pipe is told apart: it mostly is a consequence."""
    words = last_words(list(end.messages)).lower()
    if end.exit_status in (-signal.SIGPIPE, _SHELL_SIGPIPE_STATUS) or "broken pipe" in words:
        return BrokenOutputError(end.describe())
    if "no space left on device" in words or "disk quota exceeded" in words:
        return StorageFullError(end.describe())
    return PipelineError(end.describe())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
