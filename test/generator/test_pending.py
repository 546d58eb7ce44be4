"""Elements and the memory of them are one step: whatever fails, and wherever, neither is there alone."""

import os
import shutil

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ElementLockedError, StateError, StorageError
from guerillabackup.generator.pending import Presence, forget_pending, recover, store_together
from guerillabackup.generator.state import PENDING, StateDirectory
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.storage.memory import MemoryStorage

URLS = (SourceUrl("/host/a"), SourceUrl("/host/a.members"))
DETAILS = {"what": ["to", "remember"], "number": 1}


@pytest.fixture
def state(tmp_path):
    with StateDirectory(str(tmp_path / "state")) as directory:
        yield directory


@pytest.fixture(params=["files", "memory"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage()
        return
    (tmp_path / "spool").mkdir()
    opened = DefaultFileStorage(str(tmp_path / "spool"))
    yield opened
    opened.close()


class Failing(SinkHandleInterface):
    """A handle one of whose operations fails."""

    def __init__(self, handle, operation, error=StorageError):
        self._handle, self._operation, self._error = handle, operation, error

    def _check(self, name):
        if name == self._operation:
            raise self._error(f"{name} failed")

    def get_sink_stream(self):
        return self._handle.get_sink_stream()

    def write(self, data):
        self._handle.write(data)

    def prepare(self, metainfo):
        self._check("prepare")
        return self._handle.prepare(metainfo)

    def close(self, metainfo=None):
        self._check("close")
        return self._handle.close(metainfo)

    def get_element_id(self):
        return self._handle.get_element_id()

    def abort(self):
        self._handle.abort()


def make_parts(storage, *failures):
    parts = []
    for number, url in enumerate(URLS):
        handle = storage.get_sink_handle(url)
        handle.write(b"data of %d" % number)
        metainfo = BackupElementMetainfo({"BackupType": "full", "Timestamp": 1_700_000_000 + number})
        failure = dict(failures).get(number)
        parts.append((handle if failure is None else Failing(handle, **failure), metainfo))
    return parts


def stored(storage):
    return [str(element.get_source_url()) for element in storage.query_backup_data_elements()]


def test_what_is_stored_is_pending_until_it_is_remembered(state, storage):
    elements = store_together(state, make_parts(storage), DETAILS)
    assert [element.get_source_url() for element in elements] == list(URLS)
    assert state.has(PENDING)
    forget_pending(state)
    assert recover(state, storage) is None
    assert stored(storage) == [str(url) for url in URLS]


def test_nothing_pending_is_nothing_to_recover(state, storage):
    assert recover(state, storage) is None


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("failure", [{"operation": "prepare"}, {"operation": "close"}])
def test_a_failure_leaves_no_element_and_nothing_pending(state, storage, part, failure):
    with pytest.raises(StorageError, match="failed"):
        store_together(state, make_parts(storage, (part, failure)), DETAILS)
    assert stored(storage) == []
    assert list(storage.find_leftovers()) == []
    assert os.listdir(state.path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupt_takes_everything_back(state, storage, error):
    with pytest.raises(error):
        store_together(state, make_parts(storage, (1, {"operation": "close", "error": error})), DETAILS)
    assert stored(storage) == []
    assert os.listdir(state.path) == []


def test_a_note_that_cannot_be_written_leaves_no_element(state, storage):
    os.mkdir(state.file_path(f"{PENDING}.tmp"))
    with pytest.raises(StorageError, match=r"state\.pending"):
        store_together(state, make_parts(storage), DETAILS)
    assert stored(storage) == []
    assert list(storage.find_leftovers()) == []
    assert not state.has(PENDING)


def test_what_cannot_be_taken_back_stays_pending_and_is_finished_later(state, storage):
    class Held(Failing):
        """Somebody begins to read the first element before the second fails."""

        def close(self, metainfo=None):
            (element,) = storage.query_backup_data_elements()
            streams.append(element.get_data_stream())
            raise StorageError("close failed")

    streams = []
    (first, second) = make_parts(storage)
    with pytest.raises(ElementLockedError):
        store_together(state, [first, (Held(second[0], "close"), second[1])], DETAILS)
    recovered = recover(state, storage)
    assert recovered is not None
    assert (recovered.details, recovered.presence) == (DETAILS, Presence.STORED)
    assert stored(storage) == ["/host/a"]
    streams[0].close()


class Crash:
    """What a crash leaves: elements prepared, some of them visible, and the note of what is pending."""

    def __init__(self, state, storage, visible):
        with StateDirectory(os.path.join(state.path, "elsewhere")) as other:
            store_together(other, make_parts(MemoryStorage()), DETAILS)
            note = other.load(PENDING)
        shutil.rmtree(os.path.join(state.path, "elsewhere"))
        self.handles = [handle for handle, metainfo in make_parts(storage) if handle.prepare(metainfo)]
        for handle in self.handles[:visible]:
            handle.close()
        state.save(PENDING, note)


@pytest.mark.parametrize("visible", [0, 1, 2])
def test_a_crash_after_the_note_is_finished_by_the_next_start(state, storage, visible):
    crash = Crash(state, storage, visible)
    recovered = recover(state, storage)
    assert (recovered.details, recovered.presence) == (DETAILS, Presence.STORED)
    assert stored(storage) == [str(url) for url in URLS]
    assert state.has(PENDING)
    for handle in crash.handles[visible:]:
        handle.abort()
    assert stored(storage) == [str(url) for url in URLS]


def test_recovering_can_be_repeated_until_it_is_forgotten(state, storage):
    crash = Crash(state, storage, 1)
    assert recover(state, storage) == recover(state, storage)
    forget_pending(state)
    assert recover(state, storage) is None
    assert len(crash.handles) == 2


@pytest.mark.parametrize("gone", [[0], [0, 1]])
def test_an_element_that_went_on_its_way_meanwhile_is_remembered(state, storage, gone):
    Crash(state, storage, 2)
    for element in list(storage.query_backup_data_elements()):
        if URLS.index(element.get_source_url()) in gone:
            element.delete()
    recovered = recover(state, storage)
    assert (recovered.details, recovered.presence) == (DETAILS, Presence.MOVED_ON)


def test_damaged_data_was_never_stored_and_neither_is_its_companion(state, tmp_path):
    (tmp_path / "spool").mkdir()
    storage = DefaultFileStorage(str(tmp_path / "spool"))
    metainfo = BackupElementMetainfo(
        {"BackupType": "full", "Timestamp": 1, "StorageFileChecksumSha512": b"\1" * 64}
    )
    companion = BackupElementMetainfo({"BackupType": "full", "Timestamp": 1})
    with StateDirectory(str(tmp_path / "other")) as other:
        handles = [storage.get_sink_handle(url) for url in URLS]
        store_together(other, list(zip(handles, (metainfo, companion), strict=True)), DETAILS)
        note = other.load(PENDING)
    for info in (tmp_path / "spool").rglob("*.info"):
        info.unlink()
    state.save(PENDING, note)
    assert recover(state, storage).presence is Presence.DAMAGED
    assert stored(storage) == []
    storage.close()


@pytest.mark.parametrize(
    "note",
    [
        [],
        {},
        {"Elements": []},
        {"Elements": [], "Details": {}},
        {"Elements": [{}], "Details": {}},
        {"Elements": [{"ElementId": "/a/20200101000000-b-full", "Metainfo": "?"}], "Details": {}},
        {"Elements": [{"ElementId": "nonsense", "Metainfo": ""}], "Details": {}},
        {"Elements": [{"ElementId": "/a/20200101000000-b-full", "Metainfo": "e30="}], "Details": {}},
        {"Elements": [{"ElementId": "/a/20200101000000-b-full", "Metainfo": 5}], "Details": {}},
        {"Elements": 7, "Details": {}},
    ],
)
def test_a_note_that_makes_no_sense_is_told_with_the_remedy(state, note):
    state.save(PENDING, note)
    with pytest.raises(StateError, match=r"state\.pending is damaged .*: remove it and state\.current"):
        recover(state, MemoryStorage())
