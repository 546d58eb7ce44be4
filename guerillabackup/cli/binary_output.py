"""Standard output for data that is no text. Touches: fcntl, os, sys."""

import fcntl
import os
import sys

from guerillabackup.errors import StorageError


def binary_stdout() -> int:
    """The descriptor to write data to, after all text was written; raises StorageError when it is closed."""
    descriptor = sys.stdout.fileno()
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        # It was closed when the program started: main.py put something else in its place.
        raise StorageError("cannot write the data: standard output is closed")
    sys.stdout.flush()
    return descriptor
