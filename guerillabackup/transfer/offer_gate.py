"""Lets elements through to one peer at a time, and leaves out what cannot be sent, saying so once.

One gate stands before each storage that elements are offered of; all policies and connections go through it.
Touches: threading.
"""

import logging
import threading

from guerillabackup.element import ElementId
from guerillabackup.errors import ElementLockedError, ElementNotFoundError, IntegrityError, StorageError
from guerillabackup.events import ElementClaimed, ElementNotOffered, EventListener, ignore_events
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface
from guerillabackup.transfer.sender_marks import CLAIMED, add_mark

MAX_REMEMBERED = 1 << 17
"""Elements that were left out and are remembered, so that each is told of once."""
UNPROVED = "says that it holds it, without evidence: it stays until that is confirmed"
LOCKED = "it is locked"
EMPTY = "it has 0 bytes, which would end a peer of the original"

log = logging.getLogger(__name__)


class OfferGate:
    """Who is offered what just now; for several threads. `report` gets an event for each that is left out."""

    def __init__(self, report: EventListener = ignore_events) -> None:
        self._report = report
        self._lock = threading.Lock()  # guards both
        self._taken: set[str] = set()
        self._told: set[int] = set()

    def admit(
        self, storage: StorageInterface, element_id: str, agent_id: str
    ) -> StorageBackupDataElementInterface | None:
        """The element with its metadata read, to be offered to this agent alone until `release`.

        None when another one is being offered it, when it is gone, and when it cannot be sent.
        """
        with self._lock:
            if element_id in self._taken:
                return None
            self._taken.add(element_id)
        is_admitted = False
        try:
            element = storage.hold_backup_data_element(ElementId.parse(element_id))
            is_admitted = True
            return element
        except ElementNotFoundError:
            return None
        except ElementLockedError:
            self.leave_out(element_id, agent_id, LOCKED)
            return None
        except (StorageError, IntegrityError) as error:
            self.leave_out(element_id, agent_id, str(error))
            return None
        finally:
            if not is_admitted:
                self.release(element_id)

    def release(self, element_id: str) -> None:
        """It may be offered again."""
        with self._lock:
            self._taken.discard(element_id)

    def leave_out(self, element_id: str, agent_id: str, reason: str) -> None:
        """Say, once for each element and agent, that an element stays here."""
        if self._is_news(element_id, agent_id, reason):
            log.warning("element %s is not offered to %s: %s", element_id, agent_id, reason)
            self._report(ElementNotOffered(agent_id, ElementId.parse(element_id), reason))

    def note_claim(self, element: StorageBackupDataElementInterface, agent_id: str, now: float) -> None:
        """Note durably, and say once, that an agent says it holds an element; raises StorageError."""
        if add_mark(element, CLAIMED, agent_id, now):
            element_id = element.get_element_id()
            log.warning("element %s: %s %s", element_id, agent_id, UNPROVED)
            self._report(ElementClaimed(agent_id, element_id))

    def tell(self, element_id: str, agent_id: str, problem: str) -> None:
        """Say, once for each element and agent, what is wrong with one that is offered all the same."""
        if self._is_news(element_id, agent_id, problem):
            log.warning("element %s: %s", element_id, problem)

    def _is_news(self, *of: str) -> bool:
        number = hash(of)
        with self._lock:
            if number in self._told:
                return False
            if len(self._told) >= MAX_REMEMBERED:
                self._told.clear()
            self._told.add(number)
        return True
