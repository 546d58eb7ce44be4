"""Lets the signals that ask for an end raise KeyboardInterrupt, but only where Python can bear it.

A handler runs between any two steps of the main thread. Raised in the middle of an import, the exception can
leave a lock of the import system held for ever, on which every other thread then waits; raised in a finalizer
or a callback of a weak reference, Python drops it. Touches: os, signal, sys, threading, time.
"""

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LATER_SECONDS = 0.02
MAX_TIMES_LATER = 500
"""After ten seconds a module that is still being imported is interrupted all the same: it may have no end."""

_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def end_in_order() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the command with what it began taken back.

    Only a main thread may ask for this; what runs in another one has no signals to answer.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    interrupt = _Interrupt()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it to go on
            signal.signal(number, interrupt)
    sys.unraisablehook = interrupt.note_dropped


def is_interrupted(error: BaseException) -> bool:
    """Whether a signal asked for the end, so that what was raised came of it, or does not matter any more.

    Code of others may raise KeyboardInterrupt as well. Where it put other handlers in the place of ours, that
    cannot be told apart.
    """
    ours = [each for each in map(signal.getsignal, ENDING) if isinstance(each, _Interrupt)]
    return any(each.has_come for each in ours) if ours else isinstance(error, KeyboardInterrupt)


class _Interrupt:
    """The handler of all of them."""

    def __init__(self) -> None:
        self.has_come = False
        self._number = int(signal.SIGINT)
        self._times_later = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self.has_come = True
        if self._times_later < MAX_TIMES_LATER and _is_importing(frame):
            self._try_later()
            return
        self._times_later = 0
        raise KeyboardInterrupt

    def note_dropped(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Called for an exception that Python is about to drop."""
        if unraisable.exc_type is KeyboardInterrupt:
            self._try_later()
        else:
            sys.__unraisablehook__(unraisable)

    def _try_later(self) -> None:
        # The moment is a bad one for threading's own locks too; this thread takes none, and ends by itself.
        self._times_later += 1
        _thread.start_new_thread(_send_later, (self._number,))


def _send_later(number: int) -> None:
    time.sleep(LATER_SECONDS)
    os.kill(os.getpid(), number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTING:
            return True
        frame = frame.f_back
    return False
