"""Paths of bytes below a directory descriptor, no step of them a link.

A tree may be deeper than calls can be nested, than a path can be long and than descriptors can be open.
Touches: os.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Self

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
            above, current = current, os.open(step, DIRECTORY_FLAGS, dir_fd=current)
            os.close(above)
        yield current
    finally:
        os.close(current)


class Cursor:
    """A place in a tree of directories, one descriptor at any depth; a context manager. Raises OSError."""

    def __init__(self, root_fd: int) -> None:
        self.descriptor = os.open(".", DIRECTORY_FLAGS, dir_fd=root_fd)
        self._above: list[os.stat_result] = []

    def enter(self, name: bytes) -> None:
        """Go down into a directory."""
        below = os.open(name, DIRECTORY_FLAGS, dir_fd=self.descriptor)
        self._above.append(os.fstat(self.descriptor))
        self._move(below)

    def leave(self) -> None:
        """Go up again; raises OSError, ESTALE when the directory was moved meanwhile."""
        self._move(os.open("..", DIRECTORY_FLAGS, dir_fd=self.descriptor))
        if not os.path.samestat(os.fstat(self.descriptor), self._above.pop()):
            raise OSError(errno.ESTALE, "a directory was moved meanwhile")

    def _move(self, descriptor: int) -> None:
        before, self.descriptor = self.descriptor, descriptor
        os.close(before)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        os.close(self.descriptor)


def remove(directory_fd: int, name: bytes) -> None:
    """Remove what has that name, a directory with all that is in it; does nothing where nothing has."""
    if not is_directory(directory_fd, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory_fd)
        return
    with Cursor(directory_fd) as cursor:
        open_up(directory_fd, name)
        cursor.enter(name)
        levels = [(name, list_all(cursor.descriptor))]
        while levels:
            directory, names = levels[-1]
            if not names:
                levels.pop()
                cursor.leave()
                os.rmdir(directory, dir_fd=cursor.descriptor)
            elif is_directory(cursor.descriptor, entry := names.pop()):
                open_up(cursor.descriptor, entry)
                cursor.enter(entry)
                levels.append((entry, list_all(cursor.descriptor)))
            else:
                os.unlink(entry, dir_fd=cursor.descriptor)


def open_up(directory_fd: int, name: bytes) -> int | None:
    """Let the owner do everything in a directory; its mode before, None where it stays as it was.

    What belongs to another user is left alone. Raises OSError, ENOTDIR for a link.
    """
    descriptor = os.open(name, DIRECTORY_FLAGS | os.O_PATH, dir_fd=directory_fd)
    try:
        return open_up_this(descriptor)
    finally:
        os.close(descriptor)


def open_up_this(descriptor: int) -> int | None:
    """The same for the directory that a descriptor stands for."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IRWXU == stat.S_IRWXU or status.st_uid != os.geteuid():
        return None
    set_mode(descriptor, mode | stat.S_IRWXU)
    return mode


def set_mode(descriptor: int, mode: int) -> None:
    """Change the mode of what a descriptor stands for, also one that was opened without the right to read."""
    os.chmod(f"/proc/self/fd/{descriptor}", mode)


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


def is_there(root_fd: int, name: bytes) -> bool:
    """Whether there is something of that normal name, not over a link; raises OSError."""
    try:
        with open_parent(root_fd, name) as parent_fd:
            return exists(parent_fd, last_step(name))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_directory(directory_fd: int, name: bytes) -> bool:
    """Whether there is a directory of that name; raises OSError."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def list_kinds(directory_fd: int) -> dict[bytes, bool]:
    """The names in a directory, whatever bytes they are, and whether each is a directory; raises OSError."""
    own = os.open(".", DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        with os.scandir(own) as entries:
            return {os.fsencode(entry.name): entry.is_dir(follow_symlinks=False) for entry in entries}
    finally:
        os.close(own)


def list_all(directory_fd: int) -> list[bytes]:
    """The names in a directory, whatever bytes they are, sorted; raises OSError."""
    own = os.open(".", DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        return sorted(os.fsencode(name) for name in os.listdir(own))
    finally:
        os.close(own)
