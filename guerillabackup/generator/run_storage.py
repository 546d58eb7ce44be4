"""The storage as a unit sees it that outlives many runs: each call goes to that of the present run. No I/O.

A storage that was opened days ago may be another one than is in its place now: something was mounted there,
or it was moved. So each run opens it anew, while the unit keeps this.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.storage.interface import (
    BatchInterface,
    ElementFilter,
    Leftover,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)


class RunStorage(StorageInterface):
    """Hands every call on to `current`; raises StorageError between two runs."""

    def __init__(self) -> None:
        self.current: StorageInterface | None = None

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        return self._get().get_sink_handle(source_url)

    def get_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        return self._get().get_backup_data_element(element_id)

    def get_backup_data_element_for_metadata(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        return self._get().get_backup_data_element_for_metadata(source_url, metainfo)

    def query_backup_data_elements(
        self, query: ElementFilter | None = None, source_url: SourceUrl | None = None
    ) -> Iterator[StorageBackupDataElementInterface]:
        return self._get().query_backup_data_elements(query, source_url)

    def open_batch(self) -> AbstractContextManager[BatchInterface]:
        return self._get().open_batch()

    def complete(
        self, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        return self._get().complete(element_id, metainfo)

    def find_leftovers(self, source_url: SourceUrl | None = None) -> Iterator[Leftover]:
        return self._get().find_leftovers(source_url)

    def _get(self) -> StorageInterface:
        if self.current is None:
            raise StorageError("a unit can use the storage only while it runs")
        return self.current
