"""Stores elements in groups: all bytes, one sync of the file system, then all links, then the folders.

Touches: os, resource, time.
"""

import os
import resource
import time
from collections.abc import Callable, Sequence

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import GuerillaBackupError, StorageError
from guerillabackup.osfile import storage_errors
from guerillabackup.storage.folder import Folder
from guerillabackup.storage.interface import (
    BatchInterface,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
)
from guerillabackup.storage.naming import check_storable
from guerillabackup.storage.sink import FileSinkHandle, SinkContext

MAX_BATCH = 256
"""Elements a batch keeps open at most."""
DESCRIPTORS_PER_ELEMENT = 2
SLOW_SYNC_PER_ELEMENT = 0.02
"""Seconds of a file-system sync per element above which an fsync for each is taken to be quicker."""
FSYNC_BATCHES = 16
"""Batches with an fsync each before the file-system sync is tried again."""


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
    """Elements made durable together. It and its handles are used by one thread at a time."""

    def __init__(self, context: SinkContext, chooser: SyncChooser) -> None:
        self._context = context
        self._chooser = chooser
        self._limit = _batch_limit()
        self._is_ended = False
        self._folders: dict[tuple[str, ...], Folder] = {}
        self._handles: list[FileSinkHandle] = []
        self._committed: list[StorageBackupDataElementInterface] = []

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        check_storable(source_url)
        self._check_running()
        with storage_errors(f"cannot begin an element of {source_url}"):
            return FileSinkHandle(self._context, source_url, self._folder(source_url.directory), self)

    def add(self, handle: FileSinkHandle) -> None:
        """A handle that was closed; commits when there are as many as descriptors allow."""
        self._handles.append(handle)
        self._check_running()
        if len(self._handles) >= self._limit:
            self._commit()

    def commit(self) -> list[StorageBackupDataElementInterface]:
        with storage_errors("cannot store a batch of elements"):
            self._commit()
        committed, self._committed = self._committed, []
        return committed

    def end(self) -> None:
        """Forget what is not committed, and take no more."""
        self._is_ended = True
        self._drop()

    def _check_running(self) -> None:
        if self._is_ended:
            self._drop()
            raise StorageError("the batch has ended: its elements can no longer be stored")

    def _folder(self, directory: tuple[str, ...]) -> Folder:
        """The folder for one more handle: opened once for all elements of it. Raises OSError."""
        folder = self._folders.get(directory)
        if folder is None:
            self._folders[directory] = folder = self._context.folders.open(directory)
        return folder.share()

    def _drop(self) -> None:
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.forget()
        self._release_folders()

    def _release_folders(self) -> None:
        folders, self._folders = self._folders, {}
        for folder in folders.values():
            folder.release()

    def _commit(self) -> None:
        try:
            if self._handles:
                self._sync()
                self._context.root.check_in_place()
                for handle in self._handles:
                    handle.link_data()
                    handle.link_info()
                for folder in {handle.folder for handle in self._handles}:
                    os.fsync(folder.descriptor)
        except BaseException:
            self._drop()
            raise
        handles, self._handles = self._handles, []
        self._committed.extend([handle.finish() for handle in handles])
        self._release_folders()

    def _sync(self) -> None:
        if not self._chooser.use_file_system_sync():
            for handle in self._handles:
                handle.sync_files()
            return
        _sync_file_systems(self._handles, self._chooser)


Closed = StorageBackupDataElementInterface | GuerillaBackupError


def close_together(
    closing: Sequence[tuple[FileSinkHandle, BackupElementMetainfo]], chooser: SyncChooser
) -> list[Closed]:
    """What StorageInterface.close_together says: the order of a batch, with handles that know of none."""
    errors: dict[FileSinkHandle, GuerillaBackupError] = {}

    def each(step: Callable[[FileSinkHandle, BackupElementMetainfo], object]) -> None:
        for handle, metainfo in closing:
            if handle not in errors:
                try:
                    with handle.storing():
                        step(handle, metainfo)
                except StorageError as error:
                    errors[handle] = error

    each(lambda handle, metainfo: handle.write_info(metainfo))
    left = [handle for handle, _ in closing if handle not in errors]
    if not (len(left) > 1 and _try_file_system_sync(left, chooser)):
        each(lambda handle, metainfo: handle.sync_files())
    each(lambda handle, metainfo: handle.check_in_place())
    each(lambda handle, metainfo: handle.link_data())
    each(lambda handle, metainfo: handle.link_info())
    synced: set[tuple[int, int]] = set()

    def sync_folder(handle: FileSinkHandle, metainfo: BackupElementMetainfo) -> None:
        status = os.fstat(handle.folder.descriptor)
        if (status.st_dev, status.st_ino) not in synced:
            os.fsync(handle.folder.descriptor)
            synced.add((status.st_dev, status.st_ino))

    each(sync_folder)
    return [errors[handle] if handle in errors else handle.finish() for handle, _ in closing]


def _try_file_system_sync(handles: Sequence[FileSinkHandle], chooser: SyncChooser) -> bool:
    """One sync for the bytes of all; False where each has to be synced by itself, which says what fails."""
    if not chooser.use_file_system_sync():
        return False
    try:
        _sync_file_systems(handles, chooser)
    except OSError:
        return False
    return True


def _sync_file_systems(handles: Sequence[FileSinkHandle], chooser: SyncChooser) -> None:
    """Sync what the handles write to; a folder may be a mount point of its own. Raises OSError."""
    folders = {handle.folder for handle in handles}
    descriptors = {os.fstat(folder.descriptor).st_dev: folder.descriptor for folder in folders}
    began = time.monotonic()
    for descriptor in descriptors.values():
        osfile.sync_file_system(descriptor)
    chooser.took(time.monotonic() - began, len(handles))


def _batch_limit() -> int:
    """As many elements as take half of the descriptors this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MAX_BATCH
    return max(1, min(MAX_BATCH, limit // 2 // DESCRIPTORS_PER_ELEMENT))
