"""What is remembered of chains, and what a journal that is not as it was written does to that: nothing."""

import os
import random
import tracemalloc

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.transfer import chain_memory
from guerillabackup.transfer.chain_memory import JOURNAL, MAX_RECENT, ChainMemory, ChainStep
from guerillabackup.transfer.element_key import uuid_key

URL = SourceUrl("/host/log")


def info(uuid: bytes | None, predecessor: bytes | None = None) -> BackupElementMetainfo:
    values = {"BackupType": "inc", "Timestamp": 7, "DataUuid": uuid, "Predecessor": predecessor}
    return BackupElementMetainfo(values)


def number(value: int) -> bytes:
    return b"uuid%d" % value


def receive(memory: ChainMemory, value: int, before: int | None, url: SourceUrl = URL) -> ChainStep:
    return memory.received(url, info(number(value), None if before is None else number(before)))


def test_a_chain_in_order_is_no_doubt_also_after_a_restart(tmp_path):
    for value in range(30):
        memory = ChainMemory(str(tmp_path / "a"))
        assert receive(memory, value, value - 1 if value else None) == ChainStep()
        memory.close()


def test_elements_without_a_uuid_have_no_chain(tmp_path):
    memory = ChainMemory(None)
    assert memory.received(URL, info(None)) == ChainStep()
    assert memory.received(URL, info(None, b"x")) == ChainStep()


def test_what_was_here_is_learned_without_a_doubt():
    memory = ChainMemory(None)
    for value in (1, 1, 2):
        step = memory.received(URL, info(number(value), number(value - 1)), was_held=True)
        assert step == ChainStep()
    assert receive(memory, 3, 2) == ChainStep()


def test_a_gap_is_told_by_the_unknown_predecessor():
    memory = ChainMemory(None)
    receive(memory, 1, None)
    assert receive(memory, 3, 2) == ChainStep(None, True)
    assert not memory.is_known(URL, number(2))
    assert receive(memory, 2, 1) == ChainStep()
    assert memory.is_known(URL, number(2))


def test_sources_do_not_know_of_one_another():
    memory = ChainMemory(None)
    receive(memory, 1, None)
    assert receive(memory, 5, 1, SourceUrl("/host/log.members")) == ChainStep()
    assert not memory.is_known(SourceUrl("/other"), number(1))


def test_a_journal_is_written_anew_and_tells_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(chain_memory, "SLACK", 50)
    memory = ChainMemory(str(tmp_path / "a"))
    for value in range(1000):
        receive(memory, value, value - 1 if value else None)
    memory.close()
    assert (tmp_path / "a" / JOURNAL).read_bytes().count(b"\n") <= 50 + 3 * MAX_RECENT
    again = ChainMemory(str(tmp_path / "a"))
    assert [value for value in range(1000) if again.is_known(URL, number(value))] == list(
        range(1000 - MAX_RECENT, 1000)
    )


@pytest.mark.parametrize("seed", range(30))
def test_whatever_became_of_the_journal_it_is_read_as_far_as_it_goes(tmp_path, seed):
    memory = ChainMemory(str(tmp_path / "a"))
    for value in range(5):
        receive(memory, value, value - 1 if value else None)
    memory.close()
    path = tmp_path / "a" / JOURNAL
    choose = random.Random(seed)
    content = bytearray(path.read_bytes())
    if seed % 2:
        del content[choose.randrange(len(content)) :]
    for _ in range(choose.randrange(5)):
        content[choose.randrange(len(content))] = choose.randrange(256)
    path.write_bytes(content)
    again = ChainMemory(str(tmp_path / "a"))
    receive(again, 9, 4)
    again.close()


def test_a_journal_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "a").write_text("a file")
    memory = ChainMemory(str(tmp_path / "a"))
    for value in range(3):
        assert receive(memory, value, value - 1 if value else None) == ChainStep()
    assert caplog.text.count("is not remembered") == 1


def test_no_more_sources_are_remembered_than_the_limit(monkeypatch):
    monkeypatch.setattr(chain_memory, "MAX_SOURCES", 3)
    memory = ChainMemory(None)
    for value in range(5):
        receive(memory, 1, None, SourceUrl(f"/host/{value}"))
    known = [value for value in range(5) if memory.is_known(SourceUrl(f"/host/{value}"), number(1))]
    assert known == [2, 3, 4]


def test_the_journal_is_for_its_owner_alone(tmp_path):
    memory = ChainMemory(str(tmp_path / "agents" / "a"))
    receive(memory, 1, None)
    memory.close()
    assert os.stat(tmp_path / "agents" / "a" / JOURNAL).st_mode & 0o777 == 0o600


def test_a_source_takes_little_memory_however_long_its_name_is(tmp_path):
    tracemalloc.start()
    try:
        memory = ChainMemory(str(tmp_path / "a"))
        before, _ = tracemalloc.get_traced_memory()
        for value in range(2000):
            receive(memory, 1, None, SourceUrl(f"/{'/'.join(['p' * 200] * 8)}/{value}"))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    memory.close()
    assert (after - before) / 2000 < 400
    assert (tmp_path / "a" / JOURNAL).stat().st_size < 2000 * 120


def test_a_journal_that_has_names_of_sources_is_understood(tmp_path):
    (tmp_path / "a").mkdir()
    key = uuid_key(number(1)).hex()
    (tmp_path / "a" / JOURNAL).write_text(f"{URL} {key} -\n")
    memory = ChainMemory(str(tmp_path / "a"))
    assert memory.is_known(URL, number(1))
    assert receive(memory, 2, 1) == ChainStep()
    memory.close()
