"""Lets elements through to one peer at a time, and leaves out what cannot be sent, saying so once.

One gate stands before each storage that elements are offered of; all policies and connections go through it.
What it let through is locked in the storage until it is released: so nobody takes a copy that is being moved
away, or whose deletion is put off, for one that stays here. Touches: resource, threading.
"""

import logging
import resource
import threading

from guerillabackup.element import ElementId
from guerillabackup.errors import ElementLockedError, ElementNotFoundError, IntegrityError, StorageError
from guerillabackup.events import ElementClaimed, ElementNotOffered, EventListener, ignore_events
from guerillabackup.log_limit import LogLimit
from guerillabackup.storage.interface import ElementFacts, StorageBackupDataElementInterface, StorageInterface
from guerillabackup.transfer.element_key import plain_key
from guerillabackup.transfer.origins import Origins
from guerillabackup.transfer.sender_marks import CLAIMED, SENT, add_mark

MAX_HELD = 256
"""Elements that are locked at a time, before those go whose deletion was put off: each is a descriptor."""
MAX_REMEMBERED = 1 << 17
"""Elements that were left out and are remembered, so that each is told of once."""
UNPROVED = "says that it holds it, without evidence: it stays until that is confirmed"
UNCONFIRMED = "it stays until you confirm it (guerillabackup transfer confirm)"
LOCKED = "it is locked"
EMPTY = "it has 0 bytes, which would end a peer of the original"

log = logging.getLogger(__name__)


class OfferGate:
    """Who is offered what just now; for several threads. `report` gets an event for each that is left out."""

    def __init__(self, report: EventListener = ignore_events, origins: Origins | None = None) -> None:
        self._report = report
        self._origins = origins or Origins()
        self._lock = threading.Lock()  # guards both
        self._taken: dict[str, StorageBackupDataElementInterface | None] = {}
        """By id what is locked; None while that is being tried."""
        self._told: set[int] = set()
        self._lines = LogLimit()
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_held = MAX_HELD if open_files < 0 else min(MAX_HELD, open_files // 4)

    @property
    def is_full(self) -> bool:
        """Whether so much is locked that what was put off has to be done."""
        return len(self._taken) >= self._max_held

    @property
    def room(self) -> int:
        """How many more may be locked before it is full."""
        return self._max_held - len(self._taken)

    def came_from(self, agent_id: str, facts: ElementFacts) -> bool:
        """Whether that agent brought the element while this process runs."""
        if self._origins.is_empty or facts.timestamp is None:
            return False
        key = plain_key(facts.source_url, facts.backup_type, facts.timestamp, facts.data_uuid, facts.checksum)
        return self._origins.has(agent_id, key)

    def admit(
        self, storage: StorageInterface, element_id: str, agent_id: str
    ) -> StorageBackupDataElementInterface | None:
        """The element, locked and its metadata read, to be offered to this agent alone until `release`.

        None when another one is being offered it, when it is gone, and when it cannot be sent.
        """
        with self._lock:
            if element_id in self._taken:
                return None
            self._taken[element_id] = None
        is_admitted = False
        try:
            element = storage.hold_backup_data_element(ElementId.parse(element_id))
            with self._lock:
                self._taken[element_id] = element
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
        """It may be offered again, and counts as held here."""
        with self._lock:
            element = self._taken.get(element_id)
        if element is not None:
            element.unlock()
        with self._lock:
            self._taken.pop(element_id, None)

    def leave_out(self, element_id: str, agent_id: str, reason: str) -> None:
        """Say, once for each element and agent, that an element stays here."""
        if self._is_news(element_id, agent_id, reason):
            self._say(f"element {element_id} is not offered to {agent_id}: {reason}", agent_id)
            self._report(ElementNotOffered(agent_id, ElementId.parse(element_id), reason))

    def note_claim(
        self,
        element: StorageBackupDataElementInterface,
        agent_id: str,
        now: float,
        *,
        was_sent: bool = False,
    ) -> None:
        """Note durably, and say once, that an agent says it holds an element; raises StorageError.

        `was_sent`: it was sent all of it just before, and its word is not enough here all the same.
        """
        if was_sent:
            add_mark(element, SENT, agent_id, now)
        if add_mark(element, CLAIMED, agent_id, now):
            element_id = element.get_element_id()
            said = f"was sent to {agent_id} in full; {UNCONFIRMED}" if was_sent else f"{agent_id} {UNPROVED}"
            self._say(f"element {element_id}: {said}", agent_id)
            self._report(ElementClaimed(agent_id, element_id))

    def tell(self, element_id: str, agent_id: str, problem: str) -> None:
        """Say, once for each element and agent, what is wrong with one that is offered all the same."""
        if self._is_news(element_id, agent_id, problem):
            self._say(f"element {element_id}: {problem}", agent_id)

    def _say(self, text: str, agent_id: str) -> None:
        self._lines.say(log, logging.WARNING, text, agent_id)

    def _is_news(self, *of: str) -> bool:
        number = hash(of)
        with self._lock:
            if number in self._told:
                return False
            if len(self._told) >= MAX_REMEMBERED:
                self._told.clear()
            self._told.add(number)
        return True
