"""What is kept of refused elements, within its limits, under names that nobody chooses."""

import json
import os
import re
from pathlib import Path

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.transfer.quarantine import Quarantine, QuarantineLimits, agent_directory

URL = SourceUrl("/host/log")
INFO = BackupElementMetainfo({"BackupType": "full", "Timestamp": 7})


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def data_fd(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 1000)
    descriptor = os.open(path, os.O_RDONLY)
    os.lseek(descriptor, 500, os.SEEK_SET)
    yield descriptor
    os.close(descriptor)


def make(tmp_path: Path, **limits: int) -> Quarantine:
    return Quarantine(str(tmp_path / "q"), QuarantineLimits(**limits), now=lambda: 1234.5)


def names(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "q")) if (tmp_path / "q").exists() else []


def test_data_metadata_and_reason_are_kept_for_the_owner_alone(tmp_path, data_fd):
    path = make(tmp_path).put(key(1), URL, INFO, "wrong", data_fd)
    assert path == str(tmp_path / "q" / f"{key(1).hex()}.reason")
    assert json.loads(Path(path).read_text()) == {
        "Source": "/host/log", "Reason": "wrong", "First": 1234, "Last": 1234, "Count": 1, "HasData": True,
    }  # fmt: skip
    assert (tmp_path / "q" / f"{key(1).hex()}.data").read_bytes() == b"x" * 1000
    assert (tmp_path / "q" / f"{key(1).hex()}.info").read_bytes() == INFO.serialize()
    assert (tmp_path / "q").stat().st_mode & 0o777 == 0o700
    assert all((tmp_path / "q" / name).stat().st_mode & 0o777 == 0o600 for name in names(tmp_path))


def test_the_same_element_is_counted_and_kept_once_also_after_a_restart(tmp_path, data_fd):
    quarantine = make(tmp_path)
    for turn in range(6):
        if turn % 2:
            quarantine = make(tmp_path)
        path = quarantine.put(key(1), URL, INFO, f"wrong {turn}", data_fd)
    assert len(names(tmp_path)) == 3
    assert json.loads(Path(path).read_text())["Count"] == 6
    assert quarantine.usage() == (1, 1000 + len(INFO.serialize()))


def test_what_has_no_room_leaves_only_its_reason_and_removes_nothing(tmp_path, data_fd):
    quarantine = make(tmp_path, max_bytes=1100)
    for number in range(3):
        assert quarantine.put(key(number), URL, INFO, "wrong", data_fd)
    data = [name for name in names(tmp_path) if name.endswith(".data")]
    assert data == [f"{key(0).hex()}.data"]
    assert len([name for name in names(tmp_path) if name.endswith(".reason")]) == 3
    assert quarantine.usage()[1] <= 1100


def test_at_the_limit_of_entries_nothing_more_is_kept_but_the_log_says_why(tmp_path, data_fd, caplog):
    quarantine = make(tmp_path, max_entries=2)
    paths = [quarantine.put(key(number), URL, INFO, "wrong", data_fd) for number in range(5)]
    assert [bool(path) for path in paths] == [True, True, False, False, False]
    assert (quarantine.usage()[0], quarantine.dropped) == (2, 3)
    assert "its limit: only this line says why one more was refused: wrong" in caplog.text
    assert make(tmp_path, max_entries=2).put(key(9), URL, INFO, "wrong", data_fd) == ""


def test_metadata_alone_has_no_data(tmp_path):
    path = make(tmp_path).put(key(1), URL, INFO, "wrong")
    assert json.loads(Path(path).read_text())["HasData"] is False
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["info", "reason"]


def test_a_copy_that_a_crash_cut_off_is_taken_away_and_strange_files_stay(tmp_path, data_fd):
    (tmp_path / "q").mkdir()
    for name in (f"{key(1).hex()}.data", f"{key(1).hex()}.info.tmp", "notes.txt", "README"):
        (tmp_path / "q" / name).write_bytes(b"x")
    assert make(tmp_path).usage() == (0, 0)
    assert names(tmp_path) == ["README", "notes.txt"]


def test_a_reason_that_cannot_be_read_begins_anew(tmp_path):
    quarantine = make(tmp_path)
    path = Path(quarantine.put(key(1), URL, INFO, "wrong"))
    for content in (b"", b"[", b"[]", b'{"First": "x", "Count": []}', b"\xff"):
        path.write_bytes(content)
        assert json.loads(Path(quarantine.put(key(1), URL, INFO, "wrong")).read_text())["Count"] == 1


def test_what_cannot_be_written_is_told_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "q").write_text("a file")
    quarantine = make(tmp_path)
    assert quarantine.put(key(1), URL, INFO, "wrong") == ""
    assert quarantine.dropped == 1
    assert "the evidence cannot be kept" in caplog.text


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("peer-1_A", "peer-1_A"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("host.example.org", "host%2Eexample%2Eorg"),
        ("ü\0\n", "%C3%BC%00%0A"),
    ],
)
def test_the_name_of_an_agent_cannot_lead_elsewhere(agent, name):
    assert agent_directory("/state", agent) == f"/state/quarantine/{name}"


def test_agents_with_long_names_or_none_have_directories_of_their_own():
    paths = {agent_directory("/s", agent) for agent in ("", "a" * 300, "a" * 301, "." * 200)}
    assert len(paths) == 4
    assert all(len(os.path.basename(path)) <= 200 for path in paths)


def test_what_is_beyond_the_limit_is_told_once_a_minute_with_a_count(tmp_path, data_fd, caplog):
    now = [100.0]
    quarantine = Quarantine(str(tmp_path / "q"), QuarantineLimits(max_entries=1), lambda: now[0])
    for number in range(10):
        quarantine.put(key(number), URL, INFO, "wrong", data_fd)
    assert len(caplog.messages) == 1
    now[0] = 161.0
    for _ in range(50):
        quarantine.put(key(99), URL, INFO, "wrong", data_fd)
    assert len(caplog.messages) == 2
    assert re.search("so it was with 8 others since the last such line", caplog.messages[1])


def test_there_is_room_again_once_somebody_has_emptied_it(tmp_path, data_fd):
    quarantine = make(tmp_path, max_entries=2, max_bytes=1300)
    for number in range(3):
        quarantine.put(key(number), URL, INFO, "wrong", data_fd)
    assert (quarantine.usage()[0], quarantine.dropped) == (2, 1)
    for name in names(tmp_path):
        (tmp_path / "q" / name).unlink()
    assert quarantine.put(key(4), URL, INFO, "wrong", data_fd)
    assert [name for name in names(tmp_path) if name.endswith(".data")] == [f"{key(4).hex()}.data"]
    assert quarantine.usage()[0] == 1


def test_what_is_settled_makes_room_first_and_is_a_finding_again_when_refused_again(tmp_path):
    now = [1.0]
    directory = tmp_path / "quarantine"
    quarantine = Quarantine(str(directory), QuarantineLimits(max_entries=2), lambda: now[0])
    source, metainfo = URL, INFO
    keys = [bytes([number]) * 16 for number in range(4)]
    for key in keys[:2]:
        assert quarantine.put(key, source, metainfo, "bad")
    assert quarantine.put(keys[2], source, metainfo, "bad") == ""
    quarantine.settle(keys[3])
    quarantine.settle(keys[1])
    assert json.loads((directory / f"{keys[1].hex()}.reason").read_text())["Settled"] == 1
    assert quarantine.put(keys[1], source, metainfo, "bad again")
    assert "Settled" not in json.loads((directory / f"{keys[1].hex()}.reason").read_text())
    assert quarantine.put(keys[2], source, metainfo, "bad") == ""
    quarantine.settle(keys[0])
    assert quarantine.put(keys[2], source, metainfo, "bad")
    assert {path.name.partition(".")[0] for path in directory.iterdir()} == {keys[1].hex(), keys[2].hex()}
