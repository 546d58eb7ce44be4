"""Stores elements and the memory of them as one step, whatever instant a crash chooses.

A unit must not forget an element it has stored (the next one would fork the chain), nor remember one it has
not. So:

1. every element is prepared: all its bytes are durable, its name is taken, it is not visible;
2. `state.pending` is written: the elements' metadata, and what the unit will remember;
3. the elements become visible;
4. the unit remembers (its steps can be repeated), and `state.pending` is removed.

A crash before 2 leaves data without info, which is no element, and no memory. After 2 the next start finishes
what is described there. An element that then is neither prepared nor visible was moved on by a transfer
already. It joins state and storage.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import BackupElementMetainfo, ElementId
from guerillabackup.errors import IntegrityError
from guerillabackup.generator.state import PENDING, StateDirectory
from guerillabackup.storage.interface import (
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a crash left to be remembered: the unit's own details, and which elements are still here."""

    details: dict[str, Any]
    are_present: tuple[bool, ...]


def store_together(
    state: StateDirectory,
    parts: Sequence[tuple[SinkHandleInterface, BackupElementMetainfo]],
    details: dict[str, Any],
) -> list[StorageBackupDataElementInterface]:
    """Store elements, the first one first; the caller remembers `details` next, then calls `forget_pending`.

    When it raises, none of the elements is in the storage and nothing is pending, unless taking them back
    failed too: then what is pending stays for `recover`.
    """
    prepared = [(handle.prepare(metainfo), metainfo) for handle, metainfo in parts]
    state.save(PENDING, {"Elements": [_describe(*part) for part in prepared], "Details": details})
    elements: list[StorageBackupDataElementInterface] = []
    try:
        for handle, _ in parts:
            element = handle.close()
            assert element is not None
            elements.append(element)
    except BaseException:
        for handle, _ in parts:
            handle.abort()
        for element in reversed(elements):
            element.delete()
        state.remove(PENDING)
        raise
    return elements


def recover(state: StateDirectory, storage: StorageInterface) -> Recovered | None:
    """Finish the elements of a run that ended after step 2; None when there was none.

    The caller remembers the details, then calls `forget_pending`.
    """
    pending = state.load(PENDING)
    if pending is None:
        return None
    try:
        described = [_parse(item) for item in pending["Elements"]]
        details = dict(pending["Details"])
    except (KeyError, TypeError, ValueError, IntegrityError) as error:
        raise state.damaged(PENDING, str(error)) from error
    return Recovered(details, tuple(_complete(storage, *item) for item in described))


def forget_pending(state: StateDirectory) -> None:
    """The unit has remembered."""
    state.remove(PENDING)


def _complete(storage: StorageInterface, element_id: ElementId, metainfo: BackupElementMetainfo) -> bool:
    try:
        return storage.complete(element_id, metainfo) is not None
    except IntegrityError:
        return False  # damaged since: the leftover is reported by whoever looks for leftovers


def _describe(element_id: ElementId, metainfo: BackupElementMetainfo) -> dict[str, str]:
    return {
        "ElementId": str(element_id),
        "Metainfo": base64.b64encode(metainfo.serialize()).decode("ascii"),
    }


def _parse(item: dict[str, str]) -> tuple[ElementId, BackupElementMetainfo]:
    try:
        metainfo = base64.b64decode(item["Metainfo"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"metadata is not base64: {error}") from error
    return ElementId.parse(item["ElementId"]), BackupElementMetainfo.unserialize(metainfo)
