"""Descriptors that a forked child must not keep: it would hold what its parent holds after that one's end.

A program that is started lets go of everything; this is for units whose code calls fork and goes on.
Touches: os.
"""

import contextlib
import os

_held: set[int] = set()


def hold(descriptor: int) -> None:
    """From now on forked children close it."""
    _held.add(descriptor)


def release(descriptor: int) -> None:
    """It is about to be closed."""
    _held.discard(descriptor)


def _close_all() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_all)
