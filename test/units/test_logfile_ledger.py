"""Elements and the memory of them are one step, and a file is removed only for an element that there is."""

import base64
import json
import os

import pytest
from log_bench import LogBench

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import StateError, StorageError
from guerillabackup.generator.pending import store_together
from guerillabackup.generator.state import StateDirectory
from guerillabackup.units.logfile_ledger import LogLedger
from guerillabackup.units.logfile_memory import StoredFile, dump_files

URL = SourceUrl("/host/app.log")


@pytest.fixture
def bench(tmp_path):
    return LogBench(tmp_path)


def interrupted(bench, names, *, publish=True):
    """What a run leaves that ended right after it had written, or published, elements of files."""
    files, parts, predecessor = [], [], None
    for name in names:
        status = bench.log(name, name).stat()
        uuid = name.encode()
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        files.append(StoredFile(URL, uuid, str(bench.logs), name, *identity))
        handle = bench.storage.get_sink_handle(URL)
        handle.write(uuid)
        values = {"BackupType": "full", "Timestamp": 1_700_000_000, "DataUuid": uuid}
        if predecessor is not None:
            values["Predecessor"] = predecessor
        parts.append((handle, BackupElementMetainfo(values)))
        predecessor = uuid
    with StateDirectory(str(bench.state)) as state:
        store_together(state, parts, {"Files": dump_files(files)})
    if not publish:
        for info in (bench.spool / "host").glob("*.info"):
            info.unlink()
    return files


def open_ledger(bench):
    ledger = LogLedger(str(bench.state), bench.storage)
    heads = dict(ledger.heads)
    ledger.close()
    return heads


@pytest.mark.parametrize("publish", [True, False])
def test_what_was_begun_is_finished_and_the_files_are_removed(bench, publish):
    interrupted(bench, ["one", "two"], publish=publish)
    assert open_ledger(bench) == {str(URL): b"two"}
    assert bench.names() == []
    assert len(list(bench.storage.query_backup_data_elements())) == 2
    assert not (bench.state / "state.pending").exists()


def test_files_of_elements_that_vanished_before_they_were_remembered_stay(bench):
    interrupted(bench, ["one", "two"])
    for element in list(bench.storage.query_backup_data_elements()):
        element.delete()
    assert open_ledger(bench) == {str(URL): b"two"}
    assert bench.names() == ["one", "two"]


def test_files_of_elements_that_were_remembered_and_moved_on_are_removed(bench):
    interrupted(bench, ["one", "two"])
    (bench.state / "state.current").write_text(json.dumps([1, {str(URL): "dHdv"}]))
    for element in list(bench.storage.query_backup_data_elements()):
        element.delete()
    assert open_ledger(bench) == {str(URL): b"two"}
    assert bench.names() == []


def test_damaged_data_is_not_stored_nor_what_follows_it_and_their_files_stay(bench):
    files = interrupted(bench, ["one", "two", "three"], publish=False)
    pending = json.loads((bench.state / "state.pending").read_text())
    damaged = bench.spool / "host" / (pending["Elements"][1]["ElementId"].rpartition("/")[2] + ".data")
    wrong = BackupElementMetainfo(
        {"BackupType": "full", "Timestamp": 1, "DataUuid": b"two", "StorageFileChecksumSha512": b"0" * 64}
    )
    assert damaged.exists()
    pending["Elements"][1]["Metainfo"] = base64.b64encode(wrong.serialize()).decode()
    (bench.state / "state.pending").write_text(json.dumps(pending))
    assert open_ledger(bench) == {str(URL): b"one"}
    assert bench.names() == sorted(file.name for file in files[1:])


@pytest.mark.parametrize(
    "details", [{}, {"Files": []}, {"Files": 1}, {"Files": [{}]}, {"Files": [{"SourceUrl": "/a"}]}]
)
def test_a_damaged_note_of_what_is_pending_is_told(bench, details):
    interrupted(bench, ["one"])
    path = bench.state / "state.pending"
    path.write_text(json.dumps({**json.loads(path.read_text()), "Details": details}))
    with pytest.raises(StateError, match=r"state\.pending is damaged"):
        open_ledger(bench)
    assert bench.names() == ["one"]


def test_a_second_unit_with_the_same_state_is_refused(bench):
    ledger = LogLedger(str(bench.state), bench.storage)
    with pytest.raises(StateError, match="another generator"):
        LogLedger(str(bench.state), bench.storage)
    ledger.close()
    ledger.close()


def test_a_run_is_remembered_at_its_end_unless_it_is_given_up(bench):
    ledger = LogLedger(str(bench.state), bench.storage)
    assert ledger.last_run == -1
    ledger.begin_run(1000)
    ledger.end_run()
    ledger.begin_run(2000)
    ledger.give_up_run()
    assert ledger.last_run == 1000
    ledger.close()
    assert LogLedger(str(bench.state), bench.storage).last_run == 1000


def test_an_interrupted_run_is_due_again(bench):
    interrupted(bench, ["one"])
    (bench.state / "state.current").write_text(json.dumps([1000, {}]))
    ledger = LogLedger(str(bench.state), bench.storage)
    assert ledger.last_run == -1
    ledger.close()


def test_a_full_disk_while_remembering_is_made_good_by_the_next_start(bench, monkeypatch):
    ledger = LogLedger(str(bench.state), bench.storage)
    status = bench.log("one", "one").stat()
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    handle = bench.storage.get_sink_handle(URL)
    handle.write(b"one")
    metainfo = BackupElementMetainfo({"BackupType": "full", "Timestamp": 1, "DataUuid": b"one"})
    rename = os.rename

    def refuse(source, target, **options):
        if target == "state.current":
            raise OSError(28, "No space left on device")
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match="No space left"):
        ledger.store([(handle, metainfo)], [StoredFile(URL, b"one", str(bench.logs), "one", *identity)])
    assert bench.names() == ["one"]
    monkeypatch.undo()
    ledger.close()
    assert open_ledger(bench) == {str(URL): b"one"}
    assert bench.names() == []
    assert len(list(bench.storage.query_backup_data_elements())) == 1
