"""What an archive's records call contained in it and is not: it was there, and tar could not archive it.

A socket is left out, and so is what vanished or was unreadable while tar ran. What an older element had of
that name is not what was there; tar keeps it when it unpacks, here it goes. Touches: os.
"""

import contextlib
import os
from dataclasses import dataclass, field

from guerillabackup.osfile import storage_errors
from guerillabackup.restore.below import exists, is_directory, last_step, open_parent
from guerillabackup.restore.directory_record import IN_ARCHIVE, normal_name
from guerillabackup.restore.member_patterns import show
from guerillabackup.restore.tar_member import TarMember


@dataclass(slots=True)
class LeftOut:
    """Collects what one incremental archive left out: `take` all members, `confirm` all again, then `remove`.

    tar archives all directories before what is in them; the second pass spares what came in another order.
    """

    _expected: dict[bytes, set[bytes]] = field(default_factory=dict)

    def take(self, member: TarMember) -> None:
        """The next member of the archive, in the first pass."""
        self.confirm(member)
        if member.record is None:
            return
        if names := {name for code, name in member.record.entries if code == IN_ARCHIVE}:
            self._expected.setdefault(normal_name(member.name), set()).update(names)

    def confirm(self, member: TarMember) -> None:
        """A member that is in the archive is not left out."""
        name = normal_name(member.name)
        directory = name.rpartition(b"/")[0] or b"."
        if (expected := self._expected.get(directory)) is not None:
            expected.discard(last_step(name))
            if not expected:
                del self._expected[directory]

    @property
    def names(self) -> set[bytes]:
        """The normal names of what was left out."""
        return {
            name if directory == b"." else directory + b"/" + name
            for directory, names in self._expected.items()
            for name in names
        }

    def remove(self, root_fd: int) -> None:
        """Remove what has these names where the archive was just unpacked; raises StorageError.

        tar removed directories there itself: one that is there now came with what this archive has in it. The
        times of the directories stay.
        """
        for name in sorted(self.names):
            with (
                storage_errors(f"cannot remove what an older element had as {show(name)}"),
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                open_parent(root_fd, name) as parent_fd,
            ):
                step = last_step(name)
                if exists(parent_fd, step) and not is_directory(parent_fd, step):
                    status = os.fstat(parent_fd)
                    os.unlink(step, dir_fd=parent_fd)
                    os.utime(parent_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
