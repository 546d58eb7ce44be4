"""Puts off what signals ask for while something is begun that has to be known to be ended. Touches: signal.

Between the start of a child and the note of its number an exception would leave it running, unknown to all.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_put_off() -> Iterator[None]:
    """Handlers of ours that end the program by an exception run at the end of the context, not within.

    Only a main thread runs handlers: in others there is nothing to put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in own:
            signal.signal(number, lambda which, frame: came.append(which))
        yield
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
        for put_off in came:
            signal.raise_signal(put_off)
