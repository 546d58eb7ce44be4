"""The directory of log files: opened without following any link, and files removed only if they are what was
read.

Touches: os, stat.
"""

import enum
import os
import stat
from dataclasses import dataclass

from guerillabackup import osfile
from guerillabackup.errors import StorageError
from guerillabackup.osfile import storage_errors


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells a file's content from any other that is or was in its directory."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def is_again(self, other: "FileIdentity") -> bool:
        """The same but for the device, whose number another start of the machine may have changed."""
        return (self.inode, self.size, self.modified_ns) == (other.inode, other.size, other.modified_ns)


class Removal(enum.Enum):
    """What became of a file that was to be removed."""

    REMOVED = "removed"
    GONE = "not there any more"
    CHANGED = "changed since it was read"


class MissingDirectoryError(StorageError):
    """There is no such directory."""


class LogDirectory:
    """An open directory of log files; a context manager that closes."""

    def __init__(self, path: str) -> None:
        """Raises StorageError, also when a step of the path is a symbolic link."""
        self.path = path
        root = osfile.open_directory("/")
        try:
            steps = [step for step in path.split("/") if step]
            self.descriptor = osfile.open_directory_below(root, steps)
        except FileNotFoundError as error:
            raise MissingDirectoryError(f"directory {path} is not there") from error
        except OSError as error:
            raise StorageError(f"directory {path}: {_explain(path, error)}") from error
        finally:
            os.close(root)

    def __enter__(self) -> "LogDirectory":
        return self

    def __exit__(self, *details: object) -> None:
        os.close(self.descriptor)

    def list_names(self) -> list[str]:
        """All names, sorted; what is not UTF-8 has surrogates for its bytes. Raises StorageError."""
        with storage_errors(f"directory {self.path} cannot be listed"):
            # listdir moves the offset of the descriptor it is given.
            own = os.open(".", osfile.DIRECTORY_FLAGS, dir_fd=self.descriptor)
            try:
                return sorted(os.listdir(own))
            finally:
                os.close(own)

    def check_removable(self) -> None:
        """Raise StorageError when files could not be removed: they would be stored again and again."""
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=self.descriptor, effective_ids=True):
            raise StorageError(
                f"directory {self.path}: what is stored could not be removed from it; permission denied"
            )

    def open_file(self, name: str) -> int:
        """A descriptor to read a regular file from; raises StorageError, FileNotFoundError."""
        try:
            return osfile.open_file(self.descriptor, name)
        except FileNotFoundError:
            raise
        except OSError as error:
            if stat.S_ISLNK(self._mode(name)):
                raise StorageError(f"{self.show(name)} is a symbolic link, and none is followed") from error
            raise StorageError(f"{self.show(name)} cannot be opened: {error.strerror}") from error
        except StorageError as error:
            raise StorageError(f"{self.show(name)} is not a regular file") from error

    def find_inode(self, name: str) -> tuple[int, int] | None:
        """Device and inode of a name; None when it is not there. Raises OSError."""
        status = osfile.stat_file(self.descriptor, name)
        return None if status is None else (status.st_dev, status.st_ino)

    def find_modified(self, name: str) -> float | None:
        """When the file of that name was last written to; None where there is none."""
        status = osfile.stat_file(self.descriptor, name)
        return None if status is None else status.st_mtime

    def remove(self, name: str, identity: FileIdentity, *, after_restart: bool = False) -> Removal:
        """Remove a file that is what was read, under its name or one it was given since. Raises OSError.

        Not durable before `sync`. Somebody who renames the files in the very microsecond between the look and
        the removal could have another one removed: no call of the kernel does both.
        """
        found = self._find(name, identity, after_restart)
        if found is None:
            return Removal.GONE
        found_name, there = found
        if not _is_same(identity, there, after_restart):
            return Removal.CHANGED
        return Removal.REMOVED if osfile.remove_file(self.descriptor, found_name) else Removal.GONE

    def sync(self) -> None:
        """Make removals durable. Raises OSError."""
        os.fsync(self.descriptor)

    def show(self, name: str) -> str:
        """A path for messages, on one line whatever is in the name."""
        return show_path(self.path, name)

    def _find(
        self, name: str, identity: FileIdentity, after_restart: bool
    ) -> tuple[str, FileIdentity] | None:
        """The name of that file by now: its own, or, since rotating renames, any other of its inode."""
        for candidate in (name, *(other for other in self.list_names() if other != name)):
            status = osfile.stat_file(self.descriptor, candidate)
            if status is None or status.st_ino != identity.inode or not stat.S_ISREG(status.st_mode):
                continue
            if after_restart or status.st_dev == identity.device:
                return candidate, FileIdentity.of(status)
        return None

    def _mode(self, name: str) -> int:
        try:
            status = osfile.stat_file(self.descriptor, name)
        except OSError:
            return 0
        return 0 if status is None else status.st_mode


def show_path(directory: str, name: str) -> str:
    """As it is where it is plain, otherwise quoted and escaped."""
    path = os.path.join(directory, name)
    return path if path.isascii() and path.isprintable() and " " not in path else ascii(path)


def _is_same(identity: FileIdentity, there: FileIdentity, after_restart: bool) -> bool:
    return identity.is_again(there) if after_restart else identity == there


def _explain(path: str, error: OSError) -> str:
    if os.path.realpath(path) != os.path.normpath(path) and os.path.isdir(path):
        return f"a step of it is a symbolic link, and none is followed; write {os.path.realpath(path)}"
    return f"cannot be opened: {error.strerror}"
