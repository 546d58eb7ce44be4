"""How a child process ended, in words and as an error. No I/O."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerillabackup.errors import BrokenOutputError, GuerillaBackupError, PipelineError
from guerillabackup.pipeline.messages import last_words

_SHELL_SIGPIPE_STATUS = 128 + signal.SIGPIPE


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a child ended: its exit status, or below zero the signal, and its last words."""

    stage: str
    program: str
    exit_status: int
    messages: tuple[str, ...]

    def describe(self, messages: Sequence[str] | None = None) -> str:
        """A line for people; `messages` in place of all it said."""
        words = last_words(list(self.messages if messages is None else messages))
        ending = (
            f"was ended by {_signal_name(-self.exit_status)}"
            if self.exit_status < 0
            else f"ended with exit status {self.exit_status}"
        )
        return f"stage {self.stage} ({self.program}) {ending}{': ' if words else ''}{words}"


Explanation = Callable[[ProcessEnd], GuerillaBackupError | None]


def judge_end(end: ProcessEnd) -> PipelineError:
    """The error for an end that is not allowed; a broken pipe is told apart: it mostly is a consequence."""
    words = end.messages[-1].lower() if end.messages else ""
    if end.exit_status in (-signal.SIGPIPE, _SHELL_SIGPIPE_STATUS) or "broken pipe" in words:
        return BrokenOutputError(end.describe())
    return PipelineError(end.describe())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
