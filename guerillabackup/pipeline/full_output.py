"""Which file system an output is in that takes no more, and what is free there. Touches: os."""

import os
import stat
from typing import NoReturn

from guerillabackup.errors import StorageFullError
from guerillabackup.osfile import raise_storage_error


def raise_output_error(error: OSError, descriptor: int) -> NoReturn:
    """The StorageError of an output that could not be written; a full one says where that is."""
    try:
        raise_storage_error(error, "cannot write the output")
    except StorageFullError as full:
        raise StorageFullError(f"{full}{_describe(descriptor)}") from error


def _describe(descriptor: int) -> str:
    """To follow the error, while what was written takes its place yet; empty where nothing is known."""
    try:
        status = os.fstatvfs(descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        # The name of a file that has none yet: `/directory/#inode (deleted)`.
        directory = os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))
    except OSError:
        return ""
    free = f"{status.f_bavail * status.f_frsize} bytes"
    names = f" and {status.f_favail} names" if status.f_files else ""
    return f"; {directory} is full, or a quota is used up, with {free}{names} free: make room there"
