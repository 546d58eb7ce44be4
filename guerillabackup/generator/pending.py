"""Stores elements and the memory of them as one step, whatever instant a crash chooses.

A unit must not forget an element it has stored (the next one would fork the chain), nor remember one it has
not. So:

1. every element is prepared: all its bytes are durable, its name is taken, it is not visible;
2. `state.pending` is written: the elements' metadata, and what the unit will remember;
3. the elements become visible, in their order;
4. the unit remembers (its steps can be repeated), and `state.pending` is removed.

A crash before 2 leaves data without info, which is no element, and no memory. After 2 the next start finishes
what is described there. An element that then is neither prepared nor visible was moved on by a transfer
already. While something is pending nothing else is stored: `recover` comes before each backup. It joins state
and storage.
"""

import base64
import binascii
import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

from guerillabackup.element import BackupElementMetainfo, ElementId
from guerillabackup.errors import IntegrityError
from guerillabackup.generator.state import PENDING, StateDirectory
from guerillabackup.storage.interface import (
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)


class Presence(enum.Enum):
    """Where an element is that was about to be stored when its run was interrupted."""

    STORED = "stored"
    MOVED_ON = "stored, and moved on by somebody"
    DAMAGED = "never stored: its data is not what was written"


class Recovered(NamedTuple):
    """What a crash left to be remembered: the unit's own details, the elements, what became of each.

    After one that is damaged none is named: what follows it was not stored. What "moved on" may as well have
    been cleaned away as a leftover, unless the unit knows from its memory that it was stored.
    """

    details: dict[str, Any]
    elements: tuple[tuple[ElementId, Presence], ...]

    @property
    def element_id(self) -> ElementId:
        """Of the first one."""
        return self.elements[0][0]

    @property
    def presence(self) -> Presence:
        """Of the first one."""
        return self.elements[0][1]


def store_together(
    state: StateDirectory,
    parts: Sequence[tuple[SinkHandleInterface, BackupElementMetainfo]],
    details: dict[str, Any],
) -> list[StorageBackupDataElementInterface]:
    """Store elements, the first one first; the caller remembers `details` next, then calls `forget_pending`.

    When it raises, none of the elements is in the storage and nothing is pending, unless taking them back
    failed too: then what is pending stays for `recover`. The handles are at their end in any case.
    """
    elements: list[StorageBackupDataElementInterface] = []
    try:
        prepared = [(handle.prepare(metainfo), metainfo) for handle, metainfo in parts]
        state.save(PENDING, {"Elements": [_describe(*part) for part in prepared], "Details": details})
        for handle, _ in parts:
            element = handle.close()
            assert element is not None
            elements.append(element)
    except BaseException:
        _take_back(state, [handle for handle, _ in parts], elements)
        raise
    return elements


def recover(state: StateDirectory, storage: StorageInterface) -> Recovered | None:
    """Finish the elements of a run that ended after step 2; None when there was none.

    The caller remembers the details, unless the first element is damaged, then calls `forget_pending`. Raises
    StateError, and StorageError when the storage cannot be worked with: then it is tried again.
    """
    pending = state.load(PENDING)
    if pending is None:
        return None
    try:
        described = [_parse(item) for item in pending["Elements"]]
        details = dict(pending["Details"])
    except (KeyError, TypeError, ValueError, IntegrityError) as error:
        raise state.damaged(PENDING, str(error)) from error
    if not described:
        raise state.damaged(PENDING, "it names no element")
    elements = []
    for element_id, metainfo in described:
        presence = _complete(storage, element_id, metainfo)
        elements.append((element_id, presence))
        if presence is Presence.DAMAGED:
            break  # nothing may follow it in its chain
    return Recovered(details, tuple(elements))


def forget_pending(state: StateDirectory, *, durably: bool = True) -> None:
    """The unit has remembered.

    Not durably is quicker: after a crash `recover` may then come upon what is remembered already.
    """
    state.remove(PENDING, durably=durably)


def _take_back(
    state: StateDirectory,
    handles: Sequence[SinkHandleInterface],
    elements: Sequence[StorageBackupDataElementInterface],
) -> None:
    """Undo what was done before a failure.

    While nothing is visible the note goes first, so that no crash lets it speak of elements that never were.
    """
    try:
        if not elements:
            state.remove(PENDING)
    finally:
        for handle in handles:
            handle.abort()
    for element in reversed(elements):
        element.delete()
    if elements:
        state.remove(PENDING)


def _complete(storage: StorageInterface, element_id: ElementId, metainfo: BackupElementMetainfo) -> Presence:
    try:
        element = storage.complete(element_id, metainfo)
    except IntegrityError:
        return Presence.DAMAGED  # the data stays: it is reported by whoever looks for leftovers
    return Presence.MOVED_ON if element is None else Presence.STORED


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
