"""What a TarBackupUnit remembers of its sources, and the two forms in which that is kept. No I/O.

`state.current` has the original's form, so that either program can go on where the other stopped; what that
has no place for is in `extras.current`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.units.memory_values import (
    decode_uuid,
    dump_anchor,
    encode_uuid,
    expect_mapping,
    parse_anchor,
)
from guerillabackup.units.tar_clock import RunClock
from guerillabackup.units.tar_content import Place, dump_places, parse_places

_KEY_SIZE = 12
"""Bytes of a DataUuid that tell it from others in a chain."""


@dataclass(frozen=True, slots=True)
class SourceMemory:
    """What is remembered of a source: times in UTC seconds, the newest DataUuid, archive sizes in bytes.

    `anchor` says how the clock stood before the last backup, `ended` what it showed after it, `went_back`
    whether it was set back in between. `last_element` is the id in the storage of the
    element with `last_uuid`, None where it is not known. `is_in_doubt`: the index may be that of another
    element. `selection` has digests of the settings that decided on the members, as far as they are known.
    `data_sizes`: bytes of data of the elements from the last full on, by `size_key`, as far as known.
    `index`: what `tar_index.mark_of` says of the index of the last element, None where it is not known.
    `places`: how each directory to be included was at the last backup, by its path, as far as known.
    `signers`: fingerprints that signatures of the elements from the last full on can have, as far as known.
    """

    last_full: int | None = None
    last_any: int | None = None
    last_uuid: bytes | None = None
    members_uuid: bytes | None = None
    full_size: int | None = None
    inc_size: int | None = None
    anchor: ClockAnchor | None = None
    last_element: ElementId | None = None
    is_in_doubt: bool = False
    selection: Mapping[str, str] = field(default_factory=dict)
    ended: int | None = None
    went_back: bool = False
    data_sizes: Mapping[str, int] = field(default_factory=dict)
    index: str | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    signers: frozenset[str] = frozenset()

    def expected_size(self, backup_type: BackupType) -> int | None:
        """Bytes tar wrote the last time for a backup of this type."""
        return self.full_size if backup_type is BackupType.FULL else self.inc_size


def size_key(data_uuid: bytes | None) -> str:
    """What tells the elements of one chain apart, short: there may be thousands of them."""
    return encode_uuid((data_uuid or b"")[:_KEY_SIZE])


def advanced(
    memory: SourceMemory,
    backup_type: BackupType,
    metainfo: BackupElementMetainfo,
    members: BackupElementMetainfo | None,
    content_size: int,
    data_size: int,
    clock: RunClock,
    selection: Mapping[str, str],
    index: str | None,
    places: Mapping[str, Place],
    signers: Collection[str],
) -> SourceMemory:
    """What is remembered after an element, and its list of members if it has one.

    `content_size` is what tar wrote, `data_size` what is stored of it, `index` the mark of its index,
    `signers` are the fingerprints that its signature can have.
    """
    timestamp = metainfo.timestamp
    size = content_size if content_size > 0 else None
    chained = {} if backup_type is BackupType.FULL else memory.data_sizes
    before = frozenset() if backup_type is BackupType.FULL else memory.signers
    memory = replace(
        memory,
        last_any=timestamp,
        last_uuid=metainfo.data_uuid,
        anchor=clock.before.anchor,
        ended=int(clock.after.seconds),
        went_back=clock.went_back,
        last_element=None,
        is_in_doubt=False,
        selection=selection,
        index=index,
        places=places,
        signers=before.union(signers),
        data_sizes={**chained, size_key(metainfo.data_uuid): data_size},
    )
    if members is not None:
        memory = replace(memory, members_uuid=members.data_uuid)
    if backup_type is BackupType.FULL:
        return replace(memory, last_full=timestamp, full_size=size)
    return replace(memory, inc_size=size)


def parse_memories(current: Any, extras: Any) -> dict[SourceUrl, SourceMemory]:
    """All sources of the two files' values; raises TypeError, ValueError, SourceUrlError."""
    of_source = {} if extras is None else expect_mapping(extras)
    return {
        SourceUrl(key): parse_memory(value, of_source.get(key, {}))
        for key, value in expect_mapping(current).items()
    }


def dump_memories(memory: Mapping[SourceUrl, SourceMemory]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of `state.current` and of `extras.current`."""
    current = {str(url): dump_state(item) for url, item in memory.items()}
    extras = {str(url): dump_extras(item) for url, item in memory.items()}
    return current, extras


def dump_state(memory: SourceMemory) -> list[Any]:
    """The original's form: last full time, last time, base64 of the last DataUuid."""
    return [memory.last_full, memory.last_any, encode_uuid(memory.last_uuid)]


def dump_extras(memory: SourceMemory) -> dict[str, Any]:
    """What the original's form has no place for."""
    return {
        "Clock": dump_anchor(memory.anchor),
        "MembersUuid": encode_uuid(memory.members_uuid),
        "FullSize": memory.full_size,
        "IncSize": memory.inc_size,
        "LastElement": None
        if memory.last_element is None
        else [str(memory.last_element), encode_uuid(memory.last_uuid)],
        "InDoubt": memory.is_in_doubt,
        "Selection": dict(memory.selection),
        "Ended": memory.ended,
        "ClockWentBack": memory.went_back,
        "DataSizes": dict(memory.data_sizes),
        "Index": memory.index,
        "Places": dump_places(memory.places),
        "Signers": sorted(memory.signers),
    }


def parse_memory(state: Any, extras: Any) -> SourceMemory:
    """From the two forms it is kept in; raises TypeError or ValueError."""
    extras = expect_mapping(extras)
    last_full, last_any, last_uuid = state
    uuid = decode_uuid(last_uuid) or None
    element_id, is_other = _optional_element(extras.get("LastElement"), uuid)
    return SourceMemory(
        _optional_number(last_full),
        _optional_number(last_any),
        uuid,
        decode_uuid(extras.get("MembersUuid", "")) or None,
        _optional_number(extras.get("FullSize")),
        _optional_number(extras.get("IncSize")),
        parse_anchor(extras.get("Clock")),
        element_id,
        is_other or extras.get("InDoubt") is True,
        _optional_digests(extras.get("Selection")),
        _optional_number(extras.get("Ended")),
        extras.get("ClockWentBack") is True,
        _optional_sizes(extras.get("DataSizes")),
        _optional_text(extras.get("Index")),
        parse_places(extras.get("Places")),
        _optional_texts(extras.get("Signers")),
    )


def _optional_element(value: Any, last_uuid: bytes | None) -> tuple[ElementId | None, bool]:
    """The id of the last element, and whether it is that of another one than the state says was the last.

    Then one of the two was put back from a copy, or another program went on with the state.
    """
    if value is None:
        return None, False
    text, uuid = value
    if not isinstance(text, str):
        raise TypeError(f"{value!r} is not a list of element id and DataUuid")
    element_id = ElementId.parse(text)
    return (element_id, False) if decode_uuid(uuid) == last_uuid else (None, True)


def _optional_digests(value: Any) -> dict[str, str]:
    digests = {} if value is None else expect_mapping(value)
    if not all(isinstance(digest, str) for digest in digests.values()):
        raise TypeError(f"{str(value)[:40]!r} is not an object of texts")
    return dict(digests)


def _optional_sizes(value: Any) -> dict[str, int]:
    sizes = {} if value is None else expect_mapping(value)
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in sizes.values()):
        raise TypeError(f"{str(value)[:40]!r} is not an object of sizes")
    return dict(sizes)


def _optional_texts(value: Any) -> frozenset[str]:
    texts = [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{str(value)[:40]!r} is not a list of texts")
    return frozenset(texts)


def _optional_text(value: object) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError(f"{str(value)[:40]!r} is not a text")
    return value


def _optional_number(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{value!r} is not a number")
    return int(value)
