"""A lock on a directory: held by one alone, or by any number together. Touches: fcntl, os.

It is a file's, so it ends with its process whatever becomes of that.
"""

import contextlib
import fcntl
import os

from guerillabackup import osfile
from guerillabackup.osfile import PRIVATE, storage_errors


class DirectoryLock:
    """The file `name` in a directory, which is made, open but not locked yet; `close` ends it."""

    def __init__(self, directory: str, name: str) -> None:
        with storage_errors(f"cannot lock the state in {directory}"):
            osfile.make_directories(directory, PRIVATE)
            directory_fd = osfile.open_directory(directory)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                self.descriptor = os.open(name, flags, 0o600, dir_fd=directory_fd)
            finally:
                os.close(directory_fd)

    def take(self, *, is_alone: bool) -> bool:
        """Whether it is held now; never waits."""
        with storage_errors("cannot lock the state"):
            try:
                fcntl.flock(self.descriptor, (fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Let others have it; may be called twice."""
        if self.descriptor < 0:
            return
        descriptor, self.descriptor = self.descriptor, -1
        # Said outright: a child that was forked just now may not have closed it yet.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def lock_directory(path: str, *, is_alone: bool) -> tuple[int | None, tuple[int, int]]:
    """Lock a directory itself, in which no file may be made; its descriptor, None where others hold it.

    Also which directory it is, by device and number. Where the file system locks no directories, as NFS may
    not, nobody is kept out. Raises StorageError.
    """
    descriptor = osfile.open_directory(path)
    status = os.fstat(descriptor)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None, (status.st_dev, status.st_ino)
    except OSError:
        pass  # what cannot be locked by anybody is held by nobody
    return descriptor, (status.st_dev, status.st_ino)
