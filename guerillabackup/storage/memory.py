"""A storage in memory: the reference that says what a storage does, and a quick one for tests.

Touches: os, time.
"""

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO

from guerillabackup.element import (
    MAX_SERIAL,
    BackupElementMetainfo,
    BackupType,
    ElementId,
    SourceUrl,
    check_attribute_name,
)
from guerillabackup.errors import (
    ElementExistsError,
    ElementLockedError,
    ElementNotFoundError,
    IntegrityError,
    MetainfoError,
    StorageError,
)
from guerillabackup.osfile import write_all
from guerillabackup.storage.interface import (
    MAX_ATTRIBUTE_SIZE,
    BatchInterface,
    ElementFilter,
    Leftover,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.storage.naming import INFO, check_storable, file_name


@dataclass
class _Record:
    """What is kept of one element; without metadata it was prepared and is not visible."""

    data: bytes
    metainfo: BackupElementMetainfo | None
    arrival: float
    attributes: dict[str, bytes] = field(default_factory=dict)
    holder: object | None = None
    readers: int = 0


class MemoryStorage(StorageInterface):
    """Keeps elements in a dictionary; nothing outlives the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards the others
        self._records: dict[ElementId, _Record] = {}
        self._last_serials: dict[tuple[SourceUrl, int, BackupType], int] = {}

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        check_storable(source_url)
        return _MemorySinkHandle(self, source_url, None)

    def get_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        self.visible_record(element_id)
        return _MemoryElement(self, element_id)

    def get_backup_data_element_for_metadata(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        for element in self.query_backup_data_elements(source_url=source_url):
            if element.get_metadata().is_same_element(metainfo):
                return element
        return None

    def query_backup_data_elements(
        self, query: ElementFilter | None = None, source_url: SourceUrl | None = None
    ) -> Iterator[StorageBackupDataElementInterface]:
        with self._lock:
            ids = sorted(
                (id_ for id_, record in self._records.items() if record.metainfo is not None),
                key=lambda id_: (id_.source_url.directory, file_name(id_, INFO)),
            )
        for element_id in ids:
            if source_url is not None and element_id.source_url != source_url:
                continue
            element = _MemoryElement(self, element_id)
            try:
                self.visible_record(element_id)
                if query is not None and not query(element):
                    continue
            except (ElementNotFoundError, MetainfoError):
                continue
            yield element

    @contextmanager
    def open_batch(self) -> Iterator[BatchInterface]:
        batch = _MemoryBatch(self)
        try:
            yield batch
            batch.commit()
        finally:
            batch.is_ended = True

    def complete(
        self, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        check_storable(element_id.source_url)
        with self._lock:
            record = self._records.get(element_id)
            if record is None:
                return None
            if record.holder is not None:
                raise ElementLockedError(f"the data of {element_id} is locked")
            if record.metainfo is None:
                if metainfo.checksum not in (None, hashlib.sha512(record.data).digest()):
                    raise IntegrityError(f"data of {element_id} is not what its checksum says")
                record.metainfo = metainfo
        return _MemoryElement(self, element_id)

    def find_leftovers(self, source_url: SourceUrl | None = None) -> Iterator[Leftover]:
        with self._lock:
            found = [
                Leftover(f"{element_id}.data"[1:], "data without info", time.time() - record.arrival)
                for element_id, record in self._records.items()
                if record.metainfo is None and source_url in (None, element_id.source_url)
            ]
        yield from found

    def add(self, source_url: SourceUrl, data: bytes, metainfo: BackupElementMetainfo) -> ElementId:
        """Put prepared data under the first free name; for this module's handles."""
        key = (source_url, metainfo.timestamp, metainfo.backup_type)
        with self._lock:
            last = self._last_serials.get(key)
            serials = chain((None,), range(MAX_SERIAL)) if last is None else range(last + 1, MAX_SERIAL)
            for serial in serials:
                element_id = ElementId.label(source_url, metainfo.timestamp, metainfo.backup_type, serial)
                if element_id not in self._records:
                    self._records[element_id] = _Record(data, None, time.time())
                    if serial is not None:
                        self._last_serials[key] = serial
                    return element_id
        raise StorageError(f"no free name for an element of {source_url}")

    def read_prepared(self, element_id: ElementId) -> _Record:
        """The record of data that was added just now, with one more reader; for this module's handles."""
        with self._lock:
            record = self._records[element_id]
            record.readers += 1
        return record

    def visible_record(self, element_id: ElementId) -> _Record:
        """The record of a complete element; for this module's elements."""
        with self._lock:
            record = self._records.get(element_id)
        if record is None or record.metainfo is None:
            raise ElementNotFoundError(f"element {element_id} is not in the storage")
        return record

    def forget(self, element_id: ElementId, *, only_prepared: bool = False) -> None:
        """Drop a record; for this module's handles and elements."""
        with self._lock:
            record = self._records.get(element_id)
            if record is not None and not (only_prepared and record.metainfo is not None):
                del self._records[element_id]

    def claim(self, element_id: ElementId, holder: object) -> _Record:
        """Lock a record for a holder, which may hold it already; for this module's elements."""
        with self._lock:
            record = self.visible_record(element_id)
            if record.holder not in (None, holder) or (record.holder is None and record.readers):
                raise ElementLockedError(f"element {element_id} is locked")
            record.holder = holder
            return record


class _MemorySinkHandle(SinkHandleInterface):
    def __init__(self, storage: MemoryStorage, source_url: SourceUrl, batch: "_MemoryBatch | None") -> None:
        self._storage = storage
        self._source_url = source_url
        self._batch = batch
        self._stream: int | None = os.memfd_create("element", os.MFD_CLOEXEC)
        self._prepared: tuple[ElementId, BackupElementMetainfo] | None = None
        self._element_id: ElementId | None = None
        self._reading: _Record | None = None
        """What was prepared, which nobody else deletes until this is closed, whoever completes it."""

    def get_sink_stream(self) -> int:
        if self._stream is None:
            raise StorageError("the sink handle is closed")
        return self._stream

    def write(self, data: bytes | bytearray | memoryview) -> None:
        write_all(self.get_sink_stream(), data)

    def prepare(self, metainfo: BackupElementMetainfo) -> ElementId:
        if self._batch is not None or self._prepared is not None:
            raise StorageError("a sink handle is prepared once, and not in a batch")
        return self._prepare(metainfo)

    def close(
        self, metainfo: BackupElementMetainfo | None = None
    ) -> StorageBackupDataElementInterface | None:
        if self._batch is not None:
            stream = self.get_sink_stream()
            if metainfo is None:
                raise StorageError("a sink handle is closed without metadata")
            self._batch.add(self, metainfo, _content(stream))
            self._end_stream()
            return None
        if self._prepared is None:
            self.get_sink_stream()
            if metainfo is None:
                raise StorageError("a sink handle is closed without metadata")
            self._prepare(metainfo)
        assert self._prepared is not None
        return self.publish(*self._prepared)

    def get_element_id(self) -> ElementId:
        if self._element_id is None:
            raise StorageError("the element has no id before it is prepared or closed")
        return self._element_id

    def abort(self) -> None:
        self._end_stream()
        self._end_reading()
        if self._prepared is not None:
            self._storage.forget(self._prepared[0], only_prepared=True)
            self._prepared = self._element_id = None

    def publish(self, element_id: ElementId, metainfo: BackupElementMetainfo) -> "_MemoryElement":
        """Make what was added visible."""
        self._prepared = self._element_id = None
        self._end_reading()
        stored = self._storage.complete(element_id, metainfo)
        if stored is None:
            raise StorageError(f"the prepared data of {element_id} was removed")
        if stored.get_metadata() != metainfo:
            raise ElementExistsError(f"{element_id} was completed with other metadata")
        self._element_id = element_id
        return _MemoryElement(self._storage, element_id)

    def add_to(self, metainfo: BackupElementMetainfo, data: bytes) -> "_MemoryElement":
        """Store at once what a batch kept back."""
        return self.publish(self._storage.add(self._source_url, data, metainfo), metainfo)

    def _prepare(self, metainfo: BackupElementMetainfo) -> ElementId:
        element_id = self._storage.add(self._source_url, _content(self.get_sink_stream()), metainfo)
        self._end_stream()
        self._reading = self._storage.read_prepared(element_id)
        self._prepared = (element_id, metainfo)
        self._element_id = element_id
        return element_id

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.readers -= 1
            self._reading = None

    def _end_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            os.close(stream)


class _MemoryBatch(BatchInterface):
    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self._closed: list[tuple[_MemorySinkHandle, BackupElementMetainfo, bytes]] = []
        self.is_ended = False

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        check_storable(source_url)
        self._check_running()
        return _MemorySinkHandle(self._storage, source_url, self)

    def add(self, handle: _MemorySinkHandle, metainfo: BackupElementMetainfo, data: bytes) -> None:
        """A handle that was closed, and what it will be."""
        self._check_running()
        self._closed.append((handle, metainfo, data))

    def _check_running(self) -> None:
        if self.is_ended:
            raise StorageError("the batch has ended: its elements can no longer be stored")

    def commit(self) -> list[StorageBackupDataElementInterface]:
        closed, self._closed = self._closed, []
        return [handle.add_to(metainfo, data) for handle, metainfo, data in closed]


class _MemoryElement(StorageBackupDataElementInterface):
    def __init__(self, storage: MemoryStorage, element_id: ElementId) -> None:
        self._storage = storage
        self._id = element_id
        self._metainfo: BackupElementMetainfo | None = None

    def get_element_id(self) -> ElementId:
        return self._id

    def get_source_url(self) -> SourceUrl:
        return self._id.source_url

    def get_metadata(self) -> BackupElementMetainfo:
        if self._metainfo is None:
            self._metainfo = self._storage.visible_record(self._id).metainfo
            assert self._metainfo is not None
        return self._metainfo

    def get_data_size(self) -> int:
        return len(self._storage.visible_record(self._id).data)

    def get_arrival_time(self) -> float:
        return self._storage.visible_record(self._id).arrival

    def get_data_stream(self) -> BinaryIO:
        record = self._storage.visible_record(self._id)
        descriptor = os.memfd_create("element", os.MFD_CLOEXEC)
        write_all(descriptor, record.data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return _ReadStream(descriptor, record, is_counted=record.holder is None)

    def set_extra_data(self, name: str, value: bytes | None) -> None:
        check_attribute_name(name)
        if value is not None and len(value) > MAX_ATTRIBUTE_SIZE:
            raise StorageError(f"attribute {name} of {len(value)} bytes, limit {MAX_ATTRIBUTE_SIZE}")
        record = self._storage.visible_record(self._id)
        if record.holder not in (None, self):
            raise ElementLockedError(f"element {self._id} is locked")
        if value is None:
            record.attributes.pop(name, None)
        else:
            record.attributes[name] = bytes(value)

    def get_extra_data(self, name: str) -> bytes | None:
        check_attribute_name(name)
        return self._storage.visible_record(self._id).attributes.get(name)

    def list_extra_data(self) -> list[str]:
        return sorted(self._storage.visible_record(self._id).attributes)

    def delete(self) -> None:
        self._storage.claim(self._id, self)
        self._storage.forget(self._id)

    def lock(self) -> None:
        if self._storage.visible_record(self._id).holder is self:
            raise ElementLockedError(f"element {self._id} is locked")
        self._storage.claim(self._id, self)

    def unlock(self) -> None:
        try:
            record = self._storage.visible_record(self._id)
        except ElementNotFoundError:
            return
        if record.holder is self:
            record.holder = None

    def is_locked(self) -> bool:
        record = self._storage.visible_record(self._id)
        return record.holder is not None or record.readers > 0


class _ReadStream(io.FileIO):
    """Data being read: keeps its element from being deleted until it is closed."""

    def __init__(self, descriptor: int, record: _Record, is_counted: bool) -> None:
        super().__init__(descriptor, "rb")
        self._record = record
        self._count = 1 if is_counted else 0
        record.readers += self._count

    def close(self) -> None:
        if not self.closed:
            self._record.readers -= self._count
        super().close()


def _content(stream: int) -> bytes:
    """All that was written to a handle's stream."""
    size = os.fstat(stream).st_size
    return os.pread(stream, size, 0) if size else b""
