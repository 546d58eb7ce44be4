"""Directories that an ordinary user made and may not write to, opened up for as long as work is done in them.

A tree may hold directories that are read-only for their own owner: tar gives them that mode, and the next
element then has to change what is in them. Root needs none of this. Touches: os.
"""

import contextlib
import os

from guerillabackup.osfile import DIRECTORY_FLAGS, storage_errors
from guerillabackup.restore.below import Cursor, last_step, open_parent, open_up, open_up_this, set_mode

DirectoryModes = dict[bytes, int]
"""Path below the root -> the mode it has to have in the end; what is below a directory comes after it."""


def open_all(root_fd: int) -> DirectoryModes:
    """Let the owner do everything in the root and all directories below it; the modes of those that changed.

    Does nothing for root. Raises StorageError.
    """
    modes: DirectoryModes = {}
    if os.geteuid() == 0:
        return modes
    with storage_errors("cannot open up a directory that was unpacked"):
        if (mode := open_up_this(root_fd)) is not None:
            modes[b"."] = mode
        with Cursor(root_fd) as cursor:
            levels = [(b"", _directories_in(cursor.descriptor))]
            while levels:
                path, names = levels[-1]
                if not names:
                    levels.pop()
                    if levels:
                        cursor.leave()
                    continue
                name = names.pop()
                if (mode := open_up(cursor.descriptor, name)) is not None:
                    modes[path + name] = mode
                cursor.enter(name)
                levels.append((path + name + b"/", _directories_in(cursor.descriptor)))
    return modes


def restore_modes(root_fd: int, modes: DirectoryModes) -> None:
    """Give the directories that are still there their modes, the innermost first; raises StorageError."""
    with storage_errors("cannot set the mode of a directory"):
        for path in reversed(modes):
            if path == b".":
                set_mode(root_fd, modes[path])
                continue
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                open_parent(root_fd, path) as parent_fd,
            ):
                descriptor = os.open(last_step(path), DIRECTORY_FLAGS | os.O_PATH, dir_fd=parent_fd)
                try:
                    set_mode(descriptor, modes[path])
                finally:
                    os.close(descriptor)


def _directories_in(directory_fd: int) -> list[bytes]:
    own = os.open(".", DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        with os.scandir(own) as entries:
            return [os.fsencode(each.name) for each in entries if each.is_dir(follow_symlinks=False)]
    finally:
        os.close(own)
