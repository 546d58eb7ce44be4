"""Gives the directories of an archive that was just unpacked exactly what the archive says of them.

tar leaves what is there already: extended attributes that an earlier element brought, and the setgid bit that
a new directory has from the one it is in, where it finds nothing else to change. Touches: os.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field

from guerillabackup.osfile import DIRECTORY_FLAGS, storage_errors
from guerillabackup.restore.below import last_step, open_parent, set_mode
from guerillabackup.restore.directory_modes import DirectoryModes
from guerillabackup.restore.directory_record import normal_name
from guerillabackup.restore.member_patterns import show
from guerillabackup.restore.tar_member import MemberType, TarMember

_PREFIXES = (b"user.", b"trusted.", b"security.")
"""What tar restores besides access lists, which it clears itself; as an ordinary user only the first."""
_LABELS = (b"security.selinux", b"security.SMACK64", b"security.ima", b"security.evm")
"""What a kernel that uses them gives to everything by itself: no older archive has to have brought them."""
_NO_ATTRIBUTES = (errno.ENOTSUP, errno.ENOENT, errno.ENOTDIR)


@dataclass(slots=True)
class DirectoryAttributes:
    """Modes and names of extended attributes by directory: `take` all members, then `apply`."""

    _directories: dict[bytes, tuple[int | None, frozenset[bytes] | None]] = field(default_factory=dict)

    def take(self, member: TarMember) -> None:
        """The next member of the archive."""
        if member.type is MemberType.DIRECTORY:
            self._directories[normal_name(member.name)] = (member.mode, member.xattrs)

    def apply(self, root_fd: int, opened: DirectoryModes) -> None:
        """Set what differs, for `opened` directories there: what they will have. Raises StorageError.

        A directory that needs nothing, which is nearly each, costs two calls.
        """
        for name, (mode, xattrs) in self._directories.items():
            if name in opened:
                if mode is not None:
                    opened[name] = mode
                mode = None
            with (
                storage_errors(f"cannot set the attributes of directory {show(name)}"),
                suppress(FileNotFoundError, NotADirectoryError),
            ):
                if not _is_as_told(root_fd, name, mode, xattrs):
                    _set(root_fd, name, mode, xattrs)


def _is_as_told(root_fd: int, name: bytes, mode: int | None, xattrs: frozenset[bytes] | None) -> bool:
    """A quick look by the whole path: nothing is changed by it, so that it may follow links."""
    path = b"/proc/self/fd/%d/%b" % (root_fd, name)
    try:
        if mode is not None and os.stat(path, follow_symlinks=False).st_mode & 0o7777 != mode:
            return False
        return not _surplus(path, xattrs)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _set(root_fd: int, name: bytes, mode: int | None, xattrs: frozenset[bytes] | None) -> None:
    with open_parent(root_fd, name) as parent_fd:
        descriptor = os.open(last_step(name), DIRECTORY_FLAGS | os.O_PATH, dir_fd=parent_fd)
    try:
        if mode is not None:
            set_mode(descriptor, mode)
        path = b"/proc/self/fd/%d" % descriptor
        for surplus in _surplus(path + b"/.", xattrs):
            try:
                os.removexattr(path + b"/.", surplus)
            except PermissionError:
                # Of these, who may not take one away could not have brought it: it is the system's own.
                if not surplus.startswith(b"security."):
                    raise
    finally:
        os.close(descriptor)


def _surplus(path: bytes, xattrs: frozenset[bytes] | None) -> list[bytes]:
    """The extended attributes that the archive does not tell of."""
    if xattrs is None:
        return []
    try:
        found = [os.fsencode(each) for each in os.listxattr(path, follow_symlinks=False)]
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return []
        raise
    brought = [each for each in found if each.startswith(_PREFIXES) and not each.startswith(_LABELS)]
    return [each for each in brought if each not in xattrs]
