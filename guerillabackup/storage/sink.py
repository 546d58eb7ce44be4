"""Writes new elements below a storage's directory in the order that makes them durable. Touches: os, fcntl.

The order is the law of this file, and doc/Storage.txt says what a crash after each step leaves:

1. data goes into a file without a name, and is synced;
2. the source's folder is made where it is missing, metadata goes into a file without a name, and is synced;
3. `.data` is linked under the first free name;
4. `.info` is linked: that link is the moment the element exists;
5. the folder is synced; only then does anybody hear of the element.
"""

import contextlib
import enum
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from guerillabackup import osfile
from guerillabackup.element import MAX_METAINFO_SIZE, BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementExistsError, StorageError
from guerillabackup.osfile import Ownership, storage_errors
from guerillabackup.storage.folder import MAX_TRIES, Folder, RootDirectory, SourceFolders
from guerillabackup.storage.interface import SinkHandleInterface, StorageBackupDataElementInterface
from guerillabackup.storage.naming import DATA, INFO, LOCK, file_name
from guerillabackup.storage.new_file import FreeNames, NewFile

_Made = TypeVar("_Made")
ElementOpener = Callable[[ElementId], StorageBackupDataElementInterface]


class _State(enum.Enum):
    WRITING = "open"
    PREPARED = "prepared"
    IN_BATCH = "closed, its batch is not committed"
    ENDED = "closed"


class SinkContext(NamedTuple):
    """What the handles of one storage share."""

    root: RootDirectory
    ownership: Ownership
    folders: SourceFolders
    names: FreeNames
    attribute_suffixes: Callable[[], Sequence[str]]
    open_element: ElementOpener
    unnamed_files: bool = True

    def new_file(self, directory_fd: int) -> NewFile:
        """A file without a name. Raises OSError."""
        return NewFile(self.root, directory_fd, self.ownership, unnamed=self.unnamed_files)


class HandleGroup(Protocol):
    """A batch, as its handles know it."""

    def add(self, handle: "FileSinkHandle") -> None: ...


class FileSinkHandle(SinkHandleInterface):
    """Writes one element; see the order on top. `folder`, or the nearest to it, is released with the handle.

    An operation that fails ends the handle, and leaves nothing that was not there before.
    """

    def __init__(
        self, context: SinkContext, source_url: SourceUrl, folder: Folder, batch: HandleGroup | None = None
    ) -> None:
        self.source_url = source_url
        self.folder = folder
        self.metainfo: BackupElementMetainfo | None = None
        self._context = context
        self._batch = batch
        self._state = _State.WRITING
        self._element_id: ElementId | None = None
        self._is_published = False
        self._info: NewFile | None = None
        try:
            self._data = self._in_folder(context.new_file)
        except BaseException:
            self.folder.release()
            raise

    def get_sink_stream(self) -> int:
        self._check_state(_State.WRITING)
        return self._data.descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        descriptor = self.get_sink_stream()
        with storage_errors(f"cannot write an element of {self.source_url}"), self._ending_on_error():
            osfile.write_all(descriptor, data)

    def prepare(self, metainfo: BackupElementMetainfo) -> ElementId:
        if self._batch is not None:
            raise StorageError("a sink handle of a batch is not prepared by itself")
        self._check_state(_State.WRITING)
        with storage_errors(f"cannot store an element of {self.source_url}"), self._ending_on_error():
            # Until it is closed, nobody takes the named data for a leftover.
            fcntl.flock(self._data.descriptor, fcntl.LOCK_SH)
            self.write_info(metainfo)
            self.sync_files()
            self.check_in_place()
            element_id = self.link_data()
            os.fsync(self.folder.descriptor)
        self._state = _State.PREPARED
        return element_id

    def close(
        self, metainfo: BackupElementMetainfo | None = None
    ) -> StorageBackupDataElementInterface | None:
        self._check_state(_State.WRITING, _State.PREPARED)
        with storage_errors(f"cannot store an element of {self.source_url}"):
            if self._state is _State.PREPARED:
                with self._ending_on_error():
                    self._publish_prepared()
            else:
                if metainfo is None:
                    raise StorageError(f"the sink handle of {self.source_url} is closed without metadata")
                with self._ending_on_error():
                    self.write_info(metainfo)
                    if self._batch is None:
                        self.sync_files()
                        self.check_in_place()
                        self.link_data()
                        self.link_info()
                        os.fsync(self.folder.descriptor)
            if self._batch is not None:
                self._state = _State.IN_BATCH
                self._batch.add(self)
                return None
        return self.finish()

    def get_element_id(self) -> ElementId:
        if self._element_id is None:
            raise StorageError(f"an element of {self.source_url} has no id before it is prepared or closed")
        return self._element_id

    def abort(self) -> None:
        if self._state in (_State.WRITING, _State.PREPARED):
            self.forget()

    # The steps, one by one, for `close` here and for the batch.

    def write_info(self, metainfo: BackupElementMetainfo) -> None:
        """The metadata, unnamed and not yet synced; the folder is there from here on. Raises OSError."""
        if not self.folder.is_ready:
            self._enter_folder()
        self._info = self._in_folder(self._context.new_file)
        osfile.write_all(self._info.descriptor, metainfo.serialize())
        self.metainfo = metainfo

    def sync_files(self) -> None:
        """Data and metadata on stable storage. Raises OSError."""
        assert self._info is not None
        files = (self._data.descriptor, self._info.descriptor)
        for descriptor in files:
            # Both are on their way when the first is synced: a journal is committed for both at once.
            osfile.start_writeback(descriptor, 0, 0)
        for descriptor in files:
            os.fsync(descriptor)

    def check_in_place(self) -> None:
        """Raise StorageReplacedError where the storage's path leads elsewhere by now; a batch asks once."""
        self._context.root.check_in_place()

    def link_data(self) -> ElementId:
        """The name is taken from here on. Raises OSError."""
        metainfo = self.metainfo
        assert metainfo is not None
        others = (INFO, LOCK, *self._context.attribute_suffixes())
        link = self._context.names.link
        self._element_id = self._in_folder(
            lambda folder_fd: link(self._data, folder_fd, self.source_url, metainfo, others)
        )
        return self._element_id

    def link_info(self) -> None:
        """The element exists from here on. Raises OSError."""
        assert self._info is not None
        self._info.link(self.folder.descriptor, file_name(self.get_element_id(), INFO))
        self._is_published = True

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """A step of `close` that somebody else takes: what fails in here ends the handle as it does there."""
        with storage_errors(f"cannot store an element of {self.source_url}"), self._ending_on_error():
            self._check_state(_State.WRITING)
            yield

    def finish(self) -> StorageBackupDataElementInterface:
        """Let go of everything and hand the element out."""
        self._release()
        return self._context.open_element(self.get_element_id())

    def forget(self) -> None:
        """Let go of everything, and take back what was named but is not an element. Never raises."""
        if self._state is _State.ENDED:
            return
        if self._element_id is not None and not self._is_published:
            self._take_back(self._element_id)
        self._release()

    def _in_folder(self, step: Callable[[int], _Made]) -> _Made:
        """Take a step in the folder, which is made again where it was removed, as an empty one may be.

        Data is not lost for that. Raises OSError.
        """
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                return step(self.folder.descriptor)
            except (FileNotFoundError, PermissionError):
                # Which of the two a removed folder gives, the file system says.
                if tries_left == 0 or not self.folder.is_removed():
                    raise
                self._enter_folder()
        raise AssertionError("the last try returns or raises")

    def _enter_folder(self) -> None:
        """Have the source's folder, made if need be. Raises OSError."""
        folder = self._context.folders.open(self.source_url.directory)
        self.folder.release()
        self.folder = folder

    def _publish_prepared(self) -> None:
        element_id = self.get_element_id()
        if not self._data.has_name(self.folder.descriptor, file_name(element_id, DATA)):
            raise StorageError(f"the prepared data of {element_id} was removed")
        try:
            self.link_info()
        except FileExistsError as error:
            # Somebody completed it meanwhile; with the same metadata it is what was to be stored here.
            assert self.metainfo is not None
            there = osfile.read_file(self.folder.descriptor, file_name(element_id, INFO), MAX_METAINFO_SIZE)
            if there != self.metainfo.serialize():
                raise ElementExistsError(f"{element_id} was completed with other metadata") from error
        os.fsync(self.folder.descriptor)

    def _ending_on_error(self) -> "_EndingOnError":
        """What fails in here ends the handle: nothing of the element stays, but what was acknowledged."""
        return _EndingOnError(self)

    def end_failed(self) -> None:
        """A step failed: nothing of the element stays."""
        if self._is_published:
            self._withdraw()
        self.forget()

    def _check_state(self, *allowed: _State) -> None:
        if self._state not in allowed:
            raise StorageError(f"the sink handle of {self.source_url} is {self._state.value}")

    def _withdraw(self) -> None:
        """The element is visible, but its folder could not be synced: it was promised to nobody."""
        with contextlib.suppress(OSError):
            osfile.remove_file(self.folder.descriptor, file_name(self.get_element_id(), INFO))
            self._is_published = False

    def _take_back(self, element_id: ElementId) -> None:
        """Remove exactly the name that was given; what cannot be is a leftover, and blocks nothing."""
        directory_fd = self.folder.descriptor
        with contextlib.suppress(OSError):
            # Who completes what was prepared holds this lock.
            fcntl.flock(self._data.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if osfile.stat_file(directory_fd, file_name(element_id, INFO)) is not None:
                return  # an element by now, and not ours to take
            if self._data.has_name(directory_fd, file_name(element_id, DATA)):
                osfile.remove_file(directory_fd, file_name(element_id, DATA))
            self._element_id = None

    def _release(self) -> None:
        if self._state is _State.PREPARED:
            with contextlib.suppress(OSError):
                # Not by closing alone: what a child process inherited would keep it.
                fcntl.flock(self._data.descriptor, fcntl.LOCK_UN)
        self._state = _State.ENDED
        self._data.close()
        if self._info is not None:
            self._info.close()
        with contextlib.suppress(OSError):
            self.folder.release()


class _EndingOnError:
    """See FileSinkHandle._ending_on_error; a generator would take thrice as long."""

    __slots__ = ("_handle",)

    def __init__(self, handle: FileSinkHandle) -> None:
        self._handle = handle

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._handle.end_failed()
