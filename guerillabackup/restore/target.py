"""The directory that is restored into: made or refused, and changed only inside of itself.

Everything is done below a directory descriptor and never through a link, because what an element left there
may be a link to anywhere. Touches: os, subprocess, tempfile.
"""

import contextlib
import errno
import os
import secrets
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from guerillabackup.errors import ElementExistsError, StorageError
from guerillabackup.osfile import open_directory, storage_errors
from guerillabackup.restore.below import Cursor, exists, is_directory, list_all, remove

STAGING_PREFIX = ".guerillabackup-restore-"
MAX_NAMED = 5


class RestoreTarget:
    """A directory to unpack into: `path` itself when it was empty, else a staging directory inside of it.

    As a context manager it removes a staging directory that is left and closes what it opened. A crash leaves
    the staging directory, which the next restore into this target names.
    """

    def __init__(self, path: str, *, into_existing: bool) -> None:
        """Raises ElementExistsError when the directory is not empty and was not to be merged into."""
        self.path = os.path.abspath(path)
        self.warnings: list[str] = []
        self.is_staged = False
        with storage_errors(f"cannot make target directory {self.path}"):
            os.makedirs(self.path, exist_ok=True)
        self._target_fd = open_directory(self.path)
        self.unpack_path = self.path
        self.unpack_fd = self._target_fd
        try:
            self._prepare(into_existing)
        except BaseException:
            self.close()
            raise

    def _prepare(self, into_existing: bool) -> None:
        names = list_all(self._target_fd)
        abandoned = _abandoned(self.path, names)
        if abandoned:
            self.warnings.append(abandoned)
        if not names:
            return
        _refuse_occupied(self.path, names, into_existing)
        with storage_errors(f"cannot make a staging directory in {self.path}"):
            self.unpack_path = tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=self.path)
        self.unpack_fd = open_directory(self.unpack_path)
        self.is_staged = True

    def merge(self) -> None:
        """Move what was unpacked into the target; files there are replaced, all others stay.

        Does nothing without a staging directory. Refuses before anything is moved when a file would have to
        take a directory's place or the other way round: StorageError.
        """
        if not self.is_staged:
            return
        conflicts = list(_find_conflicts(self.unpack_fd, self._target_fd))
        if conflicts:
            listed = ", ".join(repr(os.fsdecode(name)) for name in conflicts[:MAX_NAMED])
            raise StorageError(
                f"cannot restore into {self.path}, nothing was changed: "
                f"{len(conflicts)} names are a directory on one side only: {listed}"
            )
        with storage_errors(f"cannot move what was unpacked to {self.unpack_path} into {self.path}"):
            _merge_directory(self.unpack_fd, self._target_fd)
        self.remove_staging()

    def remove_staging(self) -> None:
        """Remove the staging directory with whatever is in it."""
        if self.is_staged:
            with storage_errors(f"cannot remove {self.unpack_path}"):
                remove(self._target_fd, os.fsencode(os.path.basename(self.unpack_path)))
            os.close(self.unpack_fd)
            self.unpack_fd = self._target_fd
            self.unpack_path = self.path
            self.is_staged = False

    def close(self) -> None:
        """Close its descriptors; called again it does nothing."""
        if self._target_fd < 0:
            return
        if self.unpack_fd != self._target_fd:
            os.close(self.unpack_fd)
        os.close(self._target_fd)
        self._target_fd = self.unpack_fd = -1

    def __enter__(self) -> "RestoreTarget":
        return self

    def __exit__(self, *details: object) -> None:
        try:
            self.remove_staging()
        finally:
            self.close()


def check_free(path: str, *, into_existing: bool) -> None:
    """Raises ElementExistsError when RestoreTarget would; changes nothing."""
    if os.path.lexists(path):
        descriptor = open_directory(path)
        try:
            _refuse_occupied(os.path.abspath(path), list_all(descriptor), into_existing)
        finally:
            os.close(descriptor)


def _refuse_occupied(path: str, names: Sequence[bytes], into_existing: bool) -> None:
    if names and not into_existing:
        abandoned = _abandoned(path, names)
        raise ElementExistsError(
            f"target directory {path} is not empty ({len(names)} entries): name another one, "
            f"or say --into-existing to have it restored into{'; ' + abandoned if abandoned else ''}"
        )


def _abandoned(path: str, names: Sequence[bytes]) -> str | None:
    """What to say about staging directories of other restores."""
    found = [os.fsdecode(name) for name in names if name.startswith(STAGING_PREFIX.encode())]
    listed = ", ".join(os.path.join(path, name) for name in found[:MAX_NAMED])
    return f"an interrupted restore, or one that runs now, left {listed}" if found else None


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


def _find_conflicts(source_fd: int, target_fd: int) -> Iterator[bytes]:
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
                    yield path + name
                elif both[0]:
                    source.enter(name)
                    target.enter(name)
                    levels.append((path + name + b"/", list_all(source.descriptor)[::-1]))


def _merge_directory(source_fd: int, target_fd: int) -> None:
    with Cursor(source_fd) as source, Cursor(target_fd) as target:
        levels = [(os.fstat(source_fd), list_all(source_fd))]
        while levels:
            status, names = levels[-1]
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
                target.enter(name)
                levels.append((os.fstat(source.descriptor), list_all(source.descriptor)))
            else:
                _move(source.descriptor, target.descriptor, name)


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


def _copy_file(source_fd: int, name: bytes, target_fd: int, copy: bytes) -> None:
    """Copy a file, link or special file with all it has under a name of its own, a file durably."""
    paths = [b"/proc/self/fd/%d/%b" % (source_fd, name), b"/proc/self/fd/%d/%b" % (target_fd, copy)]
    argv = [b"cp", b"--archive", b"--no-target-directory", b"--", *paths]
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(argv, pass_fds=(source_fd, target_fd), env=environment, capture_output=True)
    if result.returncode != 0:
        words = os.fsdecode(result.stderr).strip().splitlines()[-1:]
        raise StorageError(f"cannot copy {name!r} to another file system: {' '.join(words)}")
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
