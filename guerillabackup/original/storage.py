"""Storages, sink handles and elements of ours in the original's spelling.

It joins the storage with what code written for the original passes and expects: texts for source URLs and
element ids, descriptors for streams. Touches: os.
"""

import contextlib
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError
from guerillabackup.original.interfaces import without_abstract_methods
from guerillabackup.storage import interface
from guerillabackup.storage.registry import open_storage

SinkInterface: Any = without_abstract_methods(interface.SinkInterface)
SinkHandleInterface: Any = without_abstract_methods(interface.SinkHandleInterface)
StorageInterface: Any = without_abstract_methods(interface.StorageInterface)
StorageBackupDataElementInterface: Any = without_abstract_methods(interface.StorageBackupDataElementInterface)

SINK_DIRECTORY = "DefaultFileSystemSinkBaseDir"
TEST_MODE = "GeneralDebugTestModeFlag"
CHECK_SIZE = 1 << 20

Finish = Callable[[interface.SinkHandleInterface, BackupElementMetainfo], None]
"""Stores what was written to a handle."""


class EndOfTest(GuerillaBackupError):
    """Everything was run, and nothing is stored: the test mode of the original raises at that point."""


class SinkHandle(SinkHandleInterface):  # type: ignore[misc]
    """Writes one new element."""

    def __init__(self, handle: interface.SinkHandleInterface, finish: Finish) -> None:
        self._handle = handle
        self._finish = finish

    def getSinkStream(self) -> int:
        return self._handle.get_sink_stream()

    def write(self, data: bytes) -> None:
        self._handle.write(data)

    def close(self, metaInfo: Any) -> None:
        """Store the element, durable when this returns; its data must have the checksum that is given."""
        metainfo = our_metainfo(metaInfo)
        try:
            self._finish(self._handle, with_checksum(self._handle.get_sink_stream(), metainfo))
        finally:
            self._handle.abort()

    def getElementId(self) -> str:
        return str(self._handle.get_element_id())


class Element(StorageBackupDataElementInterface):  # type: ignore[misc]
    """One stored element."""

    def __init__(self, element: interface.StorageBackupDataElementInterface) -> None:
        self._element = element

    @property
    def ours(self) -> interface.StorageBackupDataElementInterface:
        """The element itself."""
        return self._element

    def become(self, element: interface.StorageBackupDataElementInterface) -> None:
        """Be that one from now on, the same element, which is locked: only so it may be deleted."""
        self._element = element

    def getElementId(self) -> str:
        return str(self._element.get_element_id())

    def getSourceUrl(self) -> str:
        return str(self._element.get_source_url())

    def getMetaData(self) -> BackupElementMetainfo:
        return self._element.get_metadata()

    def getDataStream(self) -> int:
        """A descriptor of its data, which the caller closes."""
        with self._element.get_data_stream() as stream:
            return os.dup(stream.fileno())

    def setExtraData(self, name: str, value: bytes | None) -> None:
        self._element.set_extra_data(name, value)

    def getExtraData(self, name: str) -> bytes | None:
        return self._element.get_extra_data(name)

    def delete(self) -> None:
        self._element.delete()

    def lock(self) -> None:
        self._element.lock()

    def unlock(self) -> None:
        self._element.unlock()


class BackupDataElementQueryResult(ABC):
    """The answer to a query of a storage: one element after the other, None at the end."""

    @abstractmethod
    def getNextElement(self) -> Any:
        """The next one; None at the end. (getNextElement)"""


class QueryResult(BackupDataElementQueryResult):
    """The elements that a query accepts, one after the other, None at their end."""

    def __init__(
        self,
        elements: Iterator[interface.StorageBackupDataElementInterface],
        query: Callable[[Element], bool] | None,
    ) -> None:
        self._elements = elements
        self._query = query

    def getNextElement(self) -> Element | None:
        for found in self._elements:
            element = Element(found)
            if self._query is None or self._query(element):
                return element
        return None


class Sink(SinkInterface):  # type: ignore[misc]
    """Where handles for new elements come from; `finish` stores what was written."""

    def __init__(self, sink: interface.SinkInterface, finish: Finish) -> None:
        self._sink = sink
        self._finish = finish

    def getSinkHandle(self, sourceUrl: str) -> SinkHandle:
        return SinkHandle(self._sink.get_sink_handle(SourceUrl(sourceUrl)), self._finish)


class DefaultFileSystemSink(Sink):
    """A sink for the storage that a configuration names."""

    SINK_BASEDIR_KEY = SINK_DIRECTORY

    def __init__(self, configContext: Mapping[str, Any]) -> None:
        directory = configContext.get(SINK_DIRECTORY)
        if not isinstance(directory, str):
            raise ConfigError(f"{SINK_DIRECTORY} is not set: it names the directory of the storage")
        is_test = configContext.get(TEST_MODE, False)
        super().__init__(open_storage(directory), store_nothing if is_test else store)


class Storage(Sink):
    """Any storage of ours."""

    def __init__(self, storage: interface.StorageInterface) -> None:
        super().__init__(storage, store)
        self._storage = storage

    def getBackupDataElement(self, elementId: str) -> Element:
        return Element(self._storage.get_backup_data_element(ElementId.parse(elementId)))

    def getBackupDataElementForMetaData(self, sourceUrl: str, metaData: Any) -> Element | None:
        element = self._storage.get_backup_data_element_for_metadata(
            SourceUrl(sourceUrl), our_metainfo(metaData)
        )
        return None if element is None else Element(element)

    def queryBackupDataElements(self, query: Callable[[Element], bool] | None) -> QueryResult:
        return QueryResult(self._storage.query_backup_data_elements(), query)


class DefaultFileStorage(Storage):
    """A storage below a directory, which is there."""

    def __init__(self, storageDirName: str, configContext: Mapping[str, Any]) -> None:
        super().__init__(open_storage(storageDirName))


def our_metainfo(metainfo: Any) -> BackupElementMetainfo:
    """Metadata of ours from any object that serializes itself."""
    if isinstance(metainfo, BackupElementMetainfo):
        return metainfo
    return BackupElementMetainfo.unserialize(metainfo.serialize())


def with_checksum(descriptor: int, metainfo: BackupElementMetainfo) -> BackupElementMetainfo:
    """The metadata with the checksum of what was written; IntegrityError when it has another one.

    Reads the data again: who wrote it is not known, and it may be removed at its source after this.
    """
    digest = hashlib.sha512()
    offset = 0
    while data := os.pread(descriptor, CHECK_SIZE, offset):
        digest.update(data)
        offset += len(data)
    if metainfo.checksum is None:
        return metainfo.replace(StorageFileChecksumSha512=digest.digest())
    if metainfo.checksum != digest.digest():
        raise IntegrityError(f"the {offset} bytes that were written do not have the checksum in the metadata")
    return metainfo


def store(handle: interface.SinkHandleInterface, metainfo: BackupElementMetainfo) -> None:
    """Store it as it is."""
    handle.close(metainfo)


def store_nothing(handle: interface.SinkHandleInterface, metainfo: BackupElementMetainfo) -> None:
    """The end of a test: what was written is dropped, and the caller must not think that it is stored."""
    with contextlib.suppress(GuerillaBackupError):
        handle.abort()
    raise EndOfTest("nothing is stored in test mode")
