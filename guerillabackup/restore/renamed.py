"""Whether an element's files are named as its signed metadata says: a spool can rename files. No I/O."""

from dataclasses import dataclass
from datetime import UTC, datetime

from guerillabackup.element import BackupElementMetainfo, ElementId

_ZONE_STEP, _ZONE_MAX = 900, 14 * 3600
"""Zones differ by quarters of an hour, and by no more than that from UTC."""


@dataclass(frozen=True, slots=True)
class NameDoubt:
    """What a name says and the metadata does not; no violation where another program may have named it."""

    text: str
    is_violation: bool


def doubt_name(metainfo: BackupElementMetainfo, element_id: ElementId) -> list[NameDoubt]:
    """What speaks against the name of an element.

    The time counts only for elements of ours, whose metadata has SourceUrl. The original names those that it
    receives by its local time: a difference that may be that of a zone is no more than told of.
    """
    doubts: list[NameDoubt] = []
    if metainfo.backup_type is not element_id.backup_type:
        is_, named = metainfo.backup_type.value, element_id.backup_type.value
        text = f"its files are named as those of type {named}, but it was made as {is_}: were they renamed"
        doubts.append(NameDoubt(text, True))
    difference = None if metainfo.source_url is None else _difference(metainfo.timestamp, element_id)
    if difference != 0 and metainfo.source_url is not None:
        true = ElementId.label(element_id.source_url, metainfo.timestamp, metainfo.backup_type)
        text = f"its files are named as of {element_id.digits}, but it was made at {true.digits} UTC"
        if difference is None or difference % _ZONE_STEP or abs(difference) > _ZONE_MAX:
            doubts.append(NameDoubt(f"{text}: were they renamed", True))
        else:
            doubts.append(NameDoubt(f"{text}: were they renamed, or named in local time", False))
    return doubts


def _difference(timestamp: int, element_id: ElementId) -> int | None:
    """By how many seconds the name is off; None where it is no time at all."""
    digits = element_id.digits
    parts = (digits[:4], *(digits[start : start + 2] for start in range(4, 14, 2)))
    try:
        year, month, day, hour, minute, second = map(int, parts)
        named = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(named.timestamp()) - timestamp
