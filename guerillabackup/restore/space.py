"""Which file system is full, and how full, for the error of what could not be written. Touches: os."""

import contextlib
import os
from collections.abc import Iterator

from guerillabackup.errors import StorageFullError


@contextlib.contextmanager
def space_told(directory: str) -> Iterator[None]:
    """A StorageFullError inside says as well which file system a directory is on, and what is free there."""
    try:
        yield
    except StorageFullError as error:
        raise StorageFullError(f"{error}{_describe(directory)}") from error


def _describe(directory: str) -> str:
    """To follow the error: while what was written is there yet."""
    try:
        path = os.path.realpath(directory)
        status = os.statvfs(path)
        while path != "/" and not os.path.ismount(path):
            path = os.path.dirname(path)
    except OSError:
        return ""
    free = status.f_bavail * status.f_frsize
    names = f" and {status.f_favail} names" if status.f_files else ""
    return (
        f"; no space left, or no more allowed by a quota: the file system at {path} has {free} bytes{names} "
        "free: make room, or restore to another one"
    )
