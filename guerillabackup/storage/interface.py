"""What every storage of elements can do: the contract stands here, once. No I/O.

A storage keeps elements whole: an element is there with its data and metadata, or it is not there. The
implementations differ in where the files are, never in what a caller sees.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import (
    ElementNotFoundError,
    GuerillaBackupError,
    MetainfoError,
    StorageError,
)
from guerillabackup.storage.facts import ALL_ELEMENTS as ALL_ELEMENTS
from guerillabackup.storage.facts import ElementFacts as ElementFacts
from guerillabackup.storage.facts import ElementSelection as ElementSelection

MAX_ATTRIBUTE_SIZE = 1 << 20
"""Bytes of one attribute's value."""


class Leftover(NamedTuple):
    """A file that belongs to no element: its path below the storage, what it is, its age in seconds.

    `ruined` is the element that it is a part of and that was complete once: data is always there before its
    metadata, and both are files.
    """

    path: str
    what: str
    age: float
    ruined: ElementId | None = None


class SinkHandleInterface(ABC):
    """Writes one new element. Nothing is visible before `close`, nothing stays after `abort`.

    Used by one thread at a time. As a context manager it aborts what was not closed. After an operation that
    raised a StorageError of writing it is closed, and nothing of its element stays.
    """

    @abstractmethod
    def get_sink_stream(self) -> int:
        """The descriptor to write data to directly; the handle owns it. (getSinkStream)"""

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`; raises StorageFullError or StorageError, and nothing of it counts. (write)"""

    @abstractmethod
    def prepare(self, metainfo: BackupElementMetainfo) -> ElementId:
        """Make everything durable but not yet visible, and say what the element will be called.

        After it `close()` only makes it visible. A crash between the two leaves an element that
        `StorageInterface.complete` finishes. Called once, after the last byte was written; not in a batch.
        """

    @abstractmethod
    def close(
        self, metainfo: BackupElementMetainfo | None = None
    ) -> "StorageBackupDataElementInterface | None":
        """Store the element, durable when this returns, and hand it out. (close)

        `metainfo` is given here or to `prepare` before. Inside a batch: None; the element becomes visible and
        durable with the batch.
        """

    @abstractmethod
    def get_element_id(self) -> ElementId:
        """The id of the element that was prepared or closed; StorageError before. (getElementId)"""

    @abstractmethod
    def abort(self) -> None:
        """Forget everything written; may be called at any time, twice too, never raises.

        After `close` it does nothing, in a batch too.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class SinkInterface(ABC):
    """Where a unit or a receiver gets handles for new elements."""

    @abstractmethod
    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        """A handle for one new element of a source; any number may be open at once. (getSinkHandle)"""


class StorageBackupDataElementInterface(ABC):
    """One stored element. While its data stream is open it is not deleted, unless by who holds its lock.

    A stream that is opened while somebody holds the lock is protected by that lock alone.
    """

    @abstractmethod
    def get_element_id(self) -> ElementId:
        """The element's id in its storage. (getElementId)"""

    @abstractmethod
    def get_source_url(self) -> SourceUrl:
        """The source it is a backup of. (getSourceUrl)"""

    @abstractmethod
    def get_metadata(self) -> BackupElementMetainfo:
        """Its metadata; ElementNotFoundError when it is gone, MetainfoError when unreadable. (getMetaData)

        What this object has read once it remembers, also when the element is gone since.
        """

    @abstractmethod
    def get_data_size(self) -> int:
        """Bytes of its data."""

    @abstractmethod
    def get_arrival_time(self) -> float:
        """UTC seconds at which the storage got it, as far as the storage can tell."""

    @abstractmethod
    def get_data_stream(self) -> BinaryIO:
        """Its data from the start, a file with a descriptor; the caller closes it. (getDataStream)"""

    @abstractmethod
    def set_extra_data(self, name: str, value: bytes | None) -> None:
        """Attach an attribute durably, replace it, or detach it with None. (setExtraData)

        Raises ElementLockedError while somebody else holds the lock, ElementIdError for what is no name.
        """

    @abstractmethod
    def get_extra_data(self, name: str) -> bytes | None:
        """The attribute's value, None when there is none. (getExtraData)"""

    @abstractmethod
    def list_extra_data(self) -> list[str]:
        """Names of all attributes, sorted."""

    @abstractmethod
    def delete(self) -> None:
        """Delete exactly this element, durably; ElementLockedError when somebody holds it. (delete)

        Works while the caller itself holds the lock. What is gone already raises ElementNotFoundError.
        """

    @abstractmethod
    def lock(self) -> None:
        """Keep others from deleting or locking it; the lock ends with the process at the latest. (lock)

        Never waits: raises ElementLockedError when held by others, ElementNotFoundError when gone.
        """

    @abstractmethod
    def unlock(self) -> None:
        """End the lock of this object; does nothing without one. (unlock)"""

    @abstractmethod
    def is_locked(self) -> bool:
        """Whether somebody, anywhere, holds a lock on it or reads its data."""


ElementFilter = Callable[[StorageBackupDataElementInterface], bool]


class StorageInterface(SinkInterface):
    """Keeps elements; safe to use from several threads and, where files are, several processes."""

    @abstractmethod
    def get_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        """One element; ElementNotFoundError when it is not there, complete. (getBackupDataElement)"""

    def hold_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        """One element, locked as by its `lock` until its `unlock` or `delete`; its metadata is read already.

        ElementLockedError when somebody, anywhere, holds a lock on it or reads its data. Its data may be open
        already, and is then what `get_data_stream` hands out first.
        """
        element = self.get_backup_data_element(element_id)
        element.lock()
        try:
            element.get_metadata()
        except BaseException:
            element.unlock()
            raise
        return element

    def sync_element(self, element: StorageBackupDataElementInterface) -> None:
        """Make an element durable that somebody else may have stored; raises StorageError.

        Its data, its metadata, and all names on the way to them. There is nothing to do where what can be
        seen is as durable as it gets.
        """

    @abstractmethod
    def get_backup_data_element_for_metadata(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        """The element of the source that is the same one. (getBackupDataElementForMetaData)

        The same: type, Timestamp, DataUuid and checksum agree.
        """

    @abstractmethod
    def query_backup_data_elements(
        self, query: ElementFilter | None = None, source_url: SourceUrl | None = None
    ) -> Iterator[StorageBackupDataElementInterface]:
        """All complete elements that `query` accepts, of all sources or one. (queryBackupDataElements)

        Streams in bounded memory (one folder's names at a time), sorted by folder and file name. Skips what
        is not an element and what comes or goes meanwhile. An element with unreadable metadata is handed out
        where `query` does not trip over it: a MetainfoError of `query` leaves the element out.
        """

    def list_ids(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[str]:
        """The ids of selected elements, in the order and with the errors of `query_backup_data_elements`."""
        if selection.asks_metadata:
            yield from (facts.element_id for facts in self.list_facts(selection))
            return
        for element in self.query_backup_data_elements():
            if selection.takes_source(str(element.get_source_url())):
                yield str(element.get_element_id())

    def list_facts(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[ElementFacts]:
        """What listings tell of selected elements, in the same order; what goes meanwhile is left out.

        A storage with a catalogue gives the same answer, sooner.
        """
        source_url = SourceUrl(selection.pattern) if selection.is_exact and selection.pattern else None
        for element in self.query_backup_data_elements(source_url=source_url):
            if selection.takes_source(str(element.get_source_url())):
                facts = describe_element(element)
                if facts is not None and selection.takes(facts):
                    yield facts

    def list_attributes(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        """Which elements have one of these attributes: the id of each and the attribute's name.

        In the order and with the errors of `query_backup_data_elements`; does not read the attributes.
        """
        for element in self.query_backup_data_elements():
            for name in sorted(names):
                try:
                    is_there = element.get_extra_data(name) is not None
                except ElementNotFoundError:
                    break
                if is_there:
                    yield str(element.get_element_id()), name

    def delete_elements(
        self, elements: Sequence[StorageBackupDataElementInterface]
    ) -> list[StorageError | None]:
        """Delete each as its `delete` does, with one sync for all of a folder: what hindered it, or None.

        The answers are in the order of the elements; one that is locked or gone hinders no other. None: it is
        gone for good when this returns. A crash before leaves each whole, or gone.
        """
        return [_try_to_delete(element) for element in elements]

    @abstractmethod
    def open_batch(self) -> AbstractContextManager["BatchInterface"]:
        """A sink whose closed handles become durable and visible together when its context ends."""

    def close_together(
        self, closing: Sequence[tuple[SinkHandleInterface, BackupElementMetainfo]]
    ) -> list[StorageBackupDataElementInterface | GuerillaBackupError]:
        """Close handles of this storage, none of a batch, with one sync for all: the elements, durable.

        Where one cannot be stored, its error stands in its place, and the others are stored all the same.
        """
        results: list[StorageBackupDataElementInterface | GuerillaBackupError] = []
        for handle, metainfo in closing:
            try:
                element = handle.close(metainfo)
            except GuerillaBackupError as error:
                results.append(error)
            else:
                assert element is not None, "only a handle of a batch hands nothing out"
                results.append(element)
        return results

    @abstractmethod
    def complete(
        self, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        """Finish an element that was prepared before a crash; None when nothing of it is there.

        An element that is complete already is returned as it is. Data that is not what `metainfo` says by
        its checksum raises IntegrityError.
        """

    def check_in_place(self) -> None:
        """Raise StorageReplacedError when others who open the storage by its name find another one there.

        Cheap: asked before each element that is acknowledged. Storing and deleting ask by themselves.
        A storage that nothing can take the place of has nothing to ask.
        """

    def get_place_id(self) -> str:
        """Names where the elements are, the same for whoever opens it on this host; "" where nothing does."""
        return ""

    @abstractmethod
    def find_leftovers(self, source_url: SourceUrl | None = None) -> Iterator["Leftover"]:
        """Files below the storage that belong to no complete element, in bounded memory.

        For a source only those that are named as files of its elements.
        """


class BatchInterface(SinkInterface):
    """A group of elements that is stored together: one file-system sync for all of them."""

    @abstractmethod
    def commit(self) -> list[StorageBackupDataElementInterface]:
        """Make what was closed since the last commit durable and visible; the batch goes on empty.

        When it raises, some of the elements may have been stored: each is complete or absent. A batch commits
        by itself when it holds as many elements as descriptors allow (256); leaving the context commits too,
        unless by an exception, which drops what is not committed.
        """


def _try_to_delete(element: StorageBackupDataElementInterface) -> StorageError | None:
    try:
        element.delete()
    except StorageError as error:
        return error
    return None


def describe_element(element: StorageBackupDataElementInterface) -> ElementFacts | None:
    """The facts of one element; None when it is gone."""
    element_id = element.get_element_id()
    names = str(element_id), str(element_id.source_url)
    try:
        try:
            metainfo = element.get_metadata()
        except MetainfoError as error:
            arrival, size = element.get_arrival_time(), element.get_data_size()
            own_type = element_id.backup_type.value
            return ElementFacts(*names, own_type, None, None, None, None, None, arrival, size, str(error))
        return ElementFacts(
            *names,
            metainfo.backup_type.value,
            metainfo.timestamp,
            metainfo.data_uuid,
            metainfo.predecessor,
            metainfo.checksum,
            metainfo.metadata_signature is not None,
            element.get_arrival_time(),
            element.get_data_size(),
        )
    except ElementNotFoundError:
        return None
