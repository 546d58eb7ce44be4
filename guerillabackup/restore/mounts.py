"""What is mounted in a directory that is merged into, as far as it is in the way. Touches: os."""

import os
import re

from guerillabackup.osfile import storage_errors
from guerillabackup.restore.member_patterns import show

_MOUNTS = "/proc/self/mountinfo"
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_PATH_FIELD = 4


def mounts_below(directory_fd: int) -> frozenset[bytes]:
    """The paths, relative to a directory, of all that is mounted below it; also what another mount hides."""
    with storage_errors(f"cannot read {_MOUNTS}"):
        root = os.fsencode(os.readlink(f"/proc/self/fd/{directory_fd}")).rstrip(b"/") + b"/"
        with open(_MOUNTS, "rb") as stream:
            paths = [_ESCAPE.sub(_unescape, line.split(b" ")[_PATH_FIELD]) for line in stream]
    return frozenset(path[len(root) :] for path in paths if path.startswith(root) and path != root)


def mount_in_the_way(directory_fd: int, name: bytes) -> str | None:
    """Why a mount point of that name cannot be merged into; None for a directory that can be written to.

    What is mounted over a file cannot be replaced; a file system mounted on a directory takes copies.
    """
    with storage_errors(f"cannot look at {show(name)}"):
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            if _mount_of(descriptor) == _mount_of(directory_fd):
                return None
            try:
                inside = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
            except NotADirectoryError:
                return "is a mount point itself, and cannot be replaced"
            try:
                is_read_only = os.fstatvfs(inside).f_flag & os.ST_RDONLY
            finally:
                os.close(inside)
            return "is mounted read-only" if is_read_only else None
        finally:
            os.close(descriptor)


def _mount_of(descriptor: int) -> bytes:
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as stream:
        return next((line for line in stream if line.startswith(b"mnt_id:")), b"")


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 8),))
