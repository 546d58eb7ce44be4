"""Goes through what one peer offers and fetches what is to be had: the receiving policy on one connection.

The law of this file: True goes to a peer only for what is durable here, whole, and checked. It joins the
client of a connection with a storage.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerillabackup.element import ElementId
from guerillabackup.errors import (
    ConnectionLostError,
    ElementLockedError,
    GuerillaBackupError,
    IntegrityError,
    RemoteProtocolError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
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
    judge_size,
)
from guerillabackup.transfer.claims import Claim
from guerillabackup.transfer.element_key import element_key
from guerillabackup.transfer.fetch_notes import FetchNotes, names_of
from guerillabackup.transfer.group_room import MAX_GROUP
from guerillabackup.transfer.interface import (
    ClientProtocolInterface,
    ElementOffer,
    ProtocolDataElementStream,
    QueryData,
    TransferContext,
)
from guerillabackup.transfer.quarantine import Quarantine
from guerillabackup.transfer.receive import OversizeError, StoredCopy, StreamTaker, Taken
from guerillabackup.transfer.storage_share import Receiving

MAX_ROUNDS = 3
"""Times a connection goes through a peer's list: again for what another connection was fetching."""


_OWN_TROUBLE = (StorageFullError, StorageReadOnlyError)
"""What says nothing of the element, and keeps away the others too."""


class _RoundOver(Exception):
    """Nothing more can be stored now; the connection itself is in order."""


@dataclass(slots=True, eq=False)
class _Fetch:
    """One element on its way; `number` is its place among those that were offered together."""

    number: int
    key: bytes
    offer: ElementOffer
    claim: Claim
    began: float
    held: StorageBackupDataElementInterface | None = None
    """A copy that was here, locked."""
    handle: SinkHandleInterface | None = None
    taken: Taken | None = None
    """What came, when it is to be stored."""
    is_durable: bool = False
    """Whether it may be acknowledged."""

    @property
    def sink(self) -> SinkHandleInterface:
        """Where its data goes."""
        assert self.handle is not None
        return self.handle

    def end(self) -> None:
        """Let go of it, stored or not."""
        if self.handle is not None:
            self.handle.abort()
        if self.held is not None:
            self.held.unlock()
        self.claim.release()


class ElementFetcher:
    """One connection's way through what its peer offers. Used by one thread."""

    def __init__(
        self,
        context: TransferContext,
        client: ClientProtocolInterface,
        shared: Receiving,
        quarantine: Quarantine | None,
        query_data: QueryData = None,
        settle: Callable[[bytes], None] = lambda key: None,
    ) -> None:
        self._context = context
        self._client = client
        self._shared = shared
        self._query_data = query_data
        self._taker = StreamTaker(shared.bandwidth, self._count_bytes, lambda: context.is_forced)
        sizes = (shared.settings.max_element_size, context.rules.max_element_size)
        self._max_size = min((size for size in sizes if size is not None), default=None)
        self._notes = FetchNotes(context, shared, quarantine, settle)
        self._claim: Claim | None = None
        self._over: _RoundOver | None = None
        """Why nothing more is fetched, once what is durable by then is acknowledged."""
        self._acknowledged: list[StorageBackupDataElementInterface] = []
        """Copies that were here and are being acknowledged, locked until the peer has answered that."""

    def run(self) -> None:
        """Fetch what there is; raises what ends the connection."""
        wanted: set[bytes] | None = None
        began = self._shared.refusals.now()
        try:
            for _ in range(MAX_ROUNDS):
                elsewhere: set[bytes] = set()
                self._run_round(wanted, elsewhere)
                if not self._shared.claims.any_is_free(elsewhere) or not self._notes.tally.goes_again():
                    break
                wanted = elsewhere
            self._shared.refusals.list_ended(began)
            self._notes.tell_what_is_over()
        except _RoundOver as error:
            self._notes.say(logging.ERROR, f"nothing more is fetched now: {error}", "no room")
        finally:
            self._let_go()
            self._context.counters.current = ""
            self._notes.tell_at_end()
            self._shared.refusals.save()

    def _run_round(self, wanted: set[bytes] | None, elsewhere: set[bytes]) -> None:
        """Once through the list, of all or of `wanted`; what others are fetching goes into `elsewhere`."""
        self._client.start_transaction(self._query_data)
        stored: Sequence[bool] = ()
        while True:
            with self._shared.room.taking(
                1 if self._shared.refusals.take_one_by_one() else MAX_GROUP
            ) as count:
                offers = self._client.next_offers(stored, count)
                self._let_go()
                if self._over is not None:
                    raise self._over
                if not offers:
                    return
                stored = self._handle(offers, wanted, elsewhere)

    def _let_go(self) -> None:
        """The peer has answered the acknowledgement, or never will."""
        while self._acknowledged:
            self._acknowledged.pop().unlock()

    def _handle(
        self,
        offers: Sequence[ElementOffer | IntegrityError],
        wanted: set[bytes] | None,
        elsewhere: set[bytes],
    ) -> Sequence[bool]:
        """Which of the elements that are offered together are durable here, and may be acknowledged."""
        stored = [False] * len(offers)
        with contextlib.ExitStack() as stack:
            fetches = []
            for number, offer in enumerate(offers):
                if isinstance(offer, IntegrityError):
                    self._notes.say_refused(str(offer))
                    continue
                key = element_key(offer.source_url, offer.metainfo)
                if wanted is not None and key not in wanted:
                    continue
                fetch = self._claim_element(number, key, offer, elsewhere)
                if fetch is not None:
                    stack.callback(fetch.end)
                    if self._begin(fetch, elsewhere):
                        fetches.append(fetch)
                    if self._over is not None:
                        break
            self._fetch(fetches, elsewhere)
            for fetch in fetches:
                if fetch.is_durable:
                    stored[fetch.number] = True
                    self._notes.tally.locked.discard(fetch.key)
                    if fetch.held is not None:
                        self._acknowledged.append(fetch.held)
                        fetch.held = None
        if any(stored):
            self._context.local_storage.check_in_place()
        elif self._over is not None:
            raise self._over
        return stored

    def _claim_element(
        self, number: int, key: bytes, offer: ElementOffer, elsewhere: set[bytes]
    ) -> _Fetch | None:
        """The right to fetch an element that is to be had, by what is said of it."""
        judgement = judge_offer(offer, self._context.rules, self._shared.settings, self._shared.now())
        if judgement.verdict is Verdict.LEAVE:
            return None
        if judgement.verdict is Verdict.REFUSE:
            self._notes.refuse_unseen(key, offer, judgement.reason)
            return None
        if self._shared.refusals.must_wait(key):
            self._context.counters.elements_left_alone += 1
            return None
        if judgement.verdict is Verdict.TAKE:
            judgement = judge_metadata_signature(offer, self._shared.signatures)
        if judgement.verdict is Verdict.TAKE and offer.size is not None:
            judgement = judge_size(offer.size, self._max_size)
        if judgement.verdict is Verdict.QUARANTINE:
            self._notes.keep_evidence(key, offer, judgement.reason, None)
            return None
        claim = self._shared.claims.claim(key, self._taker.silence)
        if claim is None:
            elsewhere.add(key)
            return None
        return _Fetch(number, key, offer, claim, time.monotonic())

    def _begin(self, fetch: _Fetch, elsewhere: set[bytes]) -> bool:
        """Whether its data is to be asked for."""
        storage, offer = self._context.local_storage, fetch.offer
        storage.check_in_place()
        try:
            fetch.held = self._shared.held.hold(offer.source_url, offer.metainfo)
            fetch.handle = storage.get_sink_handle(offer.source_url)
        except ElementLockedError:
            # Perhaps it is being moved away, even to this peer: it counts neither as here nor as gone.
            elsewhere.add(fetch.key)
            self._notes.tally.locked.add(fetch.key)
        except _OWN_TROUBLE as error:
            self._over = _RoundOver(str(error))
        except StorageError as error:
            self._notes.put_off(fetch.key, offer, str(error))
        return fetch.handle is not None

    def _fetch(self, fetches: Sequence[_Fetch], elsewhere: set[bytes]) -> None:
        """Take the data of elements, check it and store it."""
        try:
            self._take_all(fetches)
        finally:
            # Also what came before the connection ended: it is compared when it is offered again.
            self._store(fetches, elsewhere)

    def _take_all(self, fetches: Sequence[_Fetch]) -> None:
        unasked = {fetch for fetch in fetches if self._is_known_to_be_empty(fetch)}
        numbers = [fetch.number for fetch in fetches if fetch not in unasked]
        streams = iter(self._client.get_data_element_streams(numbers) if numbers else ())
        for fetch in fetches:
            self._claim = fetch.claim
            self._context.counters.current = _describe(fetch.offer)
            try:
                self._judge(fetch, self._take(fetch, None if fetch in unasked else next(streams)))
            except RemoteProtocolError:
                if len(fetches) > 1:
                    self._shared.refusals.group_interrupted()
                raise

    def _is_known_to_be_empty(self, fetch: _Fetch) -> bool:
        """Whether it has no data, and the peer is one that the stream of such an element ends."""
        return fetch.offer.metainfo.checksum == EMPTY_CHECKSUM and not self._context.takes_empty_elements

    def _take(self, fetch: _Fetch, stream: ProtocolDataElementStream | None) -> Taken:
        """The element's data, compared with the stored copy; what goes wrong here ends the connection."""
        if fetch.held is None:
            return self._take_stream(fetch, stream, None)
        try:
            stored = fetch.held.get_data_stream()
        except StorageError as error:
            element_id = fetch.held.get_element_id()
            self._notes.say(logging.WARNING, f"{element_id} cannot be read: {error}", "unreadable")
            return self._take_stream(fetch, stream, None)
        with stored:
            return self._take_stream(fetch, stream, StoredCopy(stored.fileno()))

    def _take_stream(
        self, fetch: _Fetch, stream: ProtocolDataElementStream | None, copy: StoredCopy | None
    ) -> Taken:
        if stream is None:
            return Taken(0, EMPTY_CHECKSUM, copy is not None and copy.ends_here())
        key, offer = fetch.key, fetch.offer
        try:
            with stream:
                return self._taker.take(stream, fetch.sink, self._max_size, copy)
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
            self._shared.refusals.interrupted(key, str(error), *names_of(offer))
            raise

    def _judge(self, fetch: _Fetch, taken: Taken) -> None:
        """What becomes of what came: it is here already, to be stored, or refused."""
        key, offer, handle = fetch.key, fetch.offer, fetch.sink
        judgement = judge_content(offer.metainfo, taken.digest, taken.size)
        if judgement.verdict is Verdict.TAKE:
            judgement = judge_data_signature(
                offer.metainfo, handle.get_sink_stream(), self._shared.signatures
            )
        if judgement.verdict is not Verdict.TAKE:
            self._notes.keep_evidence(key, offer, judgement.reason, handle.get_sink_stream())
        elif fetch.held is not None and taken.is_same:
            handle.abort()
            try:
                # Who stored it has perhaps not synced all of it, or crashed before.
                self._context.local_storage.sync_element(fetch.held)
            except StorageError as error:
                self._notes.put_off(key, offer, str(error))
                return
            self._notes.note_here(key)
            self._shared.chains.received(offer.source_url, offer.metainfo, was_held=True)
            self._notes.say(logging.INFO, f"{fetch.held.get_element_id()} is here already", "here")
            fetch.is_durable = True
        else:
            fetch.taken = taken

    def _store(self, fetches: Sequence[_Fetch], elsewhere: set[bytes]) -> None:
        """Make durable what is to be stored, with one sync for all of it."""
        ready = []
        for fetch in fetches:
            if fetch.taken is None:
                continue
            if fetch.claim.begin_storing():
                ready.append(fetch)
            else:
                # Another connection stores it, or has since it was asked for: what came is dropped.
                elsewhere.add(fetch.key)
        if not ready:
            return
        results = self._shared.sync.store_together([(each.sink, each.offer.metainfo) for each in ready])
        failures = []
        for fetch, result in zip(ready, results, strict=True):
            if not isinstance(result, GuerillaBackupError):
                fetch.claim.stored()
                self._note_stored(fetch, result)
            elif isinstance(result, StorageError) and not isinstance(result, StorageReplacedError):
                if not isinstance(result, StorageReadOnlyError):
                    self._notes.put_off(fetch.key, fetch.offer, str(result))
                if isinstance(result, _OWN_TROUBLE):
                    self._over = _RoundOver(str(result))
            else:
                failures.append(result)
        if failures:
            raise failures[0]

    def _note_stored(self, fetch: _Fetch, element: StorageBackupDataElementInterface) -> None:
        assert fetch.taken is not None
        offer, held = fetch.offer, fetch.held
        seconds = time.monotonic() - fetch.began
        self._notes.note_stored(fetch.key, offer, element, fetch.taken, seconds, was_held=held is not None)
        if held is not None and offer.metainfo.checksum is not None:
            self._notes.remove_damaged(fetch.key, offer, held)
        fetch.is_durable = True

    def _count_bytes(self, count: int, waited: float) -> None:
        self._context.counters.bytes_received += count
        try:
            if self._claim is not None:
                self._claim.moved(count, waited)
        except ConnectionLostError:
            # Else what else it sends would be drained, at its pace, with the claim held.
            self._client.force_shutdown()
            raise


def _describe(offer: ElementOffer) -> str:
    """The element by its id at its sender, all but the serial number, and how large it is."""
    metainfo = offer.metainfo
    element_id = ElementId.label(offer.source_url, metainfo.timestamp, metainfo.backup_type)
    return str(element_id) + ("" if offer.size is None else f" ({offer.size} bytes)")
