"""Which elements the units of a host remember as the last of their sources, read without their locks.

A unit may be at work meanwhile: its state files are replaced whole. Touches: os, json.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from guerillabackup import osfile
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import ElementIdError, SourceUrlError, StorageError
from guerillabackup.generator.deleted_elements import read_deleted
from guerillabackup.generator.state import MAX_STATE_SIZE, STATE

DIRECTORY = "generators"
"""Below the directory of what is remembered; has a directory for each unit."""
EXTRAS = "extras.current"
"""Where the unit of archives keeps what its element is called in the storage."""


def read_last_of(storage: str, own: object, state: object, *, move_on: bool) -> LastElements:
    """What must be the last elements in a storage, if it is this host's `own`; `state` is what is remembered.

    Read it before the storage is looked at: what is stored meanwhile is not missed then.
    """
    if isinstance(own, str) and isinstance(state, str):
        with suppress(OSError):
            if os.path.samefile(own, storage):
                return LastElements(read_last_elements(state), _read_ids(state), move_on, read_deleted(state))
    return LastElements()


def read_last_elements(persistency_directory: str) -> dict[SourceUrl, frozenset[bytes]]:
    """The DataUuid of each source's last element; several where units that are no more remember it too.

    What may not be read, is damaged, or has a form of its own tells nothing.
    """
    found: dict[SourceUrl, set[bytes]] = {}
    base = os.path.join(persistency_directory, DIRECTORY)
    with suppress(OSError):
        for name in sorted(os.listdir(base)):
            with suppress(OSError, StorageError, ValueError, TypeError, SourceUrlError):
                for source_url, uuid in _parse(_read(os.path.join(base, name), STATE)):
                    found.setdefault(source_url, set()).add(uuid)
    return {source_url: frozenset(uuids) for source_url, uuids in found.items()}


def _read_ids(persistency_directory: str) -> dict[bytes, ElementId]:
    """What the elements are called, by their DataUuid, as far as units remember that."""
    found: dict[bytes, ElementId] = {}
    base = os.path.join(persistency_directory, DIRECTORY)
    with suppress(OSError):
        for name in sorted(os.listdir(base)):
            with suppress(OSError, StorageError, ValueError, TypeError):
                found.update(_parse_ids(_read(os.path.join(base, name), EXTRAS)))
    return found


def _parse_ids(extras: Any) -> Iterator[tuple[bytes, ElementId]]:
    for value in extras.values() if isinstance(extras, Mapping) else ():
        last = value.get("LastElement") if isinstance(value, Mapping) else None
        if isinstance(last, list) and len(last) == 2 and all(isinstance(each, str) for each in last):
            with suppress(ElementIdError, SourceUrlError, ValueError):
                yield base64.b64decode(last[1], validate=True), ElementId.parse(last[0])


def _read(directory: str, name: str) -> Any:
    descriptor = osfile.open_directory(directory)
    try:
        return json.loads(osfile.read_file(descriptor, name, MAX_STATE_SIZE).decode("ascii"))
    finally:
        os.close(descriptor)


def _parse(state: Any) -> Iterator[tuple[SourceUrl, bytes]]:
    """From the forms of the units here and of the original: of archives, of commands, of log files."""
    if isinstance(state, list) and len(state) == 2 and isinstance(state[1], Mapping):
        state = state[1]
    if not isinstance(state, Mapping):
        return
    for source, value in state.items():
        if isinstance(value, Mapping):
            value = value.get("LastUuid")
        elif isinstance(value, list) and len(value) == 3:
            value = value[2]
        if isinstance(value, str) and value and source.startswith("/"):
            yield SourceUrl(source), base64.b64decode(value, validate=True)
