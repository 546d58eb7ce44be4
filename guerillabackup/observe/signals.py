"""Signals as something to poll for, in place of interrupting whatever goes on. Touches: os, signal."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

from guerillabackup.observe.interface import Signals, Wish

_WISHES: dict[int, Wish] = {signal.SIGTERM: Wish.END, signal.SIGINT: Wish.END, signal.SIGHUP: Wish.RELOAD}


class SignalPipe(Signals):
    """A context in which SIGTERM, SIGINT and SIGHUP are read from `descriptor`; the main thread's alone."""

    def __init__(self) -> None:
        self.descriptor, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in _WISHES:
            self._before[number] = signal.signal(number, _note)
        return self

    def renew(self) -> None:
        """Take the signals once more: a unit's file, executed in this thread, may have changed that."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in _WISHES:
            signal.signal(number, _note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WISHES)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.descriptor)
        os.close(self._write_end)

    def take(self) -> frozenset[Wish]:
        with contextlib.suppress(BlockingIOError):
            received = os.read(self.descriptor, 4096)
            # Code of a site's own may have handlers for others.
            return frozenset(_WISHES[number] for number in received if number in _WISHES)
        return frozenset()


def _note(number: int, frame: FrameType | None) -> None:
    """The number is in the pipe already; without a handler of Python's none would get there."""
