"""Storages, handles and elements as code written for the original uses them."""

import hashlib
import os

import pytest

from guerillabackup.element import BackupElementMetainfo
from guerillabackup.errors import ConfigError, ElementNotFoundError, IntegrityError, SourceUrlError
from guerillabackup.original.storage import (
    BackupDataElementQueryResult,
    DefaultFileStorage,
    DefaultFileSystemSink,
    EndOfTest,
)

DATA = b"some data"
SUM = hashlib.sha512(DATA).digest()


class ForeignMetainfo:
    """Serializes itself, nothing else."""

    def __init__(self, **values):
        self.values = values

    def serialize(self):
        return BackupElementMetainfo({"BackupType": "full", "Timestamp": 1000, **self.values}).serialize()


@pytest.fixture
def storage(tmp_path):
    return DefaultFileStorage(str(tmp_path), {})


def store(sink, source="/a/b", metainfo=None, **values):
    handle = sink.getSinkHandle(source)
    os.write(handle.getSinkStream(), DATA[:4])
    handle.write(DATA[4:])
    handle.close(metainfo or ForeignMetainfo(**values))
    return handle.getElementId()


def test_an_element_is_stored_found_read_and_deleted(storage):
    element_id = store(storage, StorageFileChecksumSha512=SUM, DataUuid=b"uuid")
    assert element_id == "/a/19700101001640-b-full"
    element = storage.getBackupDataElement(element_id)
    assert (element.getElementId(), element.getSourceUrl()) == (element_id, "/a/b")
    metainfo = element.getMetaData()
    assert metainfo.get("DataUuid") == b"uuid"
    found = storage.getBackupDataElementForMetaData("/a/b", metainfo)
    assert found.getElementId() == element_id
    descriptor = element.getDataStream()
    assert os.read(descriptor, 100) == DATA
    os.close(descriptor)
    element.setExtraData("mark", b"1")
    assert element.getExtraData("mark") == b"1"
    element.lock()
    element.unlock()
    element.delete()
    with pytest.raises(ElementNotFoundError):
        storage.getBackupDataElement(element_id)
    assert storage.getBackupDataElementForMetaData("/a/b", metainfo) is None


def test_a_query_gives_one_element_after_the_other(storage):
    for source in ("/a/b", "/a/c", "/d"):
        store(storage, source)
    result = storage.queryBackupDataElements(lambda element: element.getSourceUrl() != "/a/c")
    names = [result.getNextElement().getSourceUrl() for _ in range(2)]
    assert (names, result.getNextElement()) == (["/d", "/a/b"], None)
    everything = storage.queryBackupDataElements(None)
    assert sum(1 for _ in iter(everything.getNextElement, None)) == 3


def test_metadata_of_ours_is_taken_and_a_missing_checksum_added(storage):
    metainfo = BackupElementMetainfo({"BackupType": "inc", "Timestamp": 5})
    element = storage.getBackupDataElement(store(storage, metainfo=metainfo))
    assert element.getMetaData().checksum == SUM


def test_data_that_has_another_checksum_is_not_stored(storage, tmp_path):
    with pytest.raises(IntegrityError, match="9 bytes that were written do not have the checksum"):
        store(storage, StorageFileChecksumSha512=hashlib.sha512(b"other").digest())
    assert storage.queryBackupDataElements(None).getNextElement() is None
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


def test_a_sink_is_made_of_a_configuration(tmp_path):
    with pytest.raises(ConfigError, match="DefaultFileSystemSinkBaseDir is not set"):
        DefaultFileSystemSink({})
    context = {DefaultFileSystemSink.SINK_BASEDIR_KEY: str(tmp_path)}
    assert store(DefaultFileSystemSink(context)).endswith("-b-full")
    with pytest.raises(SourceUrlError):
        DefaultFileSystemSink(context).getSinkHandle("a/b")


def test_in_test_mode_a_sink_raises_instead_of_storing(tmp_path):
    context = {"DefaultFileSystemSinkBaseDir": str(tmp_path), "GeneralDebugTestModeFlag": True}
    with pytest.raises(EndOfTest, match="nothing is stored"):
        store(DefaultFileSystemSink(context))
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


def test_a_query_result_without_its_method_cannot_be_made():
    with pytest.raises(TypeError, match="getNextElement"):
        BackupDataElementQueryResult()
