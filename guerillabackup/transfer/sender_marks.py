"""What a sender notes about an element beside it: who has it, and who says so without evidence. No I/O.

Each note is an attribute of the element: `transferred`, `claimed` and `sent` hold a JSON object of agent id
to UTC seconds. They are elements' own, so that they go with them, and other processes see them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from guerillabackup.element import ElementId
from guerillabackup.errors import ElementNotFoundError, StorageError
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface

TRANSFERRED = "transferred"
CLAIMED = "claimed"
SENT = "sent"
"""Who claims it was sent all of it before, and is not believed unasked."""
PRIORITY = "priority"
"""A whole number of at most nine digits, set by who wants an element to go first."""

_NUMBER = re.compile(rb"\s*[+-]?[0-9]{1,9}\s*")


@dataclass(frozen=True, slots=True)
class ClaimedElement:
    """An element that agents say they hold, with the UTC seconds at which each first said so."""

    element_id: ElementId
    claims: dict[str, float]
    sent: frozenset[str] = frozenset()
    """Those of them that it was sent to in full just before."""


def read_marks(element: StorageBackupDataElementInterface, name: str) -> dict[str, float]:
    """The agents of a note and their times; none for what is no such note: it is made anew with the next."""
    value = element.get_extra_data(name)
    if value is None:
        return {}
    try:
        marks = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(marks, dict):
        return {}
    return {agent: time for agent, time in marks.items() if isinstance(time, int | float)}


def add_mark(element: StorageBackupDataElementInterface, name: str, agent_id: str, now: float) -> bool:
    """Note an agent durably; whether it was not noted yet."""
    marks = read_marks(element, name)
    if agent_id in marks:
        return False
    marks[agent_id] = int(now)
    element.set_extra_data(name, json.dumps(marks, sort_keys=True).encode("ascii"))
    return True


def read_priority(element: StorageBackupDataElementInterface) -> int:
    """The element's priority, 0 without one; StorageError for what is no number."""
    value = element.get_extra_data(PRIORITY)
    if value is None:
        return 0
    if _NUMBER.fullmatch(value) is None:
        raise StorageError(f"attribute {PRIORITY} is {value[:20]!r}, not a whole number of at most 9 digits")
    return int(value)


def list_claimed(storage: StorageInterface) -> Iterator[ClaimedElement]:
    """The elements that agents say they hold, and that stay here until they are confirmed."""
    for text, _ in storage.list_attributes({CLAIMED}):
        element_id = ElementId.parse(text)
        try:
            element = storage.get_backup_data_element(element_id)
            claims = read_marks(element, CLAIMED)
            sent = frozenset(claims) & set(read_marks(element, SENT))
        except ElementNotFoundError:
            continue
        if claims:
            yield ClaimedElement(element_id, claims, sent)


def confirm_element(
    storage: StorageInterface, element_id: ElementId, agent_id: str, now: float, *, mark_only: bool = False
) -> None:
    """Take an agent's claim for true, as an operator who has looked may: the element is deleted, or marked.

    StorageError when that agent claims nothing of the kind, ElementNotFoundError, ElementLockedError.
    """
    element = storage.get_backup_data_element(element_id)
    claims = read_marks(element, CLAIMED)
    if agent_id not in claims:
        known = ", ".join(sorted(claims)) or "nobody does"
        raise StorageError(f"element {element_id} is not claimed by agent {agent_id!r} (claimed by: {known})")
    if not mark_only:
        element.delete()
        return
    note_transfer(element, agent_id, now)


def withdraw_claim(storage: StorageInterface, element_id: ElementId, agent_id: str) -> None:
    """Take an agent's claim for wrong: it is offered the element again. StorageError without such a claim."""
    if not _drop_claim(storage.get_backup_data_element(element_id), agent_id):
        raise StorageError(f"element {element_id} is not claimed by agent {agent_id!r}")


def note_transfer(element: StorageBackupDataElementInterface, agent_id: str, now: float) -> None:
    """Note durably that an agent has an element, which claims no more that it has; raises StorageError."""
    add_mark(element, TRANSFERRED, agent_id, now)
    _drop_claim(element, agent_id)


def _drop_claim(element: StorageBackupDataElementInterface, agent_id: str) -> bool:
    """Whether there was one."""
    is_dropped = _drop(element, CLAIMED, agent_id)
    _drop(element, SENT, agent_id)
    return is_dropped


def _drop(element: StorageBackupDataElementInterface, name: str, agent_id: str) -> bool:
    marks = read_marks(element, name)
    if marks.pop(agent_id, None) is None:
        return False
    left = json.dumps(marks, sort_keys=True).encode("ascii") if marks else None
    element.set_extra_data(name, left)
    return True
