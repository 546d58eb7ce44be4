"""What a storage holds is found by what it is, whatever its name, without going through all of it."""

import tracemalloc

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer import held as held_elements
from guerillabackup.transfer.held import MAX_TRIED, HeldElements

URL = SourceUrl("/host/log")


def info(number=0, time=1_700_000_000, **values):
    uuid = b"%d" % number
    return BackupElementMetainfo({"BackupType": "full", "Timestamp": time, "DataUuid": uuid, **values})


def store(storage, metainfo, url=URL):
    with storage.get_sink_handle(url) as handle:
        return handle.close(metainfo)


@pytest.fixture(params=["files", "memory"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage()
    else:
        (tmp_path / "data").mkdir()
        with DefaultFileStorage(str(tmp_path / "data")) as file_storage:
            yield file_storage


def found(held, metainfo, url=URL):
    element = held.find(url, metainfo)
    return None if element is None else element.get_element_id()


def test_only_what_is_the_same_is_found(storage):
    held = HeldElements(storage)
    assert found(held, info()) is None
    stored = store(storage, info()).get_element_id()
    assert found(held, info()) == stored
    assert found(held, info(TransferAttributes={"a": 1})) == stored
    for other in (info(1), info(time=5), info(BackupType="inc"), info(DataUuid=b"x"), info(Extra=1)):
        assert found(held, other) is None
    assert found(held, info(), SourceUrl("/host/log2")) is None


@pytest.mark.parametrize("is_told", [True, False])
def test_elements_of_one_second_are_found_however_many_there_are(storage, is_told):
    held = HeldElements(storage) if is_told else None
    count = MAX_TRIED * 3
    ids = []
    for number in range(count):
        ids.append(store(storage, info(number)).get_element_id())
        if held is not None:
            held.added(ids[-1], info(number))
    held = held or HeldElements(storage)
    assert [found(held, info(number)) for number in range(count)] == ids


def test_what_others_store_meanwhile_is_found_by_its_name(storage):
    held = HeldElements(storage)
    found(held, info())
    for number in range(5):
        stored = store(storage, info(number)).get_element_id()
        assert found(held, info(number)) == stored


def test_what_was_deleted_is_found_no_more(storage):
    held = HeldElements(storage)
    elements = [store(storage, info(number)) for number in range(20)]
    for number, element in enumerate(elements):
        held.added(element.get_element_id(), info(number))
    for number in reversed(range(20)):
        elements[number].delete()
        assert found(held, info(number)) is None
        assert number == 0 or found(held, info(number - 1)) is not None


def test_of_several_the_latest_is_found(storage):
    held = HeldElements(storage)
    store(storage, info())
    second = store(storage, info())
    held.added(second.get_element_id(), info())
    assert found(held, info()) == second.get_element_id()


def test_a_data_uuid_is_found_among_the_elements_of_its_source(storage):
    held = HeldElements(storage)
    store(storage, info(DataUuid=b"here"))
    assert held.has_data_uuid(URL, b"here")
    assert not held.has_data_uuid(URL, b"elsewhere")
    assert not held.has_data_uuid(SourceUrl("/host"), b"here")


def test_a_source_is_listed_once(storage, monkeypatch):
    listed = []
    plain = storage.list_facts
    monkeypatch.setattr(storage, "list_facts", lambda selection: listed.append(selection) or plain(selection))
    held = HeldElements(storage)
    for number in range(50):
        found(held, info(number, time=number))
        store(storage, info(number, time=number))
    assert len(listed) == 1


def test_no_more_of_what_a_peer_names_is_remembered_than_there_is_room_for_and_all_is_found(monkeypatch):
    monkeypatch.setattr(held_elements, "MAX_UNUSUAL", 10)
    storage = MemoryStorage()
    held = HeldElements(storage)
    infos = [info(number) for number in range(100)]
    for metainfo in infos:
        assert found(held, metainfo) is None
        held.added(store(storage, metainfo).get_element_id(), metainfo)
    other = SourceUrl("/host/other")
    stored = store(storage, info(1), other).get_element_id()
    assert found(held, info(1), other) == stored
    assert [found(held, metainfo) is not None for metainfo in infos] == [True] * 100


def test_a_source_that_was_listed_takes_little_memory_however_long_its_name_is():
    held = HeldElements(MemoryStorage())
    metainfo = BackupElementMetainfo({"BackupType": "full", "Timestamp": 7})
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1000):
            assert held.find(SourceUrl(f"/{'/'.join(['p' * 200] * 8)}/{number}"), metainfo) is None
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 1000 < 400
