"""The policy that moves elements: offered in order, deleted or marked once a peer has them.

Deletions for a peer of ours are put off and done in groups: a crash before only offers the elements again,
and who has one already compares and discards. Touches: threading, time.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from guerillabackup.element import ElementId
from guerillabackup.errors import ElementNotFoundError, StorageError, StorageReplacedError
from guerillabackup.events import EventListener, ignore_events
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.transfer.interface import (
    SENDER_MOVE_POLICY,
    QueryData,
    SenderTransferPolicy,
    TransferContext,
    TransferOutcome,
)
from guerillabackup.transfer.offer_gate import EMPTY, OfferGate
from guerillabackup.transfer.sender_marks import (
    CLAIMED,
    PRIORITY,
    TRANSFERRED,
    note_transfer,
    read_marks,
    read_priority,
)
from guerillabackup.transfer.sender_order import OfferOrder
from guerillabackup.transfer.sender_selection import (
    ElementSelector,
    SenderQuery,
    parse_query_data,
    takes_handling,
)
from guerillabackup.transfer.sender_settings import SenderOrder, SenderSettings

MAX_GROUP = 256
"""Elements that are deleted together."""
MAX_GROUP_SECONDS = 2.0

log = logging.getLogger(__name__)


class SenderMoveDataTransferPolicy(SenderTransferPolicy):
    """Offers what its settings select; what a peer has stored is deleted here, or marked.

    Policies that offer elements of one storage share its `gate`. Without one, `report` gets an event for what
    is left out or only claimed. `now` is UTC seconds.
    """

    looks_ahead = True

    def __init__(
        self,
        settings: SenderSettings | None = None,
        *,
        gate: OfferGate | None = None,
        report: EventListener = ignore_events,
        now: Callable[[], float] = time.time,
        max_group: int = MAX_GROUP,
        max_group_seconds: float = MAX_GROUP_SECONDS,
    ) -> None:
        self.settings = settings or SenderSettings()
        self._now = now
        self._max_group = max_group
        self._max_group_seconds = max_group_seconds
        self._gate = gate or OfferGate(report)
        self._lock = threading.Lock()  # guards the groups
        self._groups: dict[int, _DeletionGroup] = {}

    def get_policy_info(self) -> str:
        return SENDER_MOVE_POLICY

    def query_backup_data_elements(
        self, context: TransferContext, query_data: QueryData
    ) -> Iterator[StorageBackupDataElementInterface]:
        return self._offer(context, parse_query_data(query_data))

    def select(self, context: TransferContext, query_data: QueryData) -> Iterator[str]:
        """The ids of what would be offered, in order, whoever is being offered it just now."""
        return self._list(context, parse_query_data(query_data)).take()

    def apply_policy(
        self, context: TransferContext, element: StorageBackupDataElementInterface, outcome: TransferOutcome
    ) -> None:
        element_id = str(element.get_element_id())
        is_evidence = outcome is TransferOutcome.SUCCESSFUL and context.rules.accepts_bare_acknowledgement
        if outcome in (TransferOutcome.SUCCESSFUL, TransferOutcome.CLAIMED):
            try:
                context.local_storage.check_in_place()
            except StorageReplacedError:
                self._gate.release(element_id)
                raise
        if is_evidence and not self.settings.mark_as_done_only:
            # Stays taken until it is gone: nobody else is offered it.
            self._put_off(context, element)
            return
        try:
            if is_evidence:
                note_transfer(element, context.agent_id, self._now())
            elif outcome in (TransferOutcome.SUCCESSFUL, TransferOutcome.CLAIMED):
                was_sent = outcome is TransferOutcome.SUCCESSFUL
                self._gate.note_claim(element, context.agent_id, self._now(), was_sent=was_sent)
        except ElementNotFoundError:
            text = f"element {element_id} is gone before it could be settled"
            context.lines.say(log, logging.INFO, text, "gone")
        except StorageError as error:
            text = f"element {element_id}: what {context.agent_id} has of it is not noted: {error}"
            context.lines.say(log, logging.ERROR, text, "not noted")
        finally:
            self._gate.release(element_id)

    def room_for_group(self) -> int:
        return self._gate.room

    def settle(self, context: TransferContext) -> None:
        with self._lock:
            group = self._groups.pop(id(context), None)
        if group is not None:
            self._delete(context, group)

    def _put_off(self, context: TransferContext, element: StorageBackupDataElementInterface) -> None:
        with self._lock:
            group = self._groups.setdefault(id(context), _DeletionGroup(time.monotonic()))
            group.elements.append(element)
        is_old = time.monotonic() - group.since >= self._max_group_seconds
        # Offered again after a crash, an original would say that it has them, which proves nothing to us.
        is_full = len(group.elements) >= self._max_group or self._gate.is_full
        if is_full or is_old or not context.is_ours:
            self.settle(context)

    def _delete(self, context: TransferContext, group: "_DeletionGroup") -> None:
        storage = context.local_storage
        ids = [str(element.get_element_id()) for element in group.elements]
        try:
            # Once for all, not a line for each.
            storage.check_in_place()
            results = storage.delete_elements(group.elements)
            for element_id, error in zip(ids, results, strict=True):
                if error is not None and not isinstance(error, ElementNotFoundError):
                    text = f"element {element_id} was sent and stays, to be offered again: {error}"
                    context.lines.say(log, logging.WARNING, text, "not deleted")
        finally:
            for element_id in ids:
                self._gate.release(element_id)

    def _offer(
        self, context: TransferContext, query: SenderQuery
    ) -> Iterator[StorageBackupDataElementInterface]:
        storage, agent_id = context.local_storage, context.agent_id
        for element_id in self._list(context, query).take():
            element = self._gate.admit(storage, element_id, agent_id)
            if element is None:
                continue
            try:
                is_wanted = self._is_wanted(context, element)
            except BaseException:
                self._gate.release(element_id)
                raise
            if is_wanted:
                yield element
            else:
                self._gate.release(element_id)

    def _is_wanted(self, context: TransferContext, element: StorageBackupDataElementInterface) -> bool:
        """What the listing did not tell: its handling policy, and a mark that was set since."""
        if not takes_handling(self.settings, element.get_metadata()):
            return False
        try:
            return not (self.settings.mark_as_done_only and self._is_marked(context, element, TRANSFERRED))
        except ElementNotFoundError:
            return False
        except StorageError as error:
            self._gate.leave_out(str(element.get_element_id()), context.agent_id, str(error))
            return False

    def _list(self, context: TransferContext, query: SenderQuery) -> OfferOrder:
        """What there is to offer just now, in order."""
        storage, agent_id = context.local_storage, context.agent_id
        selector = ElementSelector(self.settings, context.rules.offered_sources, query, self._now())
        kept, priorities = self._read_attributes(context, selector)
        takes_empty = context.takes_empty_elements
        order = OfferOrder()
        for facts in storage.list_facts(selector.listing()):
            if not selector.takes_source(facts.source_url) or facts.element_id in kept:
                continue
            if facts.problem is not None:
                self._gate.leave_out(facts.element_id, agent_id, facts.problem)
            elif not selector.takes(facts) or self._gate.came_from(agent_id, facts):
                continue
            elif facts.size == 0 and not takes_empty:
                self._gate.leave_out(facts.element_id, agent_id, EMPTY)
            else:
                order.add(facts, priorities.get(facts.element_id, 0))
        return order

    def _read_attributes(
        self, context: TransferContext, selector: ElementSelector
    ) -> tuple[frozenset[str], dict[str, int]]:
        """Which elements the agent is offered no more, and the priorities of the others that have one."""
        storage, agent_id = context.local_storage, context.agent_id
        names = {TRANSFERRED}
        if not context.rules.accepts_bare_acknowledgement:
            names.add(CLAIMED)
        if self.settings.order is SenderOrder.PRIORITY:
            names.add(PRIORITY)
        kept: set[str] = set()
        priorities: dict[str, int] = {}
        for text, name in storage.list_attributes(names):
            element_id = ElementId.parse(text)
            if not selector.takes_source(element_id.source_url.text):
                continue
            try:
                element = storage.get_backup_data_element(element_id)
                if name == PRIORITY:
                    priorities[text] = read_priority(element)
                elif self._is_marked(context, element, name):
                    kept.add(text)
            except ElementNotFoundError:
                continue
            except StorageError as error:
                # It is offered all the same: with priority 0, or although somebody may have it.
                self._gate.tell(text, agent_id, str(error))
        return frozenset(kept), priorities

    def _is_marked(
        self, context: TransferContext, element: StorageBackupDataElementInterface, name: str
    ) -> bool:
        """Whether a mark says that the agent is not offered the element again."""
        agents = read_marks(element, name)
        for_all = name == TRANSFERRED and self.settings.mark_counts_for_all
        return bool(agents) if for_all else context.agent_id in agents


class _DeletionGroup:
    """Elements of one connection that are to be deleted, since a time of the monotonic clock."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.elements: list[StorageBackupDataElementInterface] = []
