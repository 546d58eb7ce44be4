"""What is known of one member of a tar archive. No I/O."""

import enum
from dataclasses import dataclass

from guerillabackup.restore.directory_record import DirectoryRecord


class MemberType(enum.Enum):
    """What a member is."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member: `name` and `link_target` as they stand in the archive, `size` of its content in bytes.

    `mode` and the names of extended attributes are of directories only; None where nothing tells them.
    """

    name: bytes
    type: MemberType
    size: int
    mtime: int
    link_target: bytes
    record: DirectoryRecord | None
    mode: int | None = None
    xattrs: frozenset[bytes] | None = None
