"""The memory of a unit of commands survives being written and read."""

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.units.command_memory import (
    SourceMemory,
    dump_memories,
    dump_memory,
    parse_memories,
    parse_memory,
    remembered,
)


@pytest.mark.parametrize(
    "memory",
    [SourceMemory(), SourceMemory(7, b"uuid", 0, None), SourceMemory(7, b"u", 9, ClockAnchor("a", 1.5))],
)
def test_it_is_read_as_it_was_written(memory):
    assert parse_memory(dump_memory(memory)) == memory
    assert parse_memories(dump_memories({SourceUrl("/a"): memory})) == {SourceUrl("/a"): memory}


def test_an_element_is_remembered():
    metainfo = BackupElementMetainfo({"BackupType": "full", "Timestamp": 5, "DataUuid": b"x"})
    assert remembered(metainfo, 3, None) == SourceMemory(5, b"x", 3, None)


@pytest.mark.parametrize(
    "change",
    [
        {"LastTime": "1"},
        {"LastUuid": None},
        {"LastUuid": "*"},
        {"ContentSize": True},
        {"Clock": [1, 2]},
        {"Clock": 3},
    ],
)
def test_what_was_never_written_is_refused(change):
    with pytest.raises((TypeError, ValueError)):
        parse_memory({**dump_memory(SourceMemory()), **change})
    with pytest.raises((TypeError, ValueError)):
        parse_memories([change])
