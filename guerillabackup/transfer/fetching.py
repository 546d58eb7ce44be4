"""Goes through what one peer offers and fetches what is to be had: the receiving policy on one connection.

The law of this file: True goes to a peer only for what is durable here, whole, and checked. It joins the
client of a connection with a storage.
"""

import logging
import time

from guerillabackup.errors import (
    ConnectionLostError,
    ElementLockedError,
    IntegrityError,
    RemoteProtocolError,
    StorageError,
    StorageFullError,
    StorageReplacedError,
)
from guerillabackup.storage.interface import SinkHandleInterface, StorageBackupDataElementInterface
from guerillabackup.transfer.checks import (
    EMPTY_CHECKSUM,
    Verdict,
    judge_content,
    judge_data_signature,
    judge_metadata_signature,
    judge_offer,
)
from guerillabackup.transfer.claims import Claim
from guerillabackup.transfer.element_key import element_key
from guerillabackup.transfer.fetch_notes import FetchNotes
from guerillabackup.transfer.interface import (
    ClientProtocolInterface,
    ElementOffer,
    QueryData,
    TransferContext,
)
from guerillabackup.transfer.quarantine import Quarantine
from guerillabackup.transfer.receive import OversizeError, StoredCopy, StreamTaker, Taken
from guerillabackup.transfer.storage_share import Receiving

MAX_ROUNDS = 3
"""Times a connection goes through a peer's list: again for what another connection was fetching."""

log = logging.getLogger(__name__)


class _RoundOver(Exception):
    """Nothing more can be stored now; the connection itself is in order."""


class _HeldElsewhere(Exception):
    """The element is here, and locked: it does not count as held."""


class _StoredElsewhere(Exception):
    """Another connection stores the element, or has since it was asked for: what came is dropped."""


class ElementFetcher:
    """One connection's way through what its peer offers. Used by one thread."""

    def __init__(
        self,
        context: TransferContext,
        client: ClientProtocolInterface,
        shared: Receiving,
        quarantine: Quarantine | None,
        query_data: QueryData = None,
    ) -> None:
        self._context = context
        self._client = client
        self._shared = shared
        self._query_data = query_data
        self._taker = StreamTaker(shared.bandwidth, self._count_bytes, lambda: context.is_forced)
        sizes = (shared.settings.max_element_size, context.rules.max_element_size)
        self._max_size = min((size for size in sizes if size is not None), default=None)
        self._notes = FetchNotes(context, shared, quarantine)
        self._claim: Claim | None = None
        self._acknowledged: StorageBackupDataElementInterface | None = None
        """A copy that was here and is being acknowledged, locked until the peer has answered that."""

    def run(self) -> None:
        """Fetch what there is; raises what ends the connection."""
        wanted: set[bytes] | None = None
        try:
            for _ in range(MAX_ROUNDS):
                elsewhere: set[bytes] = set()
                self._run_round(wanted, elsewhere)
                if not self._shared.claims.any_is_free(elsewhere) or not self._notes.tally.goes_again():
                    break
                wanted = elsewhere
            self._notes.tell_what_is_over()
        except _RoundOver as error:
            self._notes.say(logging.ERROR, f"nothing more is fetched now: {error}", "no room")
        finally:
            self._let_go()
            self._context.counters.current = ""
            self._notes.tell_at_end()

    def _run_round(self, wanted: set[bytes] | None, elsewhere: set[bytes]) -> None:
        """Once through the list, of all or of `wanted`; what others are fetching goes into `elsewhere`."""
        self._client.start_transaction(self._query_data)
        was_stored = False
        while True:
            try:
                offer = self._client.next_offer(was_stored)
            except IntegrityError as error:
                was_stored = False
                self._let_go()
                self._notes.say_refused(str(error))
                continue
            self._let_go()
            if offer is None:
                return
            key = element_key(offer.source_url, offer.metainfo)
            was_stored = (wanted is None or key in wanted) and self._handle(key, offer, elsewhere)

    def _handle(self, key: bytes, offer: ElementOffer, elsewhere: set[bytes]) -> bool:
        """Whether the element is durable here, and may be acknowledged."""
        judgement = judge_offer(offer, self._context.rules, self._shared.settings, self._shared.now())
        if judgement.verdict is Verdict.LEAVE:
            return False
        if judgement.verdict is Verdict.REFUSE:
            self._notes.refuse(offer, judgement.reason, "")
            return False
        if self._shared.refusals.must_wait(key):
            self._context.counters.elements_left_alone += 1
            return False
        if judgement.verdict is Verdict.TAKE:
            judgement = judge_metadata_signature(offer, self._shared.signatures)
        if judgement.verdict is Verdict.QUARANTINE:
            self._notes.keep_evidence(key, offer, judgement.reason, None)
            return False
        self._claim = claim = self._shared.claims.claim(key, self._taker.silence)
        if claim is None:
            elsewhere.add(key)
            return False
        try:
            is_durable = self._fetch(key, offer)
        except _HeldElsewhere:
            # Perhaps it is being moved away, even to this peer: it counts neither as here nor as gone.
            elsewhere.add(key)
            self._notes.tally.locked.add(key)
            return False
        except _StoredElsewhere:
            elsewhere.add(key)
            return False
        finally:
            claim.release()
        if is_durable:
            self._context.local_storage.check_in_place()
        return is_durable

    def _let_go(self) -> None:
        """The peer has answered the acknowledgement, or never will."""
        acknowledged, self._acknowledged = self._acknowledged, None
        if acknowledged is not None:
            acknowledged.unlock()

    def _fetch(self, key: bytes, offer: ElementOffer) -> bool:
        """Take the element's data, check it and store it; whether it is durable here."""
        self._context.counters.current = f"{offer.source_url} {offer.metainfo.timestamp}"
        self._context.local_storage.check_in_place()
        held = None
        try:
            try:
                held = self._shared.held.hold(offer.source_url, offer.metainfo)
                handle = self._context.local_storage.get_sink_handle(offer.source_url)
            except ElementLockedError as error:
                raise _HeldElsewhere from error
            except StorageFullError as error:
                raise _RoundOver(str(error)) from error
            except StorageError as error:
                self._notes.put_off(key, offer, str(error))
                return False
            with handle:
                is_durable = self._fetch_into(handle, key, offer, held)
            if is_durable:
                self._notes.tally.locked.discard(key)
                self._acknowledged, held = held, None
            return is_durable
        finally:
            if held is not None:
                held.unlock()

    def _fetch_into(
        self,
        handle: SinkHandleInterface,
        key: bytes,
        offer: ElementOffer,
        held: StorageBackupDataElementInterface | None,
    ) -> bool:
        began = time.monotonic()
        taken = self._take(handle, key, offer, held)
        judgement = judge_content(offer.metainfo, taken.digest, taken.size)
        if judgement.verdict is Verdict.TAKE:
            judgement = judge_data_signature(
                offer.metainfo, handle.get_sink_stream(), self._shared.signatures
            )
        if judgement.verdict is not Verdict.TAKE:
            self._notes.keep_evidence(key, offer, judgement.reason, handle.get_sink_stream())
            return False
        if held is not None and taken.is_same:
            handle.abort()
            try:
                # Who stored it has perhaps not synced all of it, or crashed before.
                self._context.local_storage.sync_element(held)
            except StorageError as error:
                self._notes.put_off(key, offer, str(error))
                return False
            self._shared.refusals.forget(key)
            self._shared.chains.received(offer.source_url, offer.metainfo, was_held=True)
            self._notes.say(logging.INFO, f"{held.get_element_id()} is here already", "here")
            return True
        assert self._claim is not None
        if not self._claim.begin_storing():
            raise _StoredElsewhere
        try:
            element = self._shared.sync.store(handle, offer.metainfo)
            self._claim.stored()
        except StorageFullError as error:
            self._notes.put_off(key, offer, str(error))
            raise _RoundOver(str(error)) from error
        except StorageReplacedError:
            raise
        except StorageError as error:
            self._notes.put_off(key, offer, str(error))
            return False
        self._notes.note_stored(
            key, offer, element, taken, time.monotonic() - began, was_held=held is not None
        )
        if held is not None and offer.metainfo.checksum is not None:
            self._notes.remove_damaged(key, offer, held)
        return True

    def _take(
        self,
        handle: SinkHandleInterface,
        key: bytes,
        offer: ElementOffer,
        held: StorageBackupDataElementInterface | None,
    ) -> Taken:
        """The element's data, compared with the stored copy; what goes wrong here ends the connection."""
        if held is None:
            return self._take_stream(handle, key, offer, None)
        try:
            stored = held.get_data_stream()
        except StorageError as error:
            self._notes.say(logging.WARNING, f"{held.get_element_id()} cannot be read: {error}", "unreadable")
            return self._take_stream(handle, key, offer, None)
        with stored:
            return self._take_stream(handle, key, offer, StoredCopy(stored.fileno()))

    def _take_stream(
        self, handle: SinkHandleInterface, key: bytes, offer: ElementOffer, copy: StoredCopy | None
    ) -> Taken:
        if offer.metainfo.checksum == EMPTY_CHECKSUM and not self._context.takes_empty_elements:
            # The stream of such an element ends an original; there is nothing in it to ask for.
            return Taken(0, EMPTY_CHECKSUM, copy is not None and copy.ends_here())
        try:
            with self._client.get_data_element_stream() as stream:
                return self._taker.take(stream, handle, self._max_size, copy)
        except OversizeError as error:
            self._notes.keep_evidence(key, offer, str(error), None)
            raise IntegrityError(
                f"an element of {offer.source_url}: {error}; a stream cannot be stopped: the connection ends"
            ) from error
        except StorageError as error:
            self._notes.put_off(key, offer, str(error))
            raise
        except RemoteProtocolError as error:
            # Perhaps the peer cannot send this one: the next connection must not end by it before all others.
            self._shared.refusals.interrupted(key, str(error))
            raise

    def _count_bytes(self, count: int, waited: float) -> None:
        self._context.counters.bytes_received += count
        try:
            if self._claim is not None:
                self._claim.moved(count, waited)
        except ConnectionLostError:
            # Else what else it sends would be drained, at its pace, with the claim held.
            self._client.force_shutdown()
            raise
