"""Files below a directory descriptor, never through a link: the one hand on the file system.

Every function takes a directory descriptor and single names (or a sequence of them), opens each step with
O_NOFOLLOW, and so cannot be led out of the directory it was given. What writes is complete and durable in the
order its docstring says; `storage_errors` turns OSError into StorageError with what and which. What holds a
descriptor forgets it before it is closed: an interrupt may come right after that, and the number be another
file's when it is closed again.
Touches: os, ctypes, pwd.
"""

import contextlib
import ctypes
import errno
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from guerillabackup.errors import StorageError, StorageFullError, StorageReadOnlyError

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
WRITE_CHUNK = 1 << 20
SYNC_FILE_RANGE_WRITE = 2
MAX_SHOWN = 400
"""Characters of a path that an operator named, in a message."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_THERE = {errno.ENOENT, errno.ENAMETOOLONG}
"""A name too long for the file system is not in it."""
_libc = ctypes.CDLL(None, use_errno=True)


class Ownership(NamedTuple):
    """Modes of new files and directories, and whom they belong to; None leaves owner or group alone."""

    directory_mode: int = 0o700
    file_mode: int = 0o600
    user_id: int | None = None
    group_id: int | None = None


PRIVATE = Ownership()
"""For the running user alone."""


def raise_storage_error(error: OSError, action: str) -> NoReturn:
    """The StorageError for a failed system call; of a kind of its own where the file system takes nothing."""
    kind: type[StorageError] = StorageFullError if error.errno in _FULL else StorageError
    if error.errno == errno.EROFS:
        kind = StorageReadOnlyError
    raise kind(f"{action}: {error.strerror or error}") from error


class StorageErrors:
    """What `storage_errors` hands out; around each step of each element a generator would cost thrice."""

    __slots__ = ("_action",)

    def __init__(self, action: str) -> None:
        self._action = action

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise_storage_error(error, self._action)


def storage_errors(action: str) -> StorageErrors:
    """Turns OSError inside into StorageError that names the action."""
    return StorageErrors(action)


def open_directory(path: str) -> int:
    """A descriptor of a directory that an operator named: links in its path are followed, its end too."""
    shown = path if len(path) <= MAX_SHOWN else f"{path[: MAX_SHOWN // 2]}…{path[-MAX_SHOWN // 2 :]}"
    with storage_errors(f"cannot open directory {shown}"):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_directory_below(directory_fd: int, components: Sequence[str]) -> int:
    """A descriptor of a directory some steps below; raises plain OSError, ENOENT where it is not there."""
    return _walk(directory_fd, components, _open_step)


def open_nearest_below(directory_fd: int, components: Sequence[str]) -> int:
    """The same of the last of the steps that is there, or of the directory itself; raises plain OSError."""

    def step(current: int, name: str) -> int | None:
        try:
            return _open_step(current, name)
        except FileNotFoundError:
            return None

    return _walk(directory_fd, components, step)


def make_directories(path: str, ownership: Ownership) -> None:
    """A directory that an operator named, and what is missing above it, each durably. Raises OSError."""
    parent, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path) or not name:
        return
    make_directories(parent, ownership)
    parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_make_one_directory(parent_fd, name, ownership))
    finally:
        os.close(parent_fd)


def make_directory_below(
    directory_fd: int, components: Sequence[str], ownership: Ownership, *, sync_all: bool = False
) -> int:
    """Like open_directory_below, but what is missing is made, durably, from the top down.

    A new directory has its owner and mode, and its name is synced in its parent, before anything is put into
    it; with `sync_all` also the names that were there, which whoever made them may not have synced yet.
    Raises OSError.
    """

    def step(current: int, name: str) -> int:
        try:
            below = _open_step(current, name)
        except FileNotFoundError:
            return _make_one_directory(current, name, ownership)
        if sync_all:
            _sync_or_close(current, below)
        return below

    return _walk(directory_fd, components, step)


def _walk(directory_fd: int, components: Sequence[str], step: Callable[[int, str], int | None]) -> int:
    """The descriptor that the steps lead to, one after the other; one that has none ends the way."""
    current = os.dup(directory_fd)
    try:
        for component in components:
            _check_name(component)
            below = step(current, component)
            if below is None:
                break
            above, current = current, below
            os.close(above)
    except BaseException:
        os.close(current)
        raise
    return current


def _open_step(directory_fd: int, name: str) -> int:
    return os.open(name, DIRECTORY_FLAGS, dir_fd=directory_fd)


def open_file(directory_fd: int, name: str, flags: int = READ_FLAGS) -> int:
    """A descriptor of a regular file; raises OSError, and StorageError when it is not a regular file."""
    _check_name(name)
    # Whatever it is, opening does not wait (O_NONBLOCK in READ_FLAGS): a FIFO is refused, not read.
    descriptor = os.open(name, flags, dir_fd=directory_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{name!r} is not a regular file")
    return descriptor


def read_file(directory_fd: int, name: str, limit: int) -> bytes:
    """All of a small file; raises OSError, and StorageError when it is longer than `limit` bytes."""
    descriptor = open_file(directory_fd, name)
    try:
        parts = []
        left = limit + 1
        while left > 0 and (part := os.read(descriptor, min(left, WRITE_CHUNK))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise StorageError(f"file {name!r} is longer than {limit} bytes")
    return b"".join(parts)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte, however often the kernel takes only some; raises OSError."""
    view = memoryview(data).cast("B")
    while len(view) > 0:
        written = os.write(descriptor, view[: 64 * WRITE_CHUNK])
        if written == 0:
            raise OSError(errno.EIO, "write of 0 bytes")
        view = view[written:]


def open_unnamed(directory_fd: int, mode: int) -> int | None:
    """A new file without a name, to read and write; None where the file system has no such thing.

    It vanishes with its last descriptor unless `link_unnamed` names it. Raises OSError.
    """
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise


def link_unnamed(descriptor: int, directory_fd: int, name: str) -> None:
    """Give an unnamed file its name; FileExistsError when that is taken. Raises OSError."""
    _check_name(name)
    os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory_fd, follow_symlinks=True)


def apply_ownership(descriptor: int, mode: int, ownership: Ownership) -> None:
    """Set owner, group and the exact mode whatever the umask is; raises OSError."""
    user = -1 if ownership.user_id is None else ownership.user_id
    group = -1 if ownership.group_id is None else ownership.group_id
    if (user, group) != (-1, -1):
        try:
            os.fchown(descriptor, user, group)
        except PermissionError as error:
            raise PermissionError(
                error.errno, f"may not give a file to user {user}, group {group}"
            ) from error
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def replace_file(directory_fd: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Put a small file in the place of another, durably: the old or the new one is there, never a part.

    A crash may leave `name.tmp`, which the next call removes; a failure leaves nothing. Its mode is exactly
    `mode`. One writer at a time. Raises OSError.
    """
    _check_name(name)
    temporary = f"{name}.tmp"
    remove_file(directory_fd, temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=directory_fd)
    try:
        try:
            apply_ownership(descriptor, mode, PRIVATE)
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_file(directory_fd, temporary)
        raise
    os.fsync(directory_fd)


def remove_file(directory_fd: int, name: str) -> bool:
    """Remove exactly this name, if it is there; whether it was. Raises OSError."""
    _check_name(name)
    try:
        os.unlink(name, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise
    return True


def stat_file(directory_fd: int, name: str) -> os.stat_result | None:
    """What a name is, itself and not what it links to; None when it is not there. Raises OSError."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


def list_names(directory_fd: int) -> list[str]:
    """The names in a directory, sorted; those that are not printable ASCII are left out. Raises OSError."""
    # listdir moves the offset of the descriptor it is given: take a fresh one, for other threads' sake.
    own = os.open(".", DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        return sorted(name for name in os.listdir(own) if name.isprintable() and name.isascii())
    finally:
        os.close(own)


def sync_file_system(descriptor: int) -> None:
    """Everything written to the file system of this descriptor is on stable storage. Raises OSError."""
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def start_writeback(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel begin to write these bytes out, so that the sync at the end is short. Best effort.

    A length of 0 goes to the end.
    """
    _libc.sync_file_range(
        descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), ctypes.c_uint(SYNC_FILE_RANGE_WRITE)
    )


def _make_one_directory(parent_fd: int, name: str, ownership: Ownership) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, ownership.directory_mode, dir_fd=parent_fd)
    descriptor = os.open(name, DIRECTORY_FLAGS, dir_fd=parent_fd)
    try:
        apply_ownership(descriptor, ownership.directory_mode, ownership)
    except BaseException:
        os.close(descriptor)
        raise
    _sync_or_close(parent_fd, descriptor)
    return descriptor


def _sync_or_close(directory_fd: int, descriptor: int) -> None:
    try:
        os.fsync(directory_fd)
    except BaseException:
        os.close(descriptor)
        raise


def _check_name(name: str) -> None:
    """A single step only: no way up, no way round. A path here is a defect of the caller."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise StorageError(f"{name!r} is not a single file name")


def name_user(user_id: int) -> str:
    """An account as sudo takes it: by its name, or # and its number."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"'#{user_id}'"
