"""What a peer's requests come to: its transaction, the current element, and what became of it. No I/O.

The law here: the policy is asked once for each element that was offered, however the connection ends.
"""

import logging
from collections.abc import Iterator
from typing import BinaryIO

from guerillabackup.errors import RemoteProtocolError, StorageError, StorageReplacedError
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.transfer.interface import (
    ElementOffer,
    QueryData,
    ServerProtocolInterface,
    TransferContext,
    TransferOutcome,
)

LONG_STREAM = 8 << 20
"""Bytes from which on a stream lasts: what was put off is done before."""

log = logging.getLogger(__name__)


class DefaultTransferAgentServerProtocolAdapter(ServerProtocolInterface):
    """Asks the sender policy of the connection's context. Used by the one thread of the connection."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._policy = context.sender_policy
        self._offers: Iterator[StorageBackupDataElementInterface] | None = None
        self._current: _Offered | None = None
        self._next: _Offered | None = None
        self._next_error: Exception | None = None
        """The element after the current one, or why it cannot be had, when that was looked up ahead."""

    def get_policy_info(self) -> str | None:
        return None if self._policy is None else self._policy.get_policy_info()

    def start_transaction(self, query_data: QueryData) -> None:
        self._end_transaction()
        if self._policy is None:
            raise RemoteProtocolError("startTransaction was asked of an agent that sends nothing")
        self._offers = self._policy.query_backup_data_elements(self._context, query_data)

    def next_data_element(self, was_stored: bool) -> bool:
        self._settle_current(was_stored, is_refused=not was_stored)
        error, self._next_error = self._next_error, None
        if error is not None:
            raise error
        self._current, self._next = self._next or self._take_offer(), None
        if self._current is None:
            self._end_transaction()
        return self._current is not None

    def look_ahead(self) -> None:
        is_known = self._next is not None or self._next_error is not None
        if is_known or self._current is None or not self._current.was_sent:
            return
        if self._policy is not None and self._policy.looks_ahead:
            try:
                self._next = self._take_offer()
            except Exception as error:  # told when it is asked for: what was sent is acknowledged first
                self._next_error = error

    def get_data_element_info(self) -> ElementOffer | None:
        if self._current is None:
            return None
        element = self._current.element
        return ElementOffer(element.get_source_url(), element.get_metadata())

    def get_data_element_stream(self) -> BinaryIO:
        if self._policy is None or self._current is None:
            raise RemoteProtocolError("getDataElementStream was asked for without a current element")
        self._context.counters.current = str(self._current.element.get_element_id())
        stream = self._current.open_stream()
        if self._current.size >= LONG_STREAM:
            self._policy.settle(self._context)
        return stream

    def element_described(self) -> None:
        if self._current is not None:
            self._current.was_described = True

    def stream_ended(self, is_complete: bool) -> None:
        self._context.counters.current = ""
        if self._current is not None and is_complete:
            self._current.was_sent = True

    def end(self) -> None:
        try:
            self._end_transaction()
        except StorageReplacedError as error:
            text = f"peer {self._context.agent_id}: nothing more of it is settled: {error}"
            self._context.lines.say(log, logging.ERROR, text, "unsettled")
        except Exception:  # whatever a policy raises, the connection has to be ended
            log.exception("the transfer to %s was not settled as it ended", self._context.agent_id)

    def _take_offer(self) -> "_Offered | None":
        """The next element of the transaction, held; None at its end."""
        while self._offers is not None:
            element = next(self._offers, None)
            if element is None:
                break
            offered = _Offered(element)
            try:
                offered.hold()
                return offered
            except StorageError as error:
                # Deleted, or its data unreadable, since the policy looked: the next one, please.
                text = f"element {element.get_element_id()} is skipped: {error}"
                self._context.lines.say(log, logging.WARNING, text, "skipped")
                self._settle(offered, False)
        return None

    def _end_transaction(self) -> None:
        offers, self._offers = self._offers, None
        ahead, self._next, self._next_error = self._next, None, None
        try:
            self._settle_current(False)
            if ahead is not None:
                self._settle(ahead, False)
        finally:
            try:
                close = getattr(offers, "close", None)
                if close is not None:
                    close()
            finally:
                if self._policy is not None and offers is not None:
                    self._policy.settle(self._context)

    def _settle_current(self, was_stored: bool, *, is_refused: bool = False) -> None:
        """Tell the policy what became of the current element, which is the current one no more."""
        current, self._current = self._current, None
        if current is not None:
            self._context.counters.current = ""
            self._context.counters.elements_refused += is_refused
            self._settle(current, was_stored)

    def _settle(self, offered: "_Offered", was_stored: bool) -> None:
        offered.release()
        outcome = offered.outcome(was_stored)
        counters = self._context.counters
        counters.elements_sent += outcome is TransferOutcome.SUCCESSFUL
        counters.elements_claimed += outcome is TransferOutcome.CLAIMED
        if self._policy is not None:
            self._policy.apply_policy(self._context, offered.element, outcome)


class _Offered:
    """The current element. Its data is open from the start, so that nobody deletes it before it is sent."""

    def __init__(self, element: StorageBackupDataElementInterface) -> None:
        self.element = element
        self.size = 0
        self.was_described = False
        self.was_asked_for = False
        self.was_sent = False
        self._stream: BinaryIO | None = None

    def hold(self) -> None:
        """Open its data; raises StorageError."""
        self._stream = self.element.get_data_stream()
        self.size = self._stream.seek(0, 2)
        self._stream.seek(0)

    def open_stream(self) -> BinaryIO:
        """Its data, for the caller to close; raises StorageError."""
        stream, self._stream = self._stream, None
        if stream is None:
            stream = self.element.get_data_stream()
        self.was_asked_for = True
        return stream

    def release(self) -> None:
        """Let go of its data."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def outcome(self, was_stored: bool) -> TransferOutcome:
        """What became of it, by what was sent and what the peer says of it."""
        if was_stored:
            # Without its metadata nobody can have stored it, be it empty.
            is_evident = self.was_described and self.was_sent
            return TransferOutcome.SUCCESSFUL if is_evident else TransferOutcome.CLAIMED
        return TransferOutcome.ATTEMPTED if self.was_asked_for else TransferOutcome.REJECTED
