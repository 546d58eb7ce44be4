"""One stored element as files: reading, attributes, locking, deletion by exact names.

A lock is an flock on `.data`: it dies with its process. A `.lock` file, which the original makes, counts as
locked. Deletion takes `.info` away first, so that the element is gone at once and whole, and `.data` last, so
that its name stays taken until nothing of it is left. Touches: os, fcntl, secrets, time.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from guerillabackup import osfile
from guerillabackup.element import MAX_METAINFO_SIZE, BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.element import check_attribute_name as check_name
from guerillabackup.errors import (
    ElementIdError,
    ElementLockedError,
    ElementNotFoundError,
    MetainfoError,
    StorageError,
)
from guerillabackup.osfile import Ownership, storage_errors
from guerillabackup.storage.folder import RootDirectory
from guerillabackup.storage.interface import MAX_ATTRIBUTE_SIZE, StorageBackupDataElementInterface
from guerillabackup.storage.naming import DATA, INFO, LOCK, parse_file_name

NAMES_PER_DELETION = 32
"""Names that may be listed for each deletion."""
LOCK_ATTEMPTS = 3
LOCK_PAUSE = 0.001
"""Seconds between two attempts to lock."""


class AttributeSuffixes:
    """The attribute names that files of a storage have, so that a deletion need not list its folder.

    A folder is listed again after a share of as many deletions as it had names, a small one each time: what
    other processes add is learned, at a constant cost for each deletion.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._known: frozenset[str] = frozenset()
        self._deletions_left: dict[tuple[str, ...], int] = {}

    def known(self) -> Sequence[str]:
        """All names seen so far."""
        return tuple(self._known)

    def add(self, name: str) -> None:
        """A name that is used from now on."""
        with self._lock:
            self._known |= {name}

    def for_deletion(self, directory: tuple[str, ...], directory_fd: int) -> Sequence[str]:
        """The names to look for when an element of that folder is deleted. Raises OSError."""
        with self._lock:
            left = self._deletions_left.get(directory, 0)
            if left > 0:
                self._deletions_left[directory] = left - 1
                return tuple(self._known)
        names = osfile.list_names(directory_fd)
        suffixes = {DATA, INFO, LOCK} | self._known
        for name in names:
            # Most names end as those before: taking each apart would be most of the work of a deletion.
            if name[name.rfind(".") + 1 :] not in suffixes:
                file = parse_file_name(directory, name)
                if file is not None:
                    suffixes.add(file.suffix)
        with self._lock:
            self._known |= suffixes - {DATA, INFO, LOCK}
            if len(self._deletions_left) >= 4096:
                self._deletions_left.clear()
            self._deletions_left[directory] = len(names) // NAMES_PER_DELETION
            return tuple(self._known)


class FileElement(StorageBackupDataElementInterface):
    """An element of a DefaultFileStorage. Used by one thread at a time."""

    def __init__(
        self, root: RootDirectory, element_id: ElementId, ownership: Ownership, suffixes: AttributeSuffixes
    ) -> None:
        self._root = root
        self._id = element_id
        self._stem = element_id.file_stem
        self._ownership = ownership
        self._suffixes = suffixes
        self._metainfo: BackupElementMetainfo | None = None
        self._lock_fd: int | None = None
        self._lock_owner = 0
        self._held_fd: int | None = None
        """The same open file as that of the lock, for the next who asks for its data."""

    def __del__(self) -> None:
        self.unlock()
        self._let_go()

    def get_element_id(self) -> ElementId:
        return self._id

    def get_source_url(self) -> SourceUrl:
        return self._id.source_url

    def get_metadata(self) -> BackupElementMetainfo:
        if self._metainfo is None:
            with self._directory() as directory_fd:
                size = self._check_present_in(directory_fd)[INFO].st_size
                self._metainfo = self._read_metadata(directory_fd, size)
        return self._metainfo

    def hold(self) -> None:
        """Lock it, read its metadata and open its data; see StorageInterface.hold_backup_data_element."""
        with self._directory() as directory_fd:
            descriptor = self._flock(directory_fd, fcntl.LOCK_EX)
            try:
                size = os.stat(self._name(INFO), dir_fd=directory_fd, follow_symlinks=False).st_size
                self._metainfo = self._read_metadata(directory_fd, size)
                os.set_blocking(descriptor, True)
                self._let_go()
                self._held_fd = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
            except BaseException:
                os.close(descriptor)
                raise
            self._lock_fd, self._lock_owner = descriptor, os.getpid()

    def get_data_size(self) -> int:
        with self._directory() as directory_fd:
            return self._check_present_in(directory_fd)[DATA].st_size

    def get_arrival_time(self) -> float:
        with self._directory() as directory_fd:
            return self._check_present_in(directory_fd)[INFO].st_ctime

    def get_data_stream(self) -> BinaryIO:
        if self._held_fd is not None:
            descriptor, self._held_fd = self._held_fd, None
            return os.fdopen(descriptor, "rb", buffering=0)
        with self._directory() as directory_fd:
            descriptor = osfile.open_file(directory_fd, self._name(DATA))
            try:
                # Who holds the lock may read and delete; nobody else deletes under a reader.
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._check_is_data(directory_fd, descriptor)
                os.set_blocking(descriptor, True)
            except BaseException:
                os.close(descriptor)
                raise
            # Not within: the stream closes it.
            return os.fdopen(descriptor, "rb", buffering=0)

    def set_extra_data(self, name: str, value: bytes | None) -> None:
        check_name(name)
        if value is not None and len(value) > MAX_ATTRIBUTE_SIZE:
            raise StorageError(f"attribute {name} of {len(value)} bytes, limit {MAX_ATTRIBUTE_SIZE}")
        with self._directory() as directory_fd, self._shared_lock(directory_fd):
            if value is None:
                if osfile.remove_file(directory_fd, self._name(name)):
                    os.fsync(directory_fd)
                return
            self._suffixes.add(name)
            self._replace_attribute(directory_fd, name, value)

    def get_extra_data(self, name: str) -> bytes | None:
        check_name(name)
        with self._directory() as directory_fd:
            self._check_present_in(directory_fd)
            if osfile.stat_file(directory_fd, self._name(name)) is None:
                return None
            return osfile.read_file(directory_fd, self._name(name), MAX_ATTRIBUTE_SIZE)

    def list_extra_data(self) -> list[str]:
        with self._directory() as directory_fd:
            self._check_present_in(directory_fd)
            prefix = f"{self._stem}."
            suffixes = [
                name.removeprefix(prefix)
                for name in osfile.list_names(directory_fd)
                if name.startswith(prefix)
            ]
        return [suffix for suffix in suffixes if _is_attribute_name(suffix)]

    def delete(self) -> None:
        self._root.check_in_place()
        with self._directory() as directory_fd:
            self.delete_from(directory_fd)
            os.fsync(directory_fd)

    def delete_from(self, directory_fd: int) -> None:
        """Delete it from its open folder, which the caller syncs; raises OSError, ElementLockedError."""
        if self._lock_fd is None:
            self._lock_in(directory_fd)
        try:
            suffixes = self._suffixes.for_deletion(self._id.source_url.directory, directory_fd)
            os.unlink(self._name(INFO), dir_fd=directory_fd)
            # With .data last, its name stays taken until nothing is left that the next one would inherit.
            for suffix in (*suffixes, DATA):
                osfile.remove_file(directory_fd, self._name(suffix))
        finally:
            self.unlock()

    def lock(self) -> None:
        if self._lock_fd is not None:
            raise ElementLockedError(f"element {self._id} is locked by this object already")
        with self._directory() as directory_fd:
            self._lock_in(directory_fd)

    def _lock_in(self, directory_fd: int) -> None:
        self._let_go()  # its own reading would keep it out
        self._check_present_in(directory_fd)
        self._lock_fd = self._flock(directory_fd, fcntl.LOCK_EX)
        self._lock_owner = os.getpid()

    def unlock(self) -> None:
        self._let_go()
        if self._lock_fd is None:
            return
        descriptor, self._lock_fd = self._lock_fd, None
        # Closing alone would leave it to a child that was forked meanwhile; the child itself only closes.
        if self._lock_owner == os.getpid():
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def is_locked(self) -> bool:
        if self._lock_fd is not None:
            return True
        with self._directory() as directory_fd:
            self._check_present_in(directory_fd)
            try:
                os.close(self._flock(directory_fd, fcntl.LOCK_EX))
            except ElementLockedError:
                return True
        return False

    def sync_in(self, directory_fd: int) -> None:
        """Sync its data, its metadata and its open folder; raises OSError."""
        for suffix in (DATA, INFO):
            descriptor = osfile.open_file(directory_fd, self._name(suffix))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(directory_fd)

    def check_present(self) -> None:
        """Raise ElementNotFoundError unless data and info are there."""
        with self._directory() as directory_fd:
            self._check_present_in(directory_fd)

    def _let_go(self) -> None:
        if self._held_fd is not None:
            descriptor, self._held_fd = self._held_fd, None
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _read_metadata(self, directory_fd: int, size: int) -> BackupElementMetainfo:
        if size > MAX_METAINFO_SIZE:
            raise MetainfoError(f"element {self._id}: metadata of {size} bytes, limit {MAX_METAINFO_SIZE}")
        data = osfile.read_file(directory_fd, self._name(INFO), MAX_METAINFO_SIZE)
        try:
            return BackupElementMetainfo.unserialize(data)
        except MetainfoError as error:
            raise MetainfoError(f"element {self._id}: {error}") from error

    def _name(self, suffix: str) -> str:
        return f"{self._stem}.{suffix}"

    @contextmanager
    def _directory(self) -> Iterator[int]:
        """The element's folder; what is missing inside the context is the element."""
        try:
            with storage_errors(f"element {self._id}"):
                directory_fd = osfile.open_directory_below(
                    self._root.descriptor, self._id.source_url.directory
                )
                try:
                    yield directory_fd
                finally:
                    os.close(directory_fd)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ElementNotFoundError(f"element {self._id} is not in the storage") from error
            raise

    def _check_present_in(self, directory_fd: int) -> dict[str, os.stat_result]:
        """What data and info are; raises FileNotFoundError unless both are there and files."""
        found = {}
        for suffix in (DATA, INFO):
            status = os.stat(self._name(suffix), dir_fd=directory_fd, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, f"{self._name(suffix)} is not a file")
            found[suffix] = status
        return found

    def _check_is_data(self, directory_fd: int, descriptor: int) -> None:
        """Whether the element is there, and `descriptor` its data; raises FileNotFoundError."""
        now = self._check_present_in(directory_fd)[DATA]
        # Deleted, or even replaced, since it was opened: then this is not its data any more.
        if not os.path.samestat(now, os.fstat(descriptor)):
            raise FileNotFoundError(errno.ENOENT, f"{self._name(DATA)} was replaced")

    def _flock(self, directory_fd: int, kind: int) -> int:
        """A descriptor of `.data` that holds the lock; raises ElementLockedError, FileNotFoundError."""
        descriptor = osfile.open_file(directory_fd, self._name(DATA))
        try:
            if not _try_flock(descriptor, kind):
                raise ElementLockedError(f"element {self._id} is locked")
            if osfile.stat_file(directory_fd, self._name(LOCK)) is not None:
                raise ElementLockedError(f"element {self._id} is locked by the file {self._name(LOCK)}")
            self._check_is_data(directory_fd, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @contextmanager
    def _shared_lock(self, directory_fd: int) -> Iterator[None]:
        """Nobody else deletes the element inside this context."""
        if self._lock_fd is not None:
            self._check_present_in(directory_fd)
            yield
            return
        descriptor = self._flock(directory_fd, fcntl.LOCK_SH)
        try:
            yield
        finally:
            os.close(descriptor)

    def _replace_attribute(self, directory_fd: int, name: str, value: bytes) -> None:
        """The old value or the new one is there, whatever happens. Raises OSError."""
        # Short, for an element's name may be as long as names can be; no file of an element is called so.
        temporary = f"{self._id.digits}-{os.getpid()}-{secrets.token_hex(8)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, self._ownership.file_mode, dir_fd=directory_fd)
        try:
            try:
                osfile.apply_ownership(descriptor, self._ownership.file_mode, self._ownership)
                osfile.write_all(descriptor, value)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._name(name), src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        except BaseException:
            with contextlib.suppress(OSError):
                osfile.remove_file(directory_fd, temporary)
            raise
        os.fsync(directory_fd)


def _try_flock(descriptor: int, kind: int) -> bool:
    """Take the lock; a few attempts, for somebody's `is_locked` holds it for a moment too."""
    for attempts_left in reversed(range(LOCK_ATTEMPTS)):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempts_left > 0:
                time.sleep(LOCK_PAUSE)
        else:
            return True
    return False


def _is_attribute_name(text: str) -> bool:
    try:
        check_name(text)
    except ElementIdError:
        return False
    return True
