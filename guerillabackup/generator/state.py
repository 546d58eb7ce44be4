"""What a unit remembers between runs: small JSON files in a directory of its own. Touches: os, fcntl.

Files are replaced whole and durably. The directory is locked while it is open, so that a source is never
backed up by two generators at once.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from guerillabackup import osfile
from guerillabackup.errors import StateError, StorageError, TemporaryError
from guerillabackup.generator import forked
from guerillabackup.osfile import PRIVATE, storage_errors

MAX_STATE_SIZE = 64 << 20
"""Bytes of one state file."""

STATE = "state.current"
OLD_STATE = "state.old"
PENDING = "state.pending"

_NEW_CHAINS = "to let every source of this unit begin a new chain with a full backup"
_REMEDIES = {
    STATE: f"remove it {_NEW_CHAINS}",
    PENDING: f"remove it and {STATE} {_NEW_CHAINS}",
}
_OTHER_REMEDY = "nothing of it is needed for the next backup"
_ASIDE = ".damaged"


class DamagedStateError(StateError):
    """The content of a state file is not what was written: reading it again will not help."""


class StateBusyError(StateError, TemporaryError):
    """Another process works with this state right now; `holder` is that one, where it is known."""

    holder: int | None = None


class StateDirectory:
    """The state directory of one unit, locked until `close`; a context manager that closes."""

    def __init__(self, path: str) -> None:
        self.path = path
        with storage_errors(f"cannot open the state directory {path}"):
            osfile.make_directories(path, PRIVATE)
            self.descriptor = osfile.open_directory(path)
        forked.hold(self.descriptor)
        try:
            with storage_errors(f"cannot lock the state directory {path}"):
                self._lock()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "StateDirectory":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory and its lock; may be called twice."""
        if self.descriptor >= 0:
            forked.release(self.descriptor)
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    def load(self, name: str) -> Any:
        """The JSON value of a file, None when there is no such file; raises StateError, DamagedStateError."""
        try:
            text = osfile.read_file(self.descriptor, name, MAX_STATE_SIZE).decode("ascii")
            value = json.loads(text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read state file {self.file_path(name)}: {error.strerror}") from error
        except (StorageError, ValueError, RecursionError) as error:
            raise self.damaged(name, str(error)) from error
        if value is None:
            raise self.damaged(name, "it holds nothing")
        return value

    def has(self, name: str) -> bool:
        """Whether a file is there; when that cannot be told, it is taken to be."""
        try:
            return osfile.stat_file(self.descriptor, name) is not None
        except OSError:
            return True

    def damaged(self, name: str, reason: str) -> DamagedStateError:
        """The error for a file whose content cannot be used, with what to do about it."""
        return DamagedStateError(
            f"state file {self.file_path(name)} is damaged ({reason}): {_REMEDIES.get(name, _OTHER_REMEDY)}"
        )

    def save(self, name: str, value: Any, *, keep_as: str | None = None) -> None:
        """Replace a file durably; the one before stays as `keep_as`."""
        data = json.dumps(value, sort_keys=True).encode("ascii")
        with storage_errors(f"cannot write state file {self.file_path(name)}"):
            if keep_as is not None:
                osfile.remove_file(self.descriptor, keep_as)
                with contextlib.suppress(FileNotFoundError):
                    os.link(name, keep_as, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            osfile.replace_file(self.descriptor, name, data)

    def remove(self, name: str, *, durably: bool = True) -> None:
        """Remove a file, if it is there; not durably, it may be there again after a crash."""
        with storage_errors(f"cannot remove state file {self.file_path(name)}"):
            if osfile.remove_file(self.descriptor, name) and durably:
                os.fsync(self.descriptor)

    def move_aside(self, name: str) -> str:
        """Give a file that cannot be used a name nothing has yet; hands back its new path."""
        with storage_errors(f"cannot move {self.file_path(name)} aside"):
            taken = set(osfile.list_names(self.descriptor))
            aside, number = name + _ASIDE, 1
            while aside in taken:
                number += 1
                aside = f"{name}{_ASIDE}.{number}"
            os.rename(name, aside, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            os.fsync(self.descriptor)
        return self.file_path(aside)

    def file_path(self, name: str) -> str:
        """A path for other programs and for messages."""
        return os.path.join(self.path, name)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Names the file in the StorageError of what fails inside."""
        with storage_errors(f"cannot write state file {self.file_path(name)}"):
            yield

    def _lock(self) -> None:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            busy = StateBusyError(
                f"another generator works with {self.path} right now; run this again when it has ended"
            )
            busy.holder = find_holder(os.fstat(self.descriptor).st_ino)
            raise busy from error


def find_holder(inode: int) -> int | None:
    """The process that has a lock on the file of an inode, as the kernel lists it; None: it is not seen."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/locks", encoding="ascii") as table:
        for line in table:
            words = line.split()
            # `1: FLOCK ADVISORY WRITE 4711 fe:00:2146500 0 EOF`; who waits for it has an arrow there.
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == inode:
                return int(words[4])
    return None


def seconds_since_start(process: int) -> float | None:
    """For how long a process has been there; None where it is not."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as text:
            ticks = int(text.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as text:
            return float(text.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
