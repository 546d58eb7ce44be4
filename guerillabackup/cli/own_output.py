"""Standard output and standard error kept for what a command itself says, whatever a unit does to them.

Touches: fcntl, os, sys.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

FIRST_DESCRIPTOR = 10
"""Above those that a program of three open files expects to be its own."""


@contextlib.contextmanager
def kept_for_us() -> Iterator[None]:
    """Units of a site's own, and programs they start, write to standard error in place of standard output."""
    try:
        sys.stdout.flush()
        ours = os.dup(1)
    except (AttributeError, OSError):  # it is closed: nobody writes to it
        yield
        return
    try:
        os.dup2(2, 1, inheritable=True)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(ours, 1, inheritable=True)
        os.close(ours)


def move_standard_error() -> None:
    """Let our messages go through a descriptor of another number, for the life of the process.

    A unit may close the usual one, whose number then is that of the next file: mostly one of an element.
    """
    try:
        sys.stderr.flush()
        ours = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
    except (AttributeError, OSError):  # there is none
        return
    sys.stderr = open(ours, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
