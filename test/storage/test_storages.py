"""What every storage does, whatever keeps its elements: one suite over all of them."""

import gc
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.errors import (
    ElementExistsError,
    ElementIdError,
    ElementLockedError,
    ElementNotFoundError,
    IntegrityError,
    StorageError,
)
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import (
    MAX_ATTRIBUTE_SIZE,
    ElementSelection,
    SinkInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.storage.registry import catalogue_path

SOURCE = SourceUrl("/host/etc")
KINDS = ["files", "files named from the start", "memory"]


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageInterface]:
    """A storage; whatever a test does with it leaves no descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    if request.param == "memory":
        yield MemoryStorage()
    else:
        with DefaultFileStorage(str(tmp_path), unnamed_files=request.param == "files") as file_storage:
            yield file_storage
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def metainfo(timestamp: int = 1_700_000_000, kind: str = "full", **more: object) -> BackupElementMetainfo:
    return BackupElementMetainfo({"BackupType": kind, "Timestamp": timestamp, **more})


def described(data: bytes, **more: object) -> BackupElementMetainfo:
    return metainfo(StorageFileChecksumSha512=hashlib.sha512(data).digest(), **more)


def store(
    sink: SinkInterface,
    data: bytes = b"data",
    source: SourceUrl = SOURCE,
    info: BackupElementMetainfo | None = None,
) -> StorageBackupDataElementInterface:
    with sink.get_sink_handle(source) as handle:
        handle.write(data)
        element = handle.close(info or described(data))
    assert element is not None
    return element


def content(element: StorageBackupDataElementInterface) -> bytes:
    with element.get_data_stream() as stream:
        return stream.read()


def ids(storage: StorageInterface) -> list[str]:
    return [str(element.get_element_id()) for element in storage.query_backup_data_elements()]


# Handles


def test_what_is_stored_is_there_with_its_data_and_metadata(storage):
    info = described(b"some data", X={"y": [1]}, DataUuid=b"uuid")
    element = store(storage, b"some data", info=info)
    again = storage.get_backup_data_element(element.get_element_id())
    for one in (element, again):
        assert content(one) == b"some data"
        assert one.get_metadata() == info
        assert one.get_data_size() == 9
        assert one.get_source_url() == SOURCE
        assert one.get_arrival_time() > 1_600_000_000
    assert str(element.get_element_id()) == "/host/20231114221320-etc-full"


def test_an_element_may_be_empty(storage):
    assert content(store(storage, b"")) == b""


def test_data_may_be_written_to_the_descriptor_and_by_write(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        os.write(handle.get_sink_stream(), b"one ")
        handle.write(bytearray(b"two "))
        handle.write(memoryview(b"three"))
        element = handle.close(metainfo())
    assert content(element) == b"one two three"


def test_nothing_is_there_before_close(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.write(b"data")
        assert ids(storage) == []
        with pytest.raises(StorageError, match="no id"):
            handle.get_element_id()
    assert ids(storage) == []
    assert list(storage.find_leftovers()) == []


@pytest.mark.parametrize("is_prepared", [False, True])
def test_nothing_stays_after_abort_and_abort_may_be_called_again(storage, is_prepared):
    handle = storage.get_sink_handle(SOURCE)
    handle.write(b"data")
    if is_prepared:
        handle.prepare(metainfo())
    handle.abort()
    handle.abort()
    assert ids(storage) == []
    assert list(storage.find_leftovers()) == []
    for action in (handle.get_sink_stream, handle.close, handle.get_element_id, lambda: handle.write(b"")):
        with pytest.raises(StorageError):
            action()
    assert str(store(storage).get_element_id()) == "/host/20231114221320-etc-full"


def test_abort_after_close_does_nothing(storage):
    handle = storage.get_sink_handle(SOURCE)
    element = handle.close(metainfo())
    handle.abort()
    assert ids(storage) == [str(handle.get_element_id())] == [str(element.get_element_id())]


def test_an_exception_within_a_handle_leaves_nothing(storage):
    def fail() -> None:
        with storage.get_sink_handle(SOURCE) as handle:
            handle.write(b"data")
            handle.prepare(metainfo())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ids(storage) == []
    assert list(storage.find_leftovers()) == []


def test_a_handle_is_closed_once_and_with_metadata(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        with pytest.raises(StorageError, match="without metadata"):
            handle.close()
        handle.close(metainfo())
        for action in (
            handle.close,
            lambda: handle.close(metainfo()),
            lambda: handle.prepare(metainfo()),
            handle.get_sink_stream,
            lambda: handle.write(b"more"),
        ):
            with pytest.raises(StorageError):
                action()
    assert len(ids(storage)) == 1


def test_what_is_prepared_has_its_id_but_is_not_there_before_close(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.write(b"data")
        element_id = handle.prepare(described(b"data"))
        assert handle.get_element_id() == element_id
        assert ids(storage) == []
        with pytest.raises(ElementNotFoundError):
            storage.get_backup_data_element(element_id)
        assert "data without info" in [leftover.what for leftover in storage.find_leftovers()]
        for action in (handle.get_sink_stream, lambda: handle.prepare(metainfo()), lambda: handle.write(b"")):
            with pytest.raises(StorageError):
                action()
        assert handle.close().get_element_id() == element_id
    assert ids(storage) == [str(element_id)]
    assert content(storage.get_backup_data_element(element_id)) == b"data"
    assert list(storage.find_leftovers()) == []


def test_two_handles_prepared_side_by_side_become_two_elements(storage):
    with storage.get_sink_handle(SOURCE) as one, storage.get_sink_handle(SOURCE.members()) as other:
        one.prepare(metainfo())
        other.prepare(metainfo())
        one.close()
        other.close()
    assert ids(storage) == ["/host/20231114221320-etc-full", "/host/20231114221320-etc.members-full"]


@pytest.mark.parametrize("source", ["/.partial/a", "/.partial/a/b"])
def test_a_source_whose_files_would_be_among_the_storages_own_is_refused(storage, source):
    with pytest.raises(StorageError, match="storage's own"):
        storage.get_sink_handle(SourceUrl(source))
    with pytest.raises(StorageError, match="storage's own"), storage.open_batch() as batch:
        batch.get_sink_handle(SourceUrl(source))
    with pytest.raises(StorageError, match="storage's own"):
        storage.complete(ElementId.label(SourceUrl(source), 0, BackupType.FULL), metainfo())


# Names


def test_elements_of_the_same_second_get_serials(storage):
    found = [str(store(storage).get_element_id()) for _ in range(4)]
    assert found == [f"/host/20231114221320{serial}-etc-full" for serial in ("", "0", "1", "2")]
    assert sorted(ids(storage)) == sorted(found)


def test_types_and_sources_of_the_same_second_need_no_serials(storage):
    store(storage)
    store(storage, info=metainfo(kind="inc"))
    store(storage, source=SourceUrl("/host/etc-full"))
    store(storage, source=SourceUrl("/etc"))
    assert all(storage_id.count("20231114221320-") == 1 for storage_id in ids(storage))
    assert len(ids(storage)) == 4


def test_deleting_one_element_leaves_all_whose_names_begin_alike(storage):
    for source in (
        "/root",
        "/root-full",
        "/root-full-full",
        "/root.members",
        "/root.data",
        "/root-full/root",
    ):
        for kind in ("full", "inc"):
            for _ in range(2):
                element = store(storage, source.encode(), SourceUrl(source), metainfo(kind=kind))
                element.set_extra_data("mark", source.encode())
    before = ids(storage)
    assert len(before) == 24
    victim = "/20231114221320-root-full"
    storage.get_backup_data_element(ElementId.parse(victim)).delete()
    assert ids(storage) == [one for one in before if one != victim]
    for element in storage.query_backup_data_elements():
        assert content(element) == str(element.get_source_url()).encode()
        assert element.get_extra_data("mark") == content(element)
    assert list(storage.find_leftovers()) == []


# Batches


def test_the_elements_of_a_batch_appear_together_when_it_ends(storage):
    with storage.open_batch() as batch:
        for number in range(5):
            with batch.get_sink_handle(SourceUrl(f"/host/{number % 2}/log")) as handle:
                handle.write(b"%d" % number)
                assert handle.close(metainfo()) is None
        assert ids(storage) == []
    assert len(ids(storage)) == 5
    assert sorted(content(element) for element in storage.query_backup_data_elements()) == [
        b"%d" % number for number in range(5)
    ]
    assert list(storage.find_leftovers()) == []


def test_a_batch_hands_out_what_it_committed_and_goes_on(storage):
    with storage.open_batch() as batch:
        handles = []
        for number in range(2):
            handles.append(batch.get_sink_handle(SOURCE))
            handles[-1].write(b"%d" % number)
            handles[-1].close(metainfo())
        with pytest.raises(StorageError):
            handles[0].get_element_id()
        committed = batch.commit()
        assert [content(element) for element in committed] == [b"0", b"1"]
        assert [handle.get_element_id() for handle in handles] == [one.get_element_id() for one in committed]
        assert batch.commit() == []
        batch.get_sink_handle(SOURCE).close(metainfo())
        assert len(ids(storage)) == 2
    assert len(ids(storage)) == 3


def test_an_exception_drops_what_a_batch_has_not_committed(storage):
    def fail() -> None:
        with storage.open_batch() as batch:
            batch.get_sink_handle(SOURCE).close(metainfo(1))
            batch.commit()
            batch.get_sink_handle(SOURCE).close(metainfo(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ids(storage) == ["/host/19700101000001-etc-full"]
    assert list(storage.find_leftovers()) == []


def test_a_handle_aborted_in_a_batch_does_not_harm_the_others(storage):
    with storage.open_batch() as batch:
        batch.get_sink_handle(SOURCE).close(metainfo(1))
        batch.get_sink_handle(SOURCE).abort()
        with pytest.raises(ZeroDivisionError), batch.get_sink_handle(SOURCE):
            raise ZeroDivisionError
        batch.get_sink_handle(SOURCE).close(metainfo(2))
    assert ids(storage) == ["/host/19700101000001-etc-full", "/host/19700101000002-etc-full"]


def test_a_batch_takes_more_elements_than_a_process_may_open_files(storage):
    with storage.open_batch() as batch:
        for _ in range(600):
            store_in_batch(batch)
    assert len(ids(storage)) == 600
    assert list(storage.find_leftovers()) == []


def store_in_batch(batch: SinkInterface) -> None:
    with batch.get_sink_handle(SOURCE) as handle:
        handle.write(b"x")
        handle.close(metainfo())


def test_handles_closed_together_are_all_stored(storage):
    closing = []
    for number in range(5):
        handle = storage.get_sink_handle(SourceUrl(f"/host/{number % 2}/log"))
        handle.write(b"%d" % number)
        closing.append((handle, described(b"%d" % number)))
    elements = storage.close_together(closing)
    assert [content(element) for element in elements] == [b"0", b"1", b"2", b"3", b"4"]
    assert [str(handle.get_element_id()) for handle, _ in closing] == [
        str(element.get_element_id()) for element in elements
    ]
    assert len(ids(storage)) == 5
    assert list(storage.find_leftovers()) == []


def test_a_handle_that_cannot_be_closed_with_others_does_not_harm_them(storage):
    good, ended, last = (storage.get_sink_handle(SOURCE) for _ in range(3))
    ended.abort()
    first, error, second = storage.close_together([(one, metainfo()) for one in (good, ended, last)])
    assert isinstance(error, StorageError)
    assert ids(storage) == [str(first.get_element_id()), str(second.get_element_id())]
    assert list(storage.find_leftovers()) == []


def test_what_comes_after_the_end_of_a_batch_is_refused_not_lost(storage):
    with storage.open_batch() as batch:
        late = batch.get_sink_handle(SOURCE)
    with pytest.raises(StorageError, match="batch has ended"):
        late.close(metainfo())
    late.abort()
    with pytest.raises(StorageError, match="batch has ended"):
        batch.get_sink_handle(SOURCE)
    assert ids(storage) == []
    assert list(storage.find_leftovers()) == []


def test_a_handle_of_a_batch_is_neither_prepared_nor_closed_twice(storage):
    with storage.open_batch() as batch:
        handle = batch.get_sink_handle(SOURCE)
        with pytest.raises(StorageError):
            handle.prepare(metainfo())
        with pytest.raises(StorageError, match="without metadata"):
            handle.close()
        handle.close(metainfo())
        with pytest.raises(StorageError):
            handle.close(metainfo())
        handle.abort()
    assert len(ids(storage)) == 1


# Elements


def test_an_element_that_is_not_there_is_not_found(storage):
    for text in (
        "/host/20231114221320-etc-full",
        "/20231114221320-etc-full",
        "/host/202311142213205-etc-full",
    ):
        with pytest.raises(ElementNotFoundError):
            storage.get_backup_data_element(ElementId.parse(text))


def test_an_element_that_is_gone_is_not_found_whatever_is_asked(storage):
    element = store(storage)
    element_id = element.get_element_id()
    other, known = (storage.get_backup_data_element(element_id) for _ in range(2))
    assert known.get_metadata() == described(b"data")
    element.delete()
    for one in (element, other, known):
        for action in (
            one.get_data_size,
            one.get_arrival_time,
            one.get_data_stream,
            one.list_extra_data,
            one.delete,
            one.lock,
            one.is_locked,
            lambda one=one: one.get_extra_data("mark"),
            lambda one=one: one.set_extra_data("mark", b"x"),
        ):
            with pytest.raises(ElementNotFoundError):
                action()
        one.unlock()
    with pytest.raises(ElementNotFoundError):
        other.get_metadata()
    assert known.get_metadata() == described(b"data")
    assert list(storage.find_leftovers()) == []


def test_attributes_are_set_replaced_listed_and_removed(storage):
    element = store(storage)
    other = storage.get_backup_data_element(element.get_element_id())
    assert element.list_extra_data() == []
    assert element.get_extra_data("mark") is None
    element.set_extra_data("mark", None)
    element.set_extra_data("mark", b"one")
    element.set_extra_data("Other_2", b"")
    assert other.list_extra_data() == ["Other_2", "mark"]
    assert (other.get_extra_data("mark"), other.get_extra_data("Other_2")) == (b"one", b"")
    other.set_extra_data("mark", b"two")
    assert element.get_extra_data("mark") == b"two"
    element.set_extra_data("mark", None)
    assert other.list_extra_data() == ["Other_2"]
    assert content(element) == b"data"
    assert list(storage.find_leftovers()) == []


@pytest.mark.parametrize("name", ["data", "info", "lock", "", "a.b", "a-b", "../x", "a" * 33])
def test_what_is_no_attribute_name_is_refused(storage, name):
    element = store(storage)
    with pytest.raises(ElementIdError):
        element.set_extra_data(name, b"x")
    with pytest.raises(ElementIdError):
        element.get_extra_data(name)


def test_an_attribute_has_a_limit(storage):
    element = store(storage)
    element.set_extra_data("mark", b"x" * MAX_ATTRIBUTE_SIZE)
    with pytest.raises(StorageError, match="limit 1048576"):
        element.set_extra_data("mark", b"x" * (MAX_ATTRIBUTE_SIZE + 1))
    assert len(element.get_extra_data("mark")) == MAX_ATTRIBUTE_SIZE


def test_an_element_stored_after_a_deletion_inherits_no_attribute(storage):
    first = store(storage)
    first.set_extra_data("mark", b"x")
    first.delete()
    assert store(storage).list_extra_data() == []


# Locks


def test_an_element_that_is_held_is_read_without_a_further_look_and_may_be_deleted(storage):
    element_id = store(storage, b"some data").get_element_id()
    element = storage.hold_backup_data_element(element_id)
    assert element.get_metadata() == described(b"some data")
    assert content(element) == content(element) == b"some data"
    element.unlock()
    assert content(element) == b"some data"
    element = storage.hold_backup_data_element(element_id)
    element.set_extra_data("mark", b"x")
    element.delete()
    assert ids(storage) == []
    assert list(storage.find_leftovers()) == []


def test_what_is_gone_locked_or_being_read_is_not_held(storage):
    element = store(storage)
    element_id = element.get_element_id()
    with element.get_data_stream(), pytest.raises(ElementLockedError):
        storage.hold_backup_data_element(element_id)
    element.lock()
    with pytest.raises(ElementLockedError):
        storage.hold_backup_data_element(element_id)
    element.unlock()
    storage.hold_backup_data_element(element_id).unlock()
    element.delete()
    with pytest.raises(ElementNotFoundError):
        storage.hold_backup_data_element(element_id)


def test_an_element_that_is_held_is_locked_until_it_is_unlocked_whoever_has_read_it(storage):
    held = storage.hold_backup_data_element(store(storage).get_element_id())
    other = storage.get_backup_data_element(held.get_element_id())
    with held.get_data_stream() as stream:
        with pytest.raises(ElementLockedError):
            other.delete()
        assert stream.read() == b"data"
    for act in (other.delete, other.lock):
        with pytest.raises(ElementLockedError):
            act()
    held.unlock()
    other.delete()


def test_an_element_is_synced_wherever_it_is_and_what_is_gone_is_not(storage):
    element = store(storage)
    storage.sync_element(element)
    element.delete()
    if not isinstance(storage, MemoryStorage):
        with pytest.raises(StorageError):
            storage.sync_element(element)


def test_elements_deleted_together_are_gone_and_nothing_else_is(storage):
    elements = [store(storage, source=SourceUrl(f"/{folder}/etc")) for folder in "aab"]
    elements[0].set_extra_data("mark", b"x")
    kept = [store(storage, source=SourceUrl("/a/etc-full")), store(storage, source=SourceUrl("/b/etc"))]
    kept[1].set_extra_data("mark", b"kept")
    assert storage.delete_elements(elements) == [None, None, None]
    assert ids(storage) == [str(element.get_element_id()) for element in kept]
    assert kept[1].get_extra_data("mark") == b"kept"
    assert list(storage.find_leftovers()) == []
    assert storage.delete_elements([]) == []


def test_what_is_locked_or_gone_hinders_no_other_deletion_and_is_told(storage):
    locked, read, gone, alone, free = (store(storage, source=SourceUrl(f"/{name}/etc")) for name in "aaaba")
    holder = storage.get_backup_data_element(locked.get_element_id())
    holder.lock()
    gone.delete()
    with read.get_data_stream():
        results = storage.delete_elements([locked, read, gone, alone, free, free])
    kinds = [None if error is None else type(error) for error in results]
    assert kinds == [
        *(ElementLockedError, ElementLockedError, ElementNotFoundError),
        *(None, None, ElementNotFoundError),
    ]
    assert ids(storage) == [str(element.get_element_id()) for element in (locked, read)]
    assert storage.delete_elements([holder, read]) == [None, None]
    assert ids(storage) == []


def test_elements_in_a_folder_that_went_away_are_told_to_be_gone(storage):
    element = store(storage, source=SourceUrl("/a/b/etc"))
    element.delete()
    (error,) = storage.delete_elements([element])
    assert isinstance(error, ElementNotFoundError)


def test_elements_are_found_by_the_attributes_they_have(storage):
    elements = [store(storage, source=SourceUrl(f"/{folder}/etc")) for folder in "aab"]
    elements[1].set_extra_data("mark", b"")
    elements[2].set_extra_data("mark", b"x")
    elements[2].set_extra_data("other", b"y")
    elements[0].set_extra_data("third", b"z")
    names = [str(element.get_element_id()) for element in elements]
    assert list(storage.list_attributes({"mark", "other"})) == [
        *((names[1], "mark"), (names[2], "mark"), (names[2], "other")),
    ]
    assert list(storage.list_attributes(())) == []


def test_a_lock_keeps_others_from_locking_deleting_and_attributes(storage):
    mine = store(storage)
    other = storage.get_backup_data_element(mine.get_element_id())
    assert not other.is_locked()
    mine.lock()
    assert (mine.is_locked(), other.is_locked()) == (True, True)
    for action in (other.lock, other.delete, lambda: other.set_extra_data("mark", b"x"), mine.lock):
        with pytest.raises(ElementLockedError):
            action()
    other.unlock()
    assert mine.is_locked()
    mine.set_extra_data("mark", b"mine")
    assert content(other) == b"data"
    mine.unlock()
    assert not other.is_locked()
    other.lock()
    other.unlock()


def test_who_holds_the_lock_deletes(storage):
    element = store(storage)
    element.lock()
    with element.get_data_stream() as stream:
        assert stream.read() == b"data"
        element.delete()
    assert ids(storage) == []
    element.unlock()


def test_an_element_is_not_deleted_while_its_data_is_read(storage):
    element = store(storage, b"x" * 100_000)
    other = storage.get_backup_data_element(element.get_element_id())
    with element.get_data_stream() as stream:
        assert other.is_locked()
        for action in (other.delete, element.delete, other.lock):
            with pytest.raises(ElementLockedError):
                action()
        with other.get_data_stream() as second:
            assert second.read() == stream.read()
        other.set_extra_data("mark", b"x")
    assert not other.is_locked()
    other.delete()


def test_a_stream_that_was_passed_on_keeps_its_element(storage):
    element = store(storage)
    stream = element.get_data_stream()
    assert stream.read(2) == b"da"
    assert os.read(stream.fileno(), 10) == b"ta"
    stream.close()
    stream.close()
    assert not element.is_locked()


def test_asking_whether_it_is_locked_does_not_lock_others_out(storage):
    element = store(storage)
    other = storage.get_backup_data_element(element.get_element_id())
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            other.is_locked()

    asker = threading.Thread(target=ask, name="asker")
    asker.start()
    try:
        failed = 0
        for number in range(100):
            try:
                element.set_extra_data("mark", b"%d" % number)
                element.lock()
                element.unlock()
            except ElementLockedError:
                failed += 1
    finally:
        is_over.set()
        asker.join()
    assert failed < 20


# Queries


def test_a_query_goes_through_all_elements_sorted_by_folder_and_file_name(storage):
    for source in ("/b", "/a/z", "/a/b/c", "/a", "/a-b/c", "/a/b-c"):
        for timestamp in (5, 3):
            store(storage, source=SourceUrl(source), info=metainfo(timestamp))
    found = [element.get_element_id() for element in storage.query_backup_data_elements()]
    assert found == sorted(found, key=lambda one: (one.source_url.directory, f"{one.file_stem}.info"))
    assert len(found) == 12


def test_a_query_takes_what_its_filter_accepts_of_one_source_or_all(storage):
    for source in ("/a/b", "/a/b/c", "/a/b-c", "/a/c"):
        for timestamp in (1, 2):
            store(storage, source=SourceUrl(source), info=metainfo(timestamp))

    def is_second(element: StorageBackupDataElementInterface) -> bool:
        return element.get_metadata().timestamp == 2

    of_one = storage.query_backup_data_elements(source_url=SourceUrl("/a/b"))
    assert [str(one.get_element_id()) for one in of_one] == [
        "/a/19700101000001-b-full",
        "/a/19700101000002-b-full",
    ]
    assert len(list(storage.query_backup_data_elements(is_second))) == 4
    assert len(list(storage.query_backup_data_elements(is_second, SourceUrl("/a/c")))) == 1
    assert list(storage.query_backup_data_elements(source_url=SourceUrl("/missing/x"))) == []


def test_a_query_survives_what_is_deleted_and_stored_meanwhile(storage):
    for timestamp in range(20):
        store(storage, info=metainfo(timestamp))
    seen = []
    for element in storage.query_backup_data_elements(lambda one: one.get_data_size() == 4):
        seen.append(element.get_element_id())
        element.delete()
        for after in range(len(seen), 20, 3):
            try:
                victim = ElementId.label(SOURCE, after, BackupType.FULL)
                storage.get_backup_data_element(victim).delete()
            except ElementNotFoundError:
                continue
        store(storage, source=SourceUrl("/host/new"))
    assert len(set(seen)) == len(seen)
    assert all(element.get_source_url() != SOURCE for element in storage.query_backup_data_elements())


def test_a_query_that_is_left_half_way_leaves_nothing_open(storage):
    for timestamp in range(5):
        store(storage, info=metainfo(timestamp))
    query = storage.query_backup_data_elements()
    next(query)
    query.close()


def test_an_error_of_a_filter_reaches_the_caller(storage):
    store(storage)
    with pytest.raises(ZeroDivisionError):
        list(storage.query_backup_data_elements(lambda element: 1 // 0 == 0))


def test_the_same_element_is_found_by_its_metadata(storage):
    same = described(b"data", DataUuid=b"uuid", X=1)
    store(storage, b"other", info=described(b"other", DataUuid=b"uuid"))
    element = store(storage, info=same)
    found = storage.get_backup_data_element_for_metadata(SOURCE, same.replace(X=2))
    assert found.get_element_id() == element.get_element_id()
    assert storage.get_backup_data_element_for_metadata(SourceUrl("/host/x"), same) is None
    assert storage.get_backup_data_element_for_metadata(SOURCE, same.replace(DataUuid=b"y")) is None
    assert storage.get_backup_data_element_for_metadata(SOURCE, same.replace(Timestamp=1)) is None


# Completing what was prepared


def test_what_was_prepared_is_completed(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.write(b"data")
        element_id = handle.prepare(described(b"data"))
        assert content(storage.complete(element_id, described(b"data"))) == b"data"
        assert ids(storage) == [str(element_id)]
    assert ids(storage) == [str(element_id)], "a handle took away what somebody else completed"


def test_closing_what_somebody_completed_alike_hands_out_the_element(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        element_id = handle.prepare(metainfo())
        storage.complete(element_id, metainfo())
        assert handle.close().get_element_id() == element_id
    assert ids(storage) == [str(element_id)]


def test_closing_what_somebody_completed_differently_is_an_error(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        element_id = handle.prepare(metainfo())
        storage.complete(element_id, metainfo(X=1))
        with pytest.raises(ElementExistsError):
            handle.close()
    assert storage.get_backup_data_element(element_id).get_metadata() == metainfo(X=1)


def test_completing_what_is_complete_changes_nothing(storage):
    element = store(storage)
    again = storage.complete(element.get_element_id(), metainfo(X=1))
    assert again.get_metadata() == element.get_metadata() == described(b"data")


def test_completing_what_was_never_there_says_so(storage):
    for url in (SOURCE, SourceUrl("/nowhere/at/all")):
        assert storage.complete(ElementId.label(url, 5, BackupType.FULL), metainfo()) is None


def test_data_that_is_not_what_its_checksum_says_is_not_completed(storage):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.write(b"data")
        element_id = handle.prepare(described(b"data"))
        with pytest.raises(IntegrityError):
            storage.complete(element_id, described(b"other"))
        assert ids(storage) == []


# Many at once


def test_many_threads_storing_the_same_second_lose_and_overwrite_nothing(storage):
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for turn in range(15):
                store(storage, f"{number} {turn}".encode())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), name=f"storing {number}") for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    stored = sorted(content(element) for element in storage.query_backup_data_elements())
    assert stored == sorted(f"{number} {turn}".encode() for number in range(6) for turn in range(15))
    assert list(storage.find_leftovers()) == []


# Listings


def test_a_listing_tells_what_the_elements_say_and_leaves_out_what_is_not_meant(storage):
    one = store(storage, b"one", info=metainfo(1_700_000_000, DataUuid=b"1"))
    two = store(storage, b"two!", info=metainfo(1_700_000_060, "inc", DataUuid=b"2", Predecessor=b"1"))
    store(storage, source=SourceUrl("/host/etc.members"))
    store(storage, source=SourceUrl("/host/etc/below"))
    first, second = (str(element.get_element_id()) for element in (one, two))
    exact = ElementSelection.of_source(SOURCE)
    assert list(storage.list_ids()) == ids(storage)
    assert list(storage.list_ids(exact)) == [first, second]
    assert len(list(storage.list_ids(ElementSelection("/host/etc")))) == 3
    assert len(list(storage.list_ids(ElementSelection("*t*", with_members=False)))) == 3
    assert list(storage.list_ids(ElementSelection(until=1_700_000_000, data_uuids=frozenset([b"1"])))) == [
        first
    ]
    assert list(storage.list_ids(exact._replace(backup_type=BackupType.INC))) == [second]
    facts = list(storage.list_facts(exact._replace(since=1_700_000_060)))
    arrival = two.get_arrival_time()
    assert facts == [(second, "/host/etc", "inc", 1_700_000_060, b"2", b"1", None, False, arrival, 4, None)]


def test_a_listing_is_of_a_source_of_all_below_it_or_of_what_matches(storage):
    for source in ("/a/b/c", "/a/b/d", "/a/bb/c", "/x"):
        store(storage, source=SourceUrl(source))

    def sources(pattern):
        return [facts.source_url for facts in storage.list_facts(ElementSelection(pattern))]

    assert sources("/a/b/c") == ["/a/b/c"]
    assert sources("/a/b") == sources("/a/b/") == ["/a/b/c", "/a/b/d"]
    assert sources("/a/*/c") == ["/a/b/c", "/a/bb/c"]
    assert len(sources(None)) == 4
    assert sources("/nothing") == sources("nothing") == sources("/.partial") == []


def test_a_listing_can_be_left_to_another_thread(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "state").mkdir()
    index = catalogue_path(str(tmp_path / "state"), str(tmp_path / "data"))
    with DefaultFileStorage(str(tmp_path / "data"), catalogue=index) as storage:
        for number in range(3):
            store(storage, source=SourceUrl(f"/host{number}/etc"))
        listing = storage.list_ids()
        found = [next(listing)]
        thread = threading.Thread(target=lambda: found.extend(listing), name="listing")
        thread.start()
        thread.join()
        assert found == ids(storage)
    assert os.path.exists(index)
