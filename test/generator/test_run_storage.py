"""Each call goes to the storage of the present run."""

import pytest

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, StorageError
from guerillabackup.generator.run_storage import RunStorage
from guerillabackup.storage.memory import MemoryStorage

URL = SourceUrl("/host/a")
METAINFO = BackupElementMetainfo({"BackupType": "full", "Timestamp": 1_700_000_000})


def test_all_that_a_storage_can_do_is_done_by_that_of_the_run():
    storage = RunStorage()
    storage.current = MemoryStorage()
    with storage.get_sink_handle(URL) as handle:
        handle.write(b"data")
        element = handle.close(METAINFO)
    with storage.open_batch() as batch, batch.get_sink_handle(URL) as handle:
        handle.close(METAINFO)
    assert storage.get_backup_data_element(element.get_element_id()).get_data_size() == 4
    assert storage.get_backup_data_element_for_metadata(URL, METAINFO) is not None
    assert len(list(storage.query_backup_data_elements(source_url=URL))) == 2
    assert list(storage.find_leftovers()) == []
    assert storage.complete(element.get_element_id(), METAINFO) is not None
    storage.current = MemoryStorage()
    with pytest.raises(ElementNotFoundError):
        storage.get_backup_data_element(element.get_element_id())


def test_between_two_runs_nothing_can_be_done():
    storage = RunStorage()
    for call in (
        lambda: storage.get_sink_handle(URL),
        lambda: storage.query_backup_data_elements(),
        lambda: storage.get_backup_data_element(ElementId.parse("/host/20261121155214-a-full")),
    ):
        with pytest.raises(StorageError, match="only while it runs"):
            call()
