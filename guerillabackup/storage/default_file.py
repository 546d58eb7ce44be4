"""Elements as files below one directory, as GuerillaBackup 0.5.0 lays them out. Touches: os, time.

doc/Storage.txt has the table of all file states. Nothing is remembered between calls but names that save
work: what is on disk is the truth, and other processes change it at any time.
"""

import contextlib
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, IntegrityError, MetainfoError
from guerillabackup.osfile import PRIVATE, Ownership, storage_errors
from guerillabackup.storage.file_element import AttributeSuffixes, FileElement
from guerillabackup.storage.interface import (
    BatchInterface,
    ElementFilter,
    Leftover,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.storage.naming import (
    DATA,
    INFO,
    check_storable,
    file_name,
    is_source_directory,
    parse_file_name,
    relative_path,
)
from guerillabackup.storage.sink import (
    FileBatch,
    FileSinkHandle,
    FreeNames,
    NewFile,
    SinkContext,
    SyncChooser,
)

HASH_BLOCK = 1 << 20


class DefaultFileStorage(StorageInterface):
    """The storage below `base_directory`, which must exist; `close` lets go of it."""

    def __init__(self, base_directory: str, ownership: Ownership = PRIVATE) -> None:
        self.base_directory = base_directory
        self._ownership = ownership
        self._root_fd = osfile.open_directory(base_directory)
        self._suffixes = AttributeSuffixes()
        self._chooser = SyncChooser()
        self._context = SinkContext(
            self._root_fd, ownership, FreeNames(), self._suffixes.known, self._open_element
        )
        self._close_lock = threading.Lock()  # guards _root_fd being closed once

    def close(self) -> None:
        """Release the directory; elements and handles of this storage are not used after it."""
        with self._close_lock:
            if self._root_fd >= 0:
                os.close(self._root_fd)
                self._root_fd = -1

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        return FileSinkHandle(self._context, source_url)

    @contextmanager
    def open_batch(self) -> Iterator[BatchInterface]:
        batch = FileBatch(self._context, self._chooser)
        try:
            yield batch
            batch.commit()
        finally:
            batch.drop()

    def get_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        element = self._open_element(element_id)
        element.check_present()
        return element

    def get_backup_data_element_for_metadata(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        for element in self.query_backup_data_elements(source_url=source_url):
            with contextlib.suppress(ElementNotFoundError, MetainfoError):
                if element.get_metadata().is_same_element(metainfo):
                    return element
        return None

    def query_backup_data_elements(
        self, query: ElementFilter | None = None, source_url: SourceUrl | None = None
    ) -> Iterator[StorageBackupDataElementInterface]:
        for element_id in self._walk_ids(source_url):
            element = self._open_element(element_id)
            try:
                if query is None or query(element):
                    yield element
            except ElementNotFoundError:
                continue

    def complete(
        self, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        check_storable(element_id.source_url)
        with storage_errors(f"cannot complete {element_id}"):
            try:
                directory_fd = osfile.open_directory_below(self._root_fd, element_id.source_url.directory)
            except FileNotFoundError:
                return None
            try:
                if not self._complete_in(directory_fd, element_id, metainfo):
                    return None
            finally:
                os.close(directory_fd)
        return self._open_element(element_id)

    def find_leftovers(self) -> Iterator[Leftover]:
        now = time.time()
        for directory, directory_fd, entries in self._walk():
            names = {name for name, _ in entries}
            for name, is_directory in entries:
                what = _leftover_kind(directory, name, is_directory, names)
                if what:
                    with contextlib.suppress(FileNotFoundError):
                        changed = os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_ctime
                        yield Leftover(relative_path(directory, name), what, now - changed)

    def _open_element(self, element_id: ElementId) -> FileElement:
        return FileElement(self._root_fd, element_id, self._ownership, self._suffixes)

    def _complete_in(self, directory_fd: int, element_id: ElementId, metainfo: BackupElementMetainfo) -> bool:
        """Link the missing `.info`; whether the element is there in the end. Raises OSError."""
        try:
            data_fd = osfile.open_file(directory_fd, file_name(element_id, DATA))
        except FileNotFoundError:
            return False
        try:
            # Whoever deletes leftovers takes this lock too.
            fcntl.flock(data_fd, fcntl.LOCK_SH)
            info_name = file_name(element_id, INFO)
            with contextlib.suppress(FileNotFoundError):
                os.stat(info_name, dir_fd=directory_fd, follow_symlinks=False)
                return True
            if metainfo.checksum is not None and _digest(data_fd) != metainfo.checksum:
                raise IntegrityError(f"data of {element_id} is not what its checksum says")
            info = NewFile(self._root_fd, directory_fd, self._ownership)
            try:
                osfile.write_all(info.descriptor, metainfo.serialize())
                os.fsync(data_fd)
                os.fsync(info.descriptor)
                with contextlib.suppress(FileExistsError):
                    info.link(directory_fd, info_name)
                os.fsync(directory_fd)
            finally:
                info.close()
            return True
        finally:
            os.close(data_fd)

    def _walk_ids(self, source_url: SourceUrl | None) -> Iterator[ElementId]:
        """Ids of what has data and info, folder by folder, sorted by file name in each."""
        start = () if source_url is None else source_url.directory
        for directory, _, entries in self._walk(start, deeper=source_url is None):
            names = {name for name, is_directory in entries if not is_directory}
            for name, is_directory in entries:
                file = None if is_directory else parse_file_name(directory, name)
                if file is None or file.suffix != INFO or file_name(file.element_id, DATA) not in names:
                    continue
                if source_url is None or file.element_id.source_url == source_url:
                    yield file.element_id

    def _walk(
        self, start: tuple[str, ...] = (), *, deeper: bool = True
    ) -> Iterator[tuple[tuple[str, ...], int, list[tuple[str, bool]]]]:
        """Each folder that can hold elements: components, a descriptor, sorted names with is-directory.

        One folder's names are in memory at a time, besides the subfolder names on the way to it. The
        descriptor is valid until the next step.
        """
        folders = [start]
        while folders:
            directory = folders.pop()
            try:
                directory_fd = osfile.open_directory_below(self._root_fd, directory)
            except OSError:
                continue  # went away, or is not a directory any more
            try:
                with storage_errors(f"cannot list {'/'.join(directory) or self.base_directory}"):
                    entries = _list(directory_fd)
                yield directory, directory_fd, entries
                if deeper:
                    below = [name for name, is_directory in entries if is_directory]
                    folders.extend(
                        (*directory, name) for name in reversed(below) if is_source_directory(directory, name)
                    )
            finally:
                os.close(directory_fd)


def _list(directory_fd: int) -> list[tuple[str, bool]]:
    # A descriptor of its own: scandir moves its offset, which other threads share.
    own = os.open(".", osfile.DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        with os.scandir(own) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    finally:
        os.close(own)


def _leftover_kind(directory: tuple[str, ...], name: str, is_directory: bool, names: set[str]) -> str | None:
    """What a name that belongs to no complete element is; None for what belongs to one."""
    if is_directory:
        return None if is_source_directory(directory, name) else "not a folder of a source"
    file = parse_file_name(directory, name)
    if file is None:
        return "not a file of an element"
    has_data = file_name(file.element_id, DATA) in names
    has_info = file_name(file.element_id, INFO) in names
    if has_data and has_info:
        return None
    if file.suffix == DATA:
        return "data without info"
    if file.suffix == INFO:
        return "info without data"
    return f"{file.suffix} of no element"


def _digest(descriptor: int) -> bytes:
    digest = hashlib.sha512()
    offset = 0
    while block := os.pread(descriptor, HASH_BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.digest()
