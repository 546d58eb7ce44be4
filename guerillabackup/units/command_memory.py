"""What a CommandBackupUnit remembers of its sources, and the form in which that is kept. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.units.memory_values import (
    decode_uuid,
    dump_anchor,
    encode_uuid,
    expect_mapping,
    parse_anchor,
)


@dataclass(frozen=True, slots=True)
class SourceMemory:
    """Of the newest element: its time in UTC seconds, its DataUuid, the bytes the command wrote.

    `anchor` says how the clock stood then.
    """

    last_time: int | None = None
    last_uuid: bytes | None = None
    content_size: int | None = None
    anchor: ClockAnchor | None = None


def remembered(
    metainfo: BackupElementMetainfo, content_size: int, anchor: ClockAnchor | None
) -> SourceMemory:
    """What is remembered after an element."""
    return SourceMemory(metainfo.timestamp, metainfo.data_uuid, content_size, anchor)


def parse_memories(value: Any) -> dict[SourceUrl, SourceMemory]:
    """All sources of a state file; raises TypeError, ValueError, KeyError, SourceUrlError."""
    return {SourceUrl(key): parse_memory(item) for key, item in expect_mapping(value).items()}


def dump_memories(memory: Mapping[SourceUrl, SourceMemory]) -> dict[str, Any]:
    """The value of a state file."""
    return {str(url): dump_memory(item) for url, item in memory.items()}


def dump_memory(memory: SourceMemory) -> dict[str, Any]:
    """One source as JSON has it."""
    return {
        "LastTime": memory.last_time,
        "LastUuid": encode_uuid(memory.last_uuid),
        "ContentSize": memory.content_size,
        "Clock": dump_anchor(memory.anchor),
    }


def parse_memory(value: Any) -> SourceMemory:
    """From the form it is kept in; raises TypeError, ValueError, KeyError."""
    value = expect_mapping(value)
    return SourceMemory(
        _optional_number(value["LastTime"]),
        decode_uuid(value["LastUuid"]) or None,
        _optional_number(value.get("ContentSize")),
        parse_anchor(value.get("Clock")),
    )


def _optional_number(value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"{value!r} is not a whole number")
    return value
