"""Writes new elements below a storage's directory in the order that makes them durable. Touches: os, time.

The order is the law of this file, and doc/Storage.txt says what a crash after each step leaves:

1. data goes into a file without a name, and is synced;
2. metadata goes into a file without a name, and is synced;
3. `.data` is linked under the first free name;
4. `.info` is linked: that link is the moment the element exists;
5. the folder is synced; only then does anybody hear of the element.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerillabackup import osfile
from guerillabackup.element import MAX_SERIAL, BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.osfile import Ownership, storage_errors
from guerillabackup.storage.interface import (
    BatchInterface,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
)
from guerillabackup.storage.naming import (
    DATA,
    INFO,
    LOCK,
    PARTIAL_DIRECTORY,
    check_storable,
    file_name,
)

MAX_BATCH = 256
"""Elements a batch keeps open: two descriptors each, of the usual limit of 1024."""
SLOW_SYNC_PER_ELEMENT = 0.02
"""Seconds of a file-system sync per element above which an fsync for each is taken to be quicker."""
FSYNC_BATCHES = 16
"""Batches with an fsync each before the file-system sync is tried again."""

ElementOpener = Callable[[ElementId], StorageBackupDataElementInterface]


class NewFile:
    """A file that has its bytes but not yet its name; falls back to a name in `.partial/`."""

    def __init__(self, root_fd: int, directory_fd: int, ownership: Ownership) -> None:
        self._root_fd = root_fd
        self._partial_fd: int | None = None
        self._partial_name = ""
        unnamed = osfile.open_unnamed(directory_fd, ownership.file_mode)
        if unnamed is None:
            self._partial_fd = osfile.make_directory_below(root_fd, (PARTIAL_DIRECTORY,), ownership)
            self._partial_name = f"new-{os.getpid()}-{secrets.token_hex(8)}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                unnamed = os.open(self._partial_name, flags, ownership.file_mode, dir_fd=self._partial_fd)
            except BaseException:
                os.close(self._partial_fd)
                raise
        self.descriptor: int = unnamed
        try:
            osfile.apply_ownership(unnamed, ownership.file_mode, ownership)
        except BaseException:
            self.close()
            raise

    def link(self, directory_fd: int, name: str) -> None:
        """Give it a name; FileExistsError when that is taken."""
        if self._partial_fd is None:
            osfile.link_unnamed(self.descriptor, directory_fd, name)
        else:
            os.link(
                self._partial_name,
                name,
                src_dir_fd=self._partial_fd,
                dst_dir_fd=directory_fd,
                follow_symlinks=False,
            )

    def close(self) -> None:
        """Let go of it: without a name by now, it is gone. May be called twice."""
        if self._partial_fd is not None:
            with contextlib.suppress(OSError):
                osfile.remove_file(self._partial_fd, self._partial_name)
                os.rmdir(PARTIAL_DIRECTORY, dir_fd=self._root_fd)
            os.close(self._partial_fd)
            self._partial_fd = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class FreeNames:
    """Finds free names for elements of one second without trying all taken ones each time."""

    def __init__(self) -> None:
        self._last: dict[tuple[SourceUrl, str, str], int] = {}

    def link(
        self,
        data: NewFile,
        directory_fd: int,
        source_url: SourceUrl,
        metainfo: BackupElementMetainfo,
        other_suffixes: Sequence[str],
    ) -> ElementId:
        """Link `.data` under the first name of which no file exists; FileExistsError never leaves here."""
        first = ElementId.label(source_url, metainfo.timestamp, metainfo.backup_type)
        key = (source_url, first.digits, first.backup_type.value)
        serial = self._last.get(key)
        if serial is None:
            if _link_if_free(data, directory_fd, first, other_suffixes):
                return first
            serial = -1
        for number in range(serial + 1, MAX_SERIAL):
            candidate = ElementId(source_url, first.digits, number, first.backup_type)
            if _link_if_free(data, directory_fd, candidate, other_suffixes):
                if len(self._last) >= 1024:
                    self._last.clear()
                self._last[key] = number
                return candidate
        raise StorageError(f"no free name for an element of {source_url} at {first.digits}")


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What the handles of one storage share."""

    root_fd: int
    ownership: Ownership
    names: FreeNames
    attribute_suffixes: Callable[[], Sequence[str]]
    open_element: ElementOpener


class FileSinkHandle(SinkHandleInterface):
    """Writes one element; see the order on top."""

    def __init__(self, context: SinkContext, source_url: SourceUrl, batch: "FileBatch | None" = None) -> None:
        check_storable(source_url)
        self._context = context
        self._batch = batch
        self.source_url = source_url
        self._element_id: ElementId | None = None
        self._is_published = False
        self.metainfo: BackupElementMetainfo | None = None
        self._info: NewFile | None = None
        with storage_errors(f"cannot begin an element of {source_url}"):
            self.directory_fd = osfile.make_directory_below(
                context.root_fd, source_url.directory, context.ownership
            )
            try:
                self._data: NewFile | None = NewFile(context.root_fd, self.directory_fd, context.ownership)
            except BaseException:
                os.close(self.directory_fd)
                raise

    def get_sink_stream(self) -> int:
        if self._data is None or self.metainfo is not None:
            raise StorageError(f"the sink handle of {self.source_url} is closed")
        return self._data.descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with storage_errors(f"cannot write an element of {self.source_url}"):
            osfile.write_all(self.get_sink_stream(), data)

    def prepare(self, metainfo: BackupElementMetainfo) -> ElementId:
        if self._batch is not None:
            raise StorageError("a sink handle of a batch is not prepared by itself")
        with storage_errors(f"cannot store an element of {self.source_url}"):
            self.write_info(metainfo)
            self.sync_files()
            element_id = self.link_data()
            os.fsync(self.directory_fd)
        return element_id

    def close(
        self, metainfo: BackupElementMetainfo | None = None
    ) -> StorageBackupDataElementInterface | None:
        with storage_errors(f"cannot store an element of {self.source_url}"):
            if self._batch is not None:
                self.write_info(_given(metainfo, self.source_url))
                self._batch.add(self)
                return None
            if self._element_id is None:
                self.write_info(_given(metainfo, self.source_url))
                self.sync_files()
                self.link_data()
            try:
                self.link_info()
                os.fsync(self.directory_fd)
            except BaseException:
                self._take_back()
                raise
        return self.finish()

    def get_element_id(self) -> ElementId:
        if self._element_id is None:
            raise StorageError(f"an element of {self.source_url} has no id before it is prepared or closed")
        return self._element_id

    def abort(self) -> None:
        is_the_batchs = self._batch is not None and self.metainfo is not None
        if not is_the_batchs:
            self.drop()

    # The steps, one by one, for `close` here and for the batch.

    def drop(self) -> None:
        """Forget everything that is not published; never raises."""
        if self._data is None:
            return
        if self._element_id is not None and not self._is_published:
            self._take_back()
        self._release()

    def write_info(self, metainfo: BackupElementMetainfo) -> None:
        """The metadata, unnamed and not yet synced. Raises OSError."""
        self.get_sink_stream()
        info = NewFile(self._context.root_fd, self.directory_fd, self._context.ownership)
        try:
            osfile.write_all(info.descriptor, metainfo.serialize())
        except BaseException:
            info.close()
            raise
        self._info = info
        self.metainfo = metainfo

    def sync_files(self) -> None:
        """Data and metadata on stable storage. Raises OSError."""
        assert self._data is not None
        assert self._info is not None
        os.fsync(self._data.descriptor)
        os.fsync(self._info.descriptor)

    def link_data(self) -> ElementId:
        """The name is taken from here on. Raises OSError."""
        assert self._data is not None
        assert self.metainfo is not None
        self._element_id = self._context.names.link(
            self._data,
            self.directory_fd,
            self.source_url,
            self.metainfo,
            (INFO, LOCK, *self._context.attribute_suffixes()),
        )
        return self._element_id

    def link_info(self) -> None:
        """The element exists from here on. Raises OSError."""
        assert self._info is not None
        assert self._element_id is not None
        self._info.link(self.directory_fd, file_name(self._element_id, INFO))
        self._is_published = True

    def finish(self) -> StorageBackupDataElementInterface:
        """Let go of everything and hand the element out."""
        assert self._element_id is not None
        self._release()
        return self._context.open_element(self._element_id)

    def _take_back(self) -> None:
        """Remove exactly the names that were given; what cannot be is a leftover, and blocks nothing."""
        assert self._element_id is not None
        with contextlib.suppress(OSError):
            if self._is_published:
                osfile.remove_file(self.directory_fd, file_name(self._element_id, INFO))
            elif _exists(self.directory_fd, file_name(self._element_id, INFO)):
                return  # somebody completed what was prepared here: an element, and not ours to take
            self._is_published = False
            osfile.remove_file(self.directory_fd, file_name(self._element_id, DATA))
            self._element_id = None

    def _release(self) -> None:
        for file in (self._data, self._info):
            if file is not None:
                file.close()
        self._data = self._info = None
        os.close(self.directory_fd)


class SyncChooser:
    """Decides how a batch is synced: by one sync of the file system, unless strangers make that slow."""

    def __init__(self) -> None:
        self._batches_left = 0

    def use_file_system_sync(self) -> bool:
        """Whether the next batch takes the file-system sync."""
        if self._batches_left > 0:
            self._batches_left -= 1
            return False
        return True

    def took(self, seconds: float, elements: int) -> None:
        """Note how long a file-system sync was."""
        if seconds > max(1, elements) * SLOW_SYNC_PER_ELEMENT:
            self._batches_left = FSYNC_BATCHES


class FileBatch(BatchInterface):
    """Elements made durable together: all bytes, one sync, then all links, then the folders."""

    def __init__(self, context: SinkContext, chooser: SyncChooser) -> None:
        self._context = context
        self._chooser = chooser
        self._handles: list[FileSinkHandle] = []
        self._committed: list[StorageBackupDataElementInterface] = []

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        return FileSinkHandle(self._context, source_url, self)

    def add(self, handle: FileSinkHandle) -> None:
        """A handle that was closed; commits when there are as many as descriptors allow."""
        self._handles.append(handle)
        if len(self._handles) >= MAX_BATCH:
            self._commit()

    def commit(self) -> list[StorageBackupDataElementInterface]:
        with storage_errors("cannot store a batch of elements"):
            self._commit()
        committed, self._committed = self._committed, []
        return committed

    def drop(self) -> None:
        """Forget what is not committed."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.drop()

    def _commit(self) -> None:
        if not self._handles:
            return
        try:
            self._sync()
            folders: dict[tuple[str, ...], int] = {}
            for handle in self._handles:
                handle.link_data()
                handle.link_info()
                folders.setdefault(handle.source_url.directory, handle.directory_fd)
            for descriptor in folders.values():
                os.fsync(descriptor)
        except BaseException:
            self.drop()
            raise
        handles, self._handles = self._handles, []
        self._committed.extend(handle.finish() for handle in handles)

    def _sync(self) -> None:
        if self._chooser.use_file_system_sync():
            began = time.monotonic()
            osfile.sync_file_system(self._context.root_fd)
            self._chooser.took(time.monotonic() - began, len(self._handles))
        else:
            for handle in self._handles:
                handle.sync_files()


def _link_if_free(
    data: NewFile, directory_fd: int, element_id: ElementId, other_suffixes: Sequence[str]
) -> bool:
    """Link `.data`, unless it or another file of that element's name exists."""
    if any(_exists(directory_fd, file_name(element_id, suffix)) for suffix in other_suffixes):
        return False
    try:
        data.link(directory_fd, file_name(element_id, DATA))
    except FileExistsError:
        return False
    return True


def _exists(directory_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _given(metainfo: BackupElementMetainfo | None, source_url: SourceUrl) -> BackupElementMetainfo:
    if metainfo is None:
        raise StorageError(f"the sink handle of {source_url} is closed without metadata")
    return metainfo
