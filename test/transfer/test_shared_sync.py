"""One sync for what is ready together: each element stored once, its errors told to its own thread."""

import hashlib
import random
import threading
from pathlib import Path

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.shared_sync import MAX_GROUP, SharedSync

THREADS = 8
EACH = 25


def metainfo(data: bytes, number: int) -> BackupElementMetainfo:
    digest = hashlib.sha512(data).digest()
    return BackupElementMetainfo(
        {"BackupType": "full", "Timestamp": 1_700_000_000 + number, "StorageFileChecksumSha512": digest}
    )


class Watched:
    """Hands on to a storage, and says how large the groups were."""

    def __init__(self, storage):
        self._storage = storage
        self.groups = []
        self.running = 0

    def get_sink_handle(self, source_url):
        return self._storage.get_sink_handle(source_url)

    def close_together(self, closing):
        self.running += 1
        assert self.running == 1, "one sync at a time"
        self.groups.append(len(closing))
        try:
            return self._storage.close_together(closing)
        finally:
            self.running -= 1


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        yield MemoryStorage()
    else:
        with DefaultFileStorage(str(tmp_path)) as file_storage:
            yield file_storage


def run_threads(work):
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []


@pytest.mark.parametrize("seed", range(5))
def test_whatever_threads_store_at_once_is_stored_once_and_only_failures_fail(storage, seed):
    watched = Watched(storage)
    sync = SharedSync(watched)
    stored, failed = [], []

    def work(number):
        choose = random.Random(seed * 100 + number)
        for turn in range(EACH):
            data = b"%d %d" % (number, turn)
            handle = watched.get_sink_handle(SourceUrl(f"/host/{choose.randrange(3)}/log"))
            handle.write(data)
            is_bad = choose.random() < 0.1
            if is_bad:
                handle.abort()
            try:
                element = sync.store(handle, metainfo(data, choose.randrange(10)))
            except StorageError:
                assert is_bad
                failed.append(data)
                continue
            assert not is_bad
            with element.get_data_stream() as stream:
                assert stream.read() == data
            stored.append(element.get_element_id())

    run_threads(work)
    assert len(stored) + len(failed) == THREADS * EACH
    found = [element.get_element_id() for element in storage.query_backup_data_elements()]
    assert sorted(found) == sorted(stored)
    assert list(storage.find_leftovers()) == []
    assert sum(watched.groups) == THREADS * EACH
    assert max(watched.groups) <= MAX_GROUP


def test_what_becomes_ready_during_a_sync_shares_the_next_one(storage):
    watched = Watched(storage)
    sync = SharedSync(watched)
    is_running, may_end = threading.Event(), threading.Event()
    close_together = watched.close_together

    def slow(closing):
        is_running.set()
        assert may_end.wait(60)
        return close_together(closing)

    watched.close_together = slow
    handles = [watched.get_sink_handle(SourceUrl("/host/log")) for _ in range(5)]
    threads = [threading.Thread(target=sync.store, args=(handle, metainfo(b"", 0))) for handle in handles]
    threads[0].start()
    assert is_running.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(sync._ready) < 4:
        pass
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert watched.groups == [1, 4]


def test_a_defect_of_the_storage_leaves_nobody_waiting():
    storage = MemoryStorage()
    watched = Watched(storage)
    sync = SharedSync(watched)
    turns = iter([ZeroDivisionError()])
    close_together = watched.close_together

    def defective(closing):
        for error in turns:
            raise error
        return close_together(closing)

    watched.close_together = defective
    with pytest.raises(ZeroDivisionError):
        sync.store(watched.get_sink_handle(SourceUrl("/host/log")), metainfo(b"", 0))
    assert sync.store(watched.get_sink_handle(SourceUrl("/host/log")), metainfo(b"", 0))


def test_several_elements_are_stored_together_and_fail_alone(storage):
    watched = Watched(storage)
    sync = SharedSync(watched)
    closing = []
    for number in range(100):
        handle = watched.get_sink_handle(SourceUrl("/host/log"))
        handle.write(b"%d" % number)
        closing.append((handle, metainfo(b"%d" % number, number)))
    closing[7][0].abort()
    results = sync.store_together(closing)
    assert [number for number, each in enumerate(results) if isinstance(each, StorageError)] == [7]
    for number, element in enumerate(results):
        if number != 7:
            with element.get_data_stream() as stream:
                assert stream.read() == b"%d" % number
    assert watched.groups == [100]


def test_groups_of_several_threads_each_get_their_own_results(storage):
    watched = Watched(storage)
    sync = SharedSync(watched)

    def work(number):
        for turn in range(EACH):
            size = 1 + (number + turn) % 5
            contents = [b"%d %d %d" % (number, turn, each) for each in range(size)]
            closing = []
            for each, content in enumerate(contents):
                handle = watched.get_sink_handle(SourceUrl(f"/host/{number % 3}/log"))
                handle.write(content)
                closing.append((handle, metainfo(content, each)))
            found = []
            for element in sync.store_together(closing):
                with element.get_data_stream() as stream:
                    found.append(stream.read())
            assert found == contents

    run_threads(work)
    assert max(watched.groups) < MAX_GROUP + 5
