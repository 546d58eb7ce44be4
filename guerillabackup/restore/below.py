"""Paths of bytes below a directory descriptor, no step of them a link. Touches: os."""

import contextlib
import os
import stat
from collections.abc import Iterator

from guerillabackup.osfile import DIRECTORY_FLAGS


@contextlib.contextmanager
def open_parent(root_fd: int, name: bytes, *, make: bool = False) -> Iterator[int]:
    """The directory a normal name is in; raises OSError, ENOTDIR for a link or file on the way.

    With `make` what is missing is made, and what is no directory goes.
    """
    current = os.dup(root_fd)
    try:
        for step in name.split(b"/")[:-1]:
            if make and not is_directory(current, step):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(step, dir_fd=current)
                os.mkdir(step, 0o700, dir_fd=current)
            below = os.open(step, DIRECTORY_FLAGS, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def last_step(name: bytes) -> bytes:
    """The name itself, without the directory it is in."""
    return name.rpartition(b"/")[2]


def exists(directory_fd: int, name: bytes) -> bool:
    """Whether there is something of that name, a link that leads nowhere too; raises OSError."""
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def is_directory(directory_fd: int, name: bytes) -> bool:
    """Whether there is a directory of that name; raises OSError."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def list_all(directory_fd: int) -> list[bytes]:
    """The names in a directory, whatever bytes they are, sorted; raises OSError."""
    own = os.open(".", DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        return sorted(os.fsencode(name) for name in os.listdir(own))
    finally:
        os.close(own)
