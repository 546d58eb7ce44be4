"""What a CommandBackupUnit remembers of its sources, and the form in which that is kept. No I/O."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.generator.timing import ClockAnchor


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
    return {SourceUrl(key): parse_memory(item) for key, item in _mapping(value).items()}


def dump_memories(memory: Mapping[SourceUrl, SourceMemory]) -> dict[str, Any]:
    """The value of a state file."""
    return {str(url): dump_memory(item) for url, item in memory.items()}


def dump_memory(memory: SourceMemory) -> dict[str, Any]:
    """One source as JSON has it."""
    anchor = memory.anchor
    return {
        "LastTime": memory.last_time,
        "LastUuid": base64.b64encode(memory.last_uuid or b"").decode("ascii"),
        "ContentSize": memory.content_size,
        "Clock": None if anchor is None else [anchor.boot_id, anchor.offset],
    }


def parse_memory(value: Any) -> SourceMemory:
    """From the form it is kept in; raises TypeError, ValueError, KeyError."""
    value = _mapping(value)
    return SourceMemory(
        _optional_number(value["LastTime"]),
        _decode(value["LastUuid"]) or None,
        _optional_number(value.get("ContentSize")),
        _optional_anchor(value.get("Clock")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{str(value)[:40]!r} is not an object")
    return value


def _optional_number(value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _optional_anchor(value: Any) -> ClockAnchor | None:
    if value is None:
        return None
    boot_id, offset = value
    if not isinstance(boot_id, str) or not isinstance(offset, int | float):
        raise TypeError(f"{value!r} is not a list of boot id and seconds")
    return ClockAnchor(boot_id, offset)


def _decode(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{value!r} is not base64: {error}") from error
