"""Whether anybody has a log file open for writing.

The kernel itself says so where it grants leases: a lease for reading is refused while any process, of
whatever container, can write to the file. It is given back at once. Where there are no leases, all processes'
descriptors are looked through, as far as they may be. Touches: os, fcntl, signal.
"""

import fcntl
import os
import re
import signal
from dataclasses import dataclass

_FOREIGN_LEASES = ("nfs", "cifs", "smb", "ceph", "9p", "afs", "fuse")
"""How the types of file systems begin that refuse leases for reasons of their own."""
_FLAGS = re.compile(r"^flags:\s*([0-7]+)", re.MULTILINE)

FileKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Search:
    """Who writes to a file, None: nobody was found; `is_complete`: every process could be looked at."""

    writer: str | None
    is_complete: bool


class WriterCheck:
    """Finds who writes to a file. `may_miss_some` is set when a writer could have gone unseen."""

    def __init__(self) -> None:
        self.may_miss_some = False

    def find_writer(self, descriptor: int) -> str | None:
        """Who has the file behind a descriptor, which is open for reading, open for writing; None: nobody."""
        is_granted = _try_lease(descriptor)
        if is_granted:
            return None
        status = os.fstat(descriptor)
        found = find_open_writer((status.st_dev, status.st_ino))
        if found.writer is not None:
            return found.writer
        if is_granted is False and not _is_foreign(status.st_dev):
            return "a process that cannot be seen from here"
        self.may_miss_some = self.may_miss_some or not found.is_complete
        return None


def find_open_writer(file: FileKey) -> Search:
    """What /proc tells of a file, by its device and inode."""
    processes = _list_numbers("/proc")
    is_complete = processes is not None
    for process in processes or ():
        descriptors = _list_numbers(f"/proc/{process}/fd")
        if descriptors is None:
            is_complete = is_complete and not os.path.exists(f"/proc/{process}")
        for descriptor in descriptors or ():
            if _is_open_for_writing(process, descriptor, file):
                return Search(f"process {process} ({_read_name(process)})", is_complete)
    return Search(None, is_complete)


def _try_lease(descriptor: int) -> bool | None:
    """Whether a lease for reading is granted; None where it is not for us to ask."""
    try:
        # Who opens the file for writing meanwhile waits for these microseconds, and we are sent a signal: one
        # that is ignored, since SIGIO would end us.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except OSError:
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _is_foreign(device: int) -> bool:
    """Whether the file system of a device is one whose leases are another machine's."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
            for line in table:
                mount, _, file_system = line.partition(" - ")
                if mount.split()[2] == number:
                    return file_system.startswith(_FOREIGN_LEASES)
    except (OSError, IndexError):
        pass
    return False


def _list_numbers(directory: str) -> list[str] | None:
    """Names that are numbers; None where it cannot be listed."""
    try:
        return [name for name in os.listdir(directory) if name.isdecimal()]
    except OSError:
        return None


def _is_open_for_writing(process: str, descriptor: str, file: FileKey) -> bool:
    try:
        status = os.stat(f"/proc/{process}/fd/{descriptor}")
        if (status.st_dev, status.st_ino) != file:
            return False
        with open(f"/proc/{process}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as text:
            flags = _FLAGS.search(text.read(1000))
    except OSError:
        return False  # closed, or ended, meanwhile
    return flags is None or int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _read_name(process: str) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as text:
            return ascii(text.read(64).strip())[1:-1]
    except OSError:
        return "?"
