"""Standard output for data that is no text. Touches: fcntl, os, sys."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

from guerillabackup.errors import BrokenOutputError, StorageError, StorageFullError


def binary_stdout() -> int:
    """The descriptor to write data to, after all text was written; raises StorageError when it is closed."""
    descriptor = sys.stdout.fileno()
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        # It was closed when the program started: main.py put something else in its place.
        raise StorageError("cannot write the data: standard output is closed")
    sys.stdout.flush()
    return descriptor


@contextlib.contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Whatever stage says that there is no place for what goes to standard output: that is what is told.

    Raises BrokenPipeError where whoever reads us has enough.
    """
    try:
        yield
    except BrokenOutputError as error:
        raise BrokenPipeError from error
    except StorageFullError as error:
        raise StorageFullError(
            f"cannot write to standard output: no space left where it goes to ({error})"
        ) from error
