"""What a receiving connection says of each element: events, log lines, refusals, evidence, doubts.

It joins the tally of a connection with what all connections share.
"""

import logging
from collections.abc import Callable

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_json import shorten_uuid
from guerillabackup.errors import (
    ElementLockedError,
    ElementNotFoundError,
    GuerillaBackupError,
    StorageError,
)
from guerillabackup.events import ElementReceived, ElementRefused, SourceDoubt
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.transfer.broken_chains import BrokenChain
from guerillabackup.transfer.broken_chains import log as chains_log
from guerillabackup.transfer.checks import doubt_time
from guerillabackup.transfer.interface import ElementOffer, TransferContext
from guerillabackup.transfer.quarantine import Quarantine
from guerillabackup.transfer.receive import Taken
from guerillabackup.transfer.storage_share import Receiving
from guerillabackup.transfer.tally import MAX_ALIKE, Tally

REFUSED = "refused"
"""The topic of lines that tell of refused elements."""

log = logging.getLogger(__name__)


class FetchNotes:
    """The notes of one connection. Used by its thread."""

    def __init__(
        self,
        context: TransferContext,
        shared: Receiving,
        quarantine: Quarantine | None,
        settle: Callable[[bytes], None],
    ) -> None:
        self.tally = Tally()
        self._context = context
        self._shared = shared
        self._quarantine = quarantine
        self._settle = settle

    def note_stored(
        self,
        key: bytes,
        offer: ElementOffer,
        element: StorageBackupDataElementInterface,
        taken: Taken,
        seconds: float,
        was_held: bool,
    ) -> None:
        """An element is durable here; `was_held` when a copy of it was here before."""
        shared, element_id = self._shared, element.get_element_id()
        self._context.counters.note_received(shared.now())
        self.note_here(key)
        shared.held.added(element_id, offer.metainfo)
        shared.origins.note(self._context.agent_id, key)
        shared.listen(ElementReceived(self._context.agent_id, element_id, taken.size, seconds))
        shared.broken.received(offer.source_url, offer.metainfo)
        step = shared.chains.received(offer.source_url, offer.metainfo, was_held=was_held)
        if step.doubt is not None:
            self.doubt(offer.source_url, f"{element_id}: {step.doubt}")
        self.tally.note_step(step, offer.source_url, element_id, offer.metainfo)
        if (doubt := doubt_time(offer.metainfo, shared.now())) is not None:
            self.doubt(offer.source_url, f"{element_id}: {doubt}")

    def remove_damaged(
        self, key: bytes, offer: ElementOffer, damaged: StorageBackupDataElementInterface
    ) -> None:
        """The stored copy was not what it has to be, and a good one is durable: move the former aside."""
        element_id = damaged.get_element_id()
        reason = f"the data of {element_id} in the storage was damaged; it was replaced by what came again"
        try:
            with damaged.get_data_stream() as stream:
                kept_in = self._put_in_quarantine(key, offer, reason, stream.fileno())
            damaged.delete()
        except ElementNotFoundError:
            return
        except (ElementLockedError, StorageError) as error:
            reason, kept_in = f"{reason}; it cannot be removed: {error}", ""
        self.doubt(offer.source_url, f"{reason}{f'; it is kept in {kept_in}' if kept_in else ''}")

    def keep_evidence(self, key: bytes, offer: ElementOffer, reason: str, data_fd: int | None) -> None:
        """Refuse an element that is not what it claims to be, and keep it."""
        kept_in = self._put_in_quarantine(key, offer, reason, data_fd)
        self._leave_alone(key, offer, reason)
        self.refuse(offer, reason, kept_in)

    def _put_in_quarantine(self, key: bytes, offer: ElementOffer, reason: str, data_fd: int | None) -> str:
        if self._quarantine is None:
            return ""
        return self._quarantine.put(key, offer.source_url, offer.metainfo, reason, data_fd)

    def put_off(self, key: bytes, offer: ElementOffer, reason: str) -> None:
        """Leave an element alone for a while, for a reason that is this host's."""
        self._leave_alone(key, offer, reason)
        self.refuse(offer, reason, "")

    def _leave_alone(self, key: bytes, offer: ElementOffer, reason: str) -> None:
        self._shared.refusals.add(key, reason, *names_of(offer))
        self._context.counters.refused_anew += 1

    def refuse_unseen(self, key: bytes, offer: ElementOffer, reason: str) -> None:
        """Refuse an element by what is said of it, each time it is offered."""
        self._shared.refusals.note(key, reason, *names_of(offer))
        self.refuse(offer, reason, "")

    def note_here(self, key: bytes) -> None:
        """The element is here, whole: what was refused of it before is over."""
        self._shared.refusals.forget(key)
        self._settle(key)

    def refuse(self, offer: ElementOffer, reason: str, kept_in: str) -> None:
        """Say that an element is not taken, and why."""
        self._shared.listen(ElementRefused(self._context.agent_id, offer.source_url, reason, kept_in))
        where = f"; evidence: {kept_in}" if kept_in else ""
        self.say_refused(f"an element of {offer.source_url}: {reason}{where}", reason)

    def say_refused(self, text: str, reason: str = "") -> None:
        """Count a refusal, and log it while there is room, in general and for its reason."""
        self._context.counters.elements_refused += 1
        if self.tally.has_room_for_line(reason or text):
            self.say(logging.WARNING, f"refused {text}", REFUSED)

    def doubt(self, source_url: SourceUrl, message: str, to: logging.Logger = log) -> None:
        """Say what is odd about a source; it decides nothing."""
        text = f"{self._context.agent_id}: source {source_url}: {message}"
        self._context.lines.say(to, logging.WARNING, text, "doubt")
        self._shared.listen(SourceDoubt(self._context.agent_id, source_url, message))

    def say(self, level: int, text: str, topic: str, *, loosely: bool = False) -> None:
        """A line of the log about the peer, or one more of those that are only counted."""
        self._context.lines.say(log, level, f"{self._context.agent_id}: {text}", topic, loosely=loosely)

    def tell_what_is_over(self) -> None:
        """The whole list was gone through: say so if nothing of it is refused any more."""
        if not (self._context.counters.elements_refused or self._context.counters.elements_left_alone):
            agent_id = self._context.agent_id
            self._context.lines.over(f"{agent_id}: nothing of it is refused any more", REFUSED)

    def tell_at_end(self) -> None:
        """Report what only the whole list tells; never raises."""
        tally = self.tally
        for reason, count in tally.alike.items():
            if count > MAX_ALIKE:
                text = f"refused {count - MAX_ALIKE} more elements: {reason}"
                self.say(logging.WARNING, text, "refused more", loosely=True)
        if tally.unlogged:
            text = f"refused {tally.unlogged} more elements"
            self.say(logging.WARNING, text, "refused more", loosely=True)
        if left := self._context.counters.elements_left_alone:
            text = f"left {left} elements alone that were refused lately"
            self.say(logging.INFO, text, "left alone", loosely=True)
        if tally.locked:
            text = f"left {len(tally.locked)} elements alone whose copies here are locked"
            self.say(logging.INFO, text, "locked", loosely=True)
        for source_url, element_id in tally.new_chains():
            doubt = "it begins a new chain, although elements of its source came before"
            self.doubt(source_url, f"{element_id}: {doubt}")
        tally.beginnings.clear()
        self._tell_gaps()

    def _tell_gaps(self) -> None:
        """What still lacks its predecessor after the whole list; never raises."""
        broken = []
        for element_id, predecessor, is_worthless in self.tally.gaps:
            source_url = element_id.source_url
            try:
                if self._shared.chains.is_known(source_url, predecessor):
                    continue
                if self._shared.held.has_data_uuid(source_url, predecessor):
                    continue
            except GuerillaBackupError as error:
                self.say(logging.WARNING, f"source {source_url} cannot be listed: {error}", "unlisted")
                continue
            if is_worthless:
                chain = BrokenChain(self._context.agent_id, element_id, predecessor, self._shared.now())
                self.doubt(source_url, chain.message, chains_log)
                broken.append(chain)
            else:
                text = f"{element_id} came, and the element it follows (DataUuid {shorten_uuid(predecessor)})"
                self.doubt(source_url, f"{text} did not: it is whole, the history before it is not")
        self.tally.gaps.clear()
        self._shared.broken.add(broken)


def names_of(offer: ElementOffer) -> tuple[str, str]:
    """The id that an offered element would have here, were it alone in its second; and its source."""
    element = ElementId.label(offer.source_url, offer.metainfo.timestamp, offer.metainfo.backup_type)
    return str(element), str(offer.source_url)
