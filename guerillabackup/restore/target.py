"""The directory that is restored into: made or refused, and changed only inside of itself.

Everything is done below a directory descriptor and never through a link, because what an element left there
may be a link to anywhere. Touches: os, secrets, subprocess.
"""

import contextlib
import errno
import os
import secrets
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from guerillabackup.errors import ConfigError, ElementExistsError, StorageError
from guerillabackup.osfile import open_directory, storage_errors
from guerillabackup.restore.advice import count_of
from guerillabackup.restore.below import Cursor, exists, is_directory, list_all, open_up, remove
from guerillabackup.restore.directory_attributes import DirectoryAttributes
from guerillabackup.restore.directory_modes import DirectoryModes, open_all, restore_modes
from guerillabackup.restore.member_patterns import show
from guerillabackup.restore.mounts import mount_in_the_way, mounts_below
from guerillabackup.restore.staging import MAX_NAMED, STAGING_PREFIX, hold, tell_of_others


class RestoreTarget:
    """A directory to unpack into: `path` itself when it was empty, else a staging directory inside of it.

    As a context manager it removes a staging directory that is left and closes what it opened. A crash leaves
    the staging directory, and the next restore into this target says how to remove it.
    """

    def __init__(self, path: str, *, into_existing: bool) -> None:
        """Raises ElementExistsError when the directory is not empty and was not to be merged into."""
        self.path = os.path.abspath(path)
        self.warnings: list[str] = []
        self.is_staged = False
        self._modes: DirectoryModes = {}
        with storage_errors(f"cannot make target directory {self.path}"):
            os.makedirs(self.path, exist_ok=True)
        self._target_fd = open_directory(self.path)
        self.unpack_path = self.path
        self.unpack_fd = self._target_fd
        try:
            self._prepare(into_existing)
        except BaseException:
            self.__exit__()
            raise

    def _prepare(self, into_existing: bool) -> None:
        names = list_all(self._target_fd)
        if not names:
            return
        others = tell_of_others(self._target_fd, self.path, names)
        _refuse_occupied(self.path, names, others, into_existing)
        self.warnings += others
        with storage_errors(f"cannot make a staging directory in {self.path}"):
            # Known before it is there: an interrupt at any moment leaves nothing that is not removed.
            self.unpack_path = os.path.join(self.path, f"{STAGING_PREFIX}{secrets.token_hex(8)}")
            self.is_staged = True
            os.mkdir(self.unpack_path, 0o700)
        self.unpack_fd = open_directory(self.unpack_path)
        hold(self.unpack_fd)

    @property
    def is_setgid(self) -> bool:
        """Whether all that is made in it gets its group and setgid bit."""
        return bool(os.fstat(self.unpack_fd).st_mode & stat.S_ISGID)

    def open_directories(self, attributes: DirectoryAttributes) -> None:
        """Make it possible to go on in what was unpacked, whatever modes it has; `merge` sets those again.

        Done after each archive: the next one brings the attributes of all its directories anew.
        """
        self._modes = open_all(self.unpack_fd)
        attributes.apply(self.unpack_fd, self._modes)

    def merge(self) -> None:
        """Move what was unpacked into the target; files there are replaced, all others stay.

        Without a staging directory it is there already. Refuses before anything is moved when a file would
        have to take a directory's place or the other way round, or a mount is in the way: StorageError. Of
        what stops it later the error says what was moved by then.
        """
        if self.is_staged:
            self._move_staged()
        restore_modes(self._target_fd, self._modes)

    def _move_staged(self) -> None:
        conflicts = list(_find_conflicts(self.unpack_fd, self._target_fd))
        if conflicts:
            more = f" and {len(conflicts) - MAX_NAMED} more" if len(conflicts) > MAX_NAMED else ""
            raise StorageError(
                f"cannot restore into {self.path}, nothing was changed: "
                f"{'; '.join(conflicts[:MAX_NAMED])}{more}; restore to a new directory instead"
            )
        progress = _MergeProgress()
        try:
            with storage_errors(f"cannot move what was unpacked to {self.unpack_path} into {self.path}"):
                _merge_directory(self.unpack_fd, self._target_fd, progress)
        except StorageError as error:
            raise type(error)(f"{error}; {self._tell(progress)}") from error
        self.remove_staging()

    def _tell(self, progress: "_MergeProgress") -> str:
        """What a merge that was stopped had done, and what it had not."""
        with storage_errors(f"cannot list {self.unpack_path}"):
            count, first = _count_left(self.unpack_fd)
        named = ", ".join(repr(os.fsdecode(name)) for name in first)
        if progress.moved == 0:
            return f"nothing of {count_of(count, 'name')} was moved, it failed at the first: {named}"
        moved = f"{count_of(progress.moved, 'name')} {_were(progress.moved)} moved"
        others = " and others" if count > len(first) else ""
        return (
            f"{self.path} is half merged: {moved}, {os.fsdecode(progress.last)!r} last, and {count} "
            f"{_were(count)} not: {named}{others}; those are as "
            "they were before: put right what stopped it, and restore again"
        )

    def remove_staging(self) -> None:
        """Remove the staging directory with whatever is in it."""
        if self.is_staged:
            with storage_errors(f"cannot remove {self.unpack_path}"):
                remove(self._target_fd, os.fsencode(os.path.basename(self.unpack_path)))
            unpack_fd, self.unpack_fd = self.unpack_fd, self._target_fd
            if unpack_fd != self._target_fd:
                os.close(unpack_fd)
            self.unpack_path = self.path
            self.is_staged = False

    def close(self) -> None:
        """Close its descriptors; called again it does nothing."""
        if self._target_fd < 0:
            return
        descriptors = {self.unpack_fd, self._target_fd}
        self._target_fd = self.unpack_fd = -1
        for descriptor in descriptors:
            os.close(descriptor)

    def __enter__(self) -> "RestoreTarget":
        return self

    def __exit__(self, *details: object) -> None:
        try:
            self.remove_staging()
        finally:
            self.close()


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def check_free(path: str, *, into_existing: bool) -> None:
    """Raises ElementExistsError when RestoreTarget would; changes nothing."""
    if os.path.lexists(path):
        descriptor = open_directory(path)
        try:
            path, names = os.path.abspath(path), list_all(descriptor)
            _refuse_occupied(path, names, tell_of_others(descriptor, path, names), into_existing)
        finally:
            os.close(descriptor)


def check_outside(path: str, storages: Sequence[str]) -> None:
    """Raises ConfigError for a directory that is a storage's or below it: only elements may be there."""
    above = os.path.realpath(path)
    is_top = False
    while not is_top:
        for storage in storages:
            with contextlib.suppress(OSError):  # what is not there is no storage, and holds nothing
                if os.path.samefile(above, storage):
                    raise ConfigError(
                        f"target directory {path} is in the storage {storage}, where nothing but elements "
                        "may be: name another one"
                    )
        is_top = above == "/"
        above = os.path.dirname(above)


def _refuse_occupied(path: str, names: Sequence[bytes], others: Sequence[str], into_existing: bool) -> None:
    if names and not into_existing:
        raise ElementExistsError(
            f"target directory {path} is not empty ({count_of(len(names), 'name')} in it): name another one, "
            f"or say --into-existing to have it restored into{''.join(f'; {text}' for text in others)}"
        )


def keep_only(root_fd: int, is_wanted: Callable[[bytes], bool]) -> int:
    """Remove every member whose name is not wanted, and directories that are neither wanted nor needed.

    Returns how many members are left. The times of directories that stay are kept.
    """
    with storage_errors("cannot remove what was not asked for"), Cursor(root_fd) as cursor:
        levels = [_Level(b"", b"", False, os.fstat(root_fd), list_all(root_fd))]
        while True:
            level = levels[-1]
            if level.names:
                name = level.names.pop()
                path = level.path + b"/" + name if level.path else name
                wanted = is_wanted(path)
                if is_directory(cursor.descriptor, name):
                    cursor.enter(name)
                    status = os.fstat(cursor.descriptor)
                    levels.append(_Level(name, path, wanted, status, list_all(cursor.descriptor)))
                elif wanted:
                    level.kept += 1
                else:
                    os.unlink(name, dir_fd=cursor.descriptor)
                continue
            os.utime(cursor.descriptor, ns=(level.before.st_atime_ns, level.before.st_mtime_ns))
            levels.pop()
            if not levels:
                return level.kept
            cursor.leave()
            if not level.wanted and not level.kept:
                os.rmdir(level.name, dir_fd=cursor.descriptor)
            levels[-1].kept += level.kept + level.wanted


@dataclass(slots=True)
class _Level:
    """A directory on the way to where a walk is: what is still to be looked at in it, and what was kept."""

    name: bytes
    path: bytes
    wanted: bool
    before: os.stat_result
    names: list[bytes]
    kept: int = 0


@dataclass(slots=True)
class _MergeProgress:
    """How many names were moved, a directory with all in it being one, and the last of them."""

    moved: int = 0
    last: bytes = b""


def _count_left(directory_fd: int) -> tuple[int, list[bytes]]:
    """How many names are left in a directory and all below it, and the first; directories do not count."""
    count, first = 0, list[bytes]()
    with Cursor(directory_fd) as cursor:
        levels = [(b"", list_all(directory_fd)[::-1])]
        while levels:
            path, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    cursor.leave()
            elif is_directory(cursor.descriptor, name := names.pop()):
                cursor.enter(name)
                levels.append((path + name + b"/", list_all(cursor.descriptor)[::-1]))
            else:
                count += 1
                if len(first) < MAX_NAMED:
                    first.append(path + name)
    return count, first


def _find_conflicts(source_fd: int, target_fd: int) -> Iterator[str]:
    """What cannot be merged, each with the reason."""
    mounts = mounts_below(target_fd)
    with Cursor(source_fd) as source, Cursor(target_fd) as target:
        levels = [(b"", list_all(source_fd)[::-1])]
        while levels:
            path, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    source.leave()
                    target.leave()
            elif exists(target.descriptor, name := names.pop()):
                both = [is_directory(cursor.descriptor, name) for cursor in (source, target)]
                if both[0] != both[1]:
                    yield f"{os.fsdecode(path + name)!r} is a directory on one side only"
                elif path + name in mounts and (why := mount_in_the_way(target.descriptor, name)) is not None:
                    yield f"{os.fsdecode(path + name)!r} {why}"
                elif both[0]:
                    try:
                        target.enter(name)
                    except PermissionError:
                        yield f"{os.fsdecode(path + name)!r} is a directory that you may not read"
                        continue
                    source.enter(name)
                    levels.append((path + name + b"/", list_all(source.descriptor)[::-1]))


def _merge_directory(source_fd: int, target_fd: int, progress: "_MergeProgress") -> None:
    """Move all names; what is a directory on both sides is merged."""
    with Cursor(source_fd) as source, Cursor(target_fd) as target:
        levels = [(b"", os.fstat(source_fd), list_all(source_fd)[::-1])]
        while levels:
            path, status, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    _copy_attributes(source.descriptor, status, target.descriptor)
                    source.leave()
                    target.leave()
                continue
            name = names.pop()
            if is_directory(source.descriptor, name) and exists(target.descriptor, name):
                source.enter(name)
                open_up(
                    target.descriptor, name
                )  # in the end it has the mode of the one that is merged into it
                target.enter(name)
                below = list_all(source.descriptor)[::-1]
                levels.append((path + name + b"/", os.fstat(source.descriptor), below))
            else:
                _move(source.descriptor, target.descriptor, name)
                progress.moved += 1
                progress.last = path + name


def _move(source_fd: int, target_fd: int, name: bytes) -> None:
    """A rename keeps links, attributes and holes as they are, and replaces a file in one step.

    Where another file system is mounted in the target it has to be a copy: holes and attributes stay then,
    and what is there is replaced only once the copy is complete.
    """
    try:
        os.replace(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = b"%b%b" % (os.fsencode(STAGING_PREFIX), secrets.token_hex(8).encode("ascii"))
        try:
            _copy_file(source_fd, name, target_fd, copy)
            os.replace(copy, name, src_dir_fd=target_fd, dst_dir_fd=target_fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(copy, dir_fd=target_fd)
            raise
        remove(source_fd, name)  # what is left in the staging directory is what was not moved


def _copy_file(source_fd: int, name: bytes, target_fd: int, copy: bytes) -> None:
    """Copy a file, link or special file with all it has under a name of its own, a file durably."""
    paths = [b"/proc/self/fd/%d/%b" % (source_fd, name), b"/proc/self/fd/%d/%b" % (target_fd, copy)]
    argv = [b"cp", b"--archive", b"--no-target-directory", b"--", *paths]
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(argv, pass_fds=(source_fd, target_fd), env=environment, capture_output=True)
    if result.returncode != 0:
        words = os.fsdecode(result.stderr).strip().splitlines()[-1:]
        raise StorageError(f"cannot copy {show(name)} to another file system: {' '.join(words)}")
    if stat.S_ISREG(os.stat(copy, dir_fd=target_fd, follow_symlinks=False).st_mode):
        descriptor = os.open(copy, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target_fd)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_attributes(source_fd: int, status: os.stat_result, target_fd: int) -> None:
    """What a directory is like; `status` is from before it was emptied."""
    with contextlib.suppress(PermissionError):
        os.fchown(target_fd, status.st_uid, status.st_gid)
    os.fchmod(target_fd, stat.S_IMODE(status.st_mode))
    wanted = os.listxattr(source_fd)
    for name in os.listxattr(target_fd):
        if name not in wanted:
            with contextlib.suppress(OSError):
                os.removexattr(target_fd, name)
    for name in wanted:
        with contextlib.suppress(PermissionError):
            os.setxattr(target_fd, name, os.getxattr(source_fd, name))
    os.utime(target_fd, ns=(status.st_atime_ns, status.st_mtime_ns))
