"""What a LogfileBackupUnit remembers, and the forms it is kept in. No I/O.

`state.current` has the original's form, so that either program can go on where the other stopped. Files that
are stored but could not be removed are in `extras.current`, and those that an element is just made of in
`state.pending`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.units.memory_values import decode_uuid, encode_uuid


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A log file of which there is, or is about to be, an element; it is to be removed then.

    `device`, `inode`, `size` and `modified_ns` are those of what was read.
    """

    source_url: SourceUrl
    data_uuid: bytes
    directory: str
    name: str
    device: int
    inode: int
    size: int
    modified_ns: int


@dataclass(slots=True)
class LogMemory:
    """UTC seconds of the last run, -1 before the first; the newest DataUuid of each source."""

    last_run: int = -1
    uuids: dict[str, bytes] = field(default_factory=dict)
    unremoved: list[StoredFile] = field(default_factory=list)


def parse_state(value: Any) -> LogMemory:
    """From `state.current`; raises TypeError, ValueError."""
    last_run, uuids = value
    if not _is_number(last_run) or not isinstance(uuids, Mapping):
        raise TypeError("it is not a list of a time and of an object of DataUuids")
    return LogMemory(last_run, {url: decode_uuid(uuid) for url, uuid in uuids.items()})


def dump_state(memory: LogMemory) -> list[Any]:
    """The value of `state.current`."""
    return [memory.last_run, {url: encode_uuid(uuid) for url, uuid in memory.uuids.items()}]


def parse_files(value: Any) -> list[StoredFile]:
    """From what `dump_files` made; raises TypeError, ValueError, KeyError, SourceUrlError."""
    if not isinstance(value, list):
        raise TypeError("it is not a list of files")
    return [_parse_file(item) for item in value]


def dump_files(files: Sequence[StoredFile]) -> list[dict[str, Any]]:
    """For `extras.current`, and the details in `state.pending`."""
    return [
        {
            "SourceUrl": str(file.source_url),
            "DataUuid": encode_uuid(file.data_uuid),
            "Directory": file.directory,
            "Name": file.name,
            "Device": file.device,
            "Inode": file.inode,
            "Size": file.size,
            "ModifiedNs": file.modified_ns,
        }
        for file in files
    ]


def _parse_file(item: Any) -> StoredFile:
    texts = item["Directory"], item["Name"]
    numbers = item["Device"], item["Inode"], item["Size"], item["ModifiedNs"]
    if not all(isinstance(text, str) for text in texts) or not all(_is_number(number) for number in numbers):
        raise TypeError("a file's name or identity is of another type")
    return StoredFile(SourceUrl(item["SourceUrl"]), decode_uuid(item["DataUuid"]), *texts, *numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
