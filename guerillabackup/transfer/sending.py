"""What a peer's requests come to: its transaction, the current element, and what became of it. It
joins the policy with what is sent.

The law here: the policy is asked once for each element that was offered, however the connection ends.
"""

import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from guerillabackup.errors import MetainfoError, RemoteProtocolError, StorageError, StorageReplacedError
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.transfer.interface import (
    ElementOffer,
    QueryData,
    ServerProtocolInterface,
    TransferContext,
    TransferOutcome,
)
from guerillabackup.transfer.offered import GroupSize, Offered, open_together

LONG_STREAM = 8 << 20
"""Bytes from which on a stream lasts: what was put off is done before."""

log = logging.getLogger(__name__)


class DefaultTransferAgentServerProtocolAdapter(ServerProtocolInterface):
    """Asks the sender policy of the connection's context. Used by the one thread of the connection."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._policy = context.sender_policy
        self._offers: Iterator[StorageBackupDataElementInterface] | None = None
        self._current: Offered | None = None
        self._group: list[Offered] = []
        self._group_limit = 0
        """How many the peer takes at a time; 0 while it takes elements one by one."""
        self._streamed: Sequence[Offered] = ()
        """What the stream that was asked for last is of."""
        self._ahead: deque[Offered] = deque()
        self._ahead_error: Exception | None = None
        """The elements after those that are offered, and why there is none, as far as was looked ahead."""
        self._has_looked_ahead = False

    def get_policy_info(self) -> str | None:
        return None if self._policy is None else self._policy.get_policy_info()

    def start_transaction(self, query_data: QueryData) -> None:
        self._end_transaction()
        if self._policy is None:
            raise RemoteProtocolError("startTransaction was asked of an agent that sends nothing")
        self._offers = self._policy.query_backup_data_elements(self._context, query_data)

    def next_data_element(self, was_stored: bool) -> bool:
        self._settle_group(())
        self._settle_current(was_stored, is_refused=not was_stored)
        self._group_limit = 0
        self._has_looked_ahead = False
        self._current = self._take_next()
        if self._current is None:
            self._end_transaction()
        return self._current is not None

    def next_data_elements(self, stored: Sequence[bool], count: int) -> Sequence[bytes]:
        if len(stored) > len(self._group):
            raise RemoteProtocolError(
                f"{len(stored)} elements are said to be stored or not, of a group of {len(self._group)}"
            )
        self._settle_group(stored)
        self._settle_current(False)
        self._group_limit = count
        self._take_group()
        if not self._group:
            self._end_transaction()
        for offered in self._group:
            offered.was_described = True
        return [offered.description for offered in self._group]

    def look_ahead(self) -> None:
        offered = self._group or ([] if self._current is None else [self._current])
        if self._has_looked_ahead or not any(one.was_sent for one in offered):
            return
        self._has_looked_ahead = True
        if self._policy is None or not self._policy.looks_ahead:
            return
        wanted = min(self._group_limit, self._policy.room_for_group()) if self._group else 1
        size = GroupSize()
        try:
            while len(self._ahead) < wanted:
                ahead = self._take_offer()
                if ahead is None:
                    break
                self._ahead.append(ahead)
                if not size.has_room(ahead):
                    break
        except Exception as error:  # told when it is asked for: what was sent is acknowledged first
            self._ahead_error = error

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
        self._current.was_asked_for = True
        self._streamed = (self._current,)
        if self._current.size >= LONG_STREAM:
            self._policy.settle(self._context)
        return stream

    def get_data_elements_stream(self, numbers: Sequence[int]) -> BinaryIO:
        if self._policy is None or any(number >= len(self._group) for number in numbers):
            raise RemoteProtocolError(
                f"data was asked for of element {max(numbers)} of a group of {len(self._group)}"
            )
        chosen = [self._group[number] for number in numbers]
        self._context.counters.current = str(chosen[0].element.get_element_id())
        stream = open_together(chosen)
        for offered in chosen:
            offered.was_asked_for = True
        self._streamed = chosen
        if chosen[0].size >= LONG_STREAM:
            self._policy.settle(self._context)
        return stream

    def element_described(self) -> None:
        if self._current is not None:
            self._current.was_described = True

    def stream_ended(self, is_complete: bool) -> None:
        self._context.counters.current = ""
        streamed, self._streamed = self._streamed, ()
        if is_complete:
            for offered in streamed:
                offered.was_sent = True

    def end(self) -> None:
        try:
            self._end_transaction()
        except StorageReplacedError as error:
            text = f"peer {self._context.agent_id}: nothing more of it is settled: {error}"
            self._context.lines.say(log, logging.ERROR, text, "unsettled")
        except Exception:  # whatever a policy raises, the connection has to be ended
            log.exception("the transfer to %s was not settled as it ended", self._context.agent_id)

    def _take_group(self) -> None:
        """Go to the next elements that are offered together."""
        self._has_looked_ahead = False
        assert self._policy is not None or self._offers is None
        wanted = self._group_limit
        if self._policy is not None and self._policy.room_for_group() < wanted:
            # What was put off takes room.
            self._policy.settle(self._context)
            wanted = min(wanted, len(self._ahead) + max(1, self._policy.room_for_group()))
        size = GroupSize()
        while len(self._group) < wanted:
            offered = self._take_next()
            if offered is None:
                return
            if not size.has_room(offered):
                self._ahead.appendleft(offered)
                return
            self._group.append(offered)

    def _take_next(self) -> Offered | None:
        """The next element of the transaction, held; None at its end."""
        while self._ahead:
            ahead = self._ahead.popleft()
            if self._is_held(ahead):
                return ahead
        error, self._ahead_error = self._ahead_error, None
        if error is not None:
            raise error
        return self._take_offer()

    def _take_offer(self) -> Offered | None:
        """The next one that the policy offers."""
        while self._offers is not None:
            element = next(self._offers, None)
            if element is None:
                break
            offered = Offered(element)
            if self._is_held(offered, is_new=True):
                return offered
        return None

    def _is_held(self, offered: Offered, *, is_new: bool = False) -> bool:
        """Whether it can be sent as the peer takes elements; else it is settled."""
        try:
            if is_new:
                offered.hold()
            if self._group_limit:
                offered.hold_in_group()
            return True
        except StorageError as error:
            # Deleted, or its data unreadable, since the policy looked: the next one, please.
            text = f"element {offered.element.get_element_id()} is skipped: {error}"
            self._context.lines.say(log, logging.WARNING, text, "skipped")
        except MetainfoError as error:
            text = f"peer {self._context.agent_id}: an element is not offered: {error}"
            self._context.lines.say(log, logging.WARNING, text, "not offered")
        self._settle(offered, False)
        return False

    def _end_transaction(self) -> None:
        offers, self._offers = self._offers, None
        ahead, self._ahead, self._ahead_error = self._ahead, deque(), None
        with contextlib.ExitStack() as stack:
            if self._policy is not None and offers is not None:
                stack.callback(self._policy.settle, self._context)
            close = getattr(offers, "close", None)
            if close is not None:
                stack.callback(close)
            for offered in reversed(ahead):
                stack.callback(self._settle, offered, False)
            stack.callback(self._settle_group, ())
            self._settle_current(False)

    def _settle_group(self, stored: Sequence[bool]) -> None:
        """Tell the policy what became of the elements of the group, in their order; the group is no more."""
        group, self._group = self._group, []
        self._context.counters.current = ""
        with contextlib.ExitStack() as stack:
            # Each, whatever becomes of those before.
            for offered, was_stored in reversed(list(itertools.zip_longest(group, stored, fillvalue=False))):
                assert isinstance(offered, Offered)
                stack.callback(self._settle, offered, was_stored)
                self._context.counters.elements_refused += bool(stored) and not was_stored

    def _settle_current(self, was_stored: bool, *, is_refused: bool = False) -> None:
        """Tell the policy what became of the current element, which is the current one no more."""
        current, self._current = self._current, None
        if current is not None:
            self._context.counters.current = ""
            self._context.counters.elements_refused += is_refused
            self._settle(current, was_stored)

    def _settle(self, offered: Offered, was_stored: bool) -> None:
        offered.release()
        outcome = offered.outcome(was_stored)
        counters = self._context.counters
        counters.elements_sent += outcome is TransferOutcome.SUCCESSFUL
        counters.elements_claimed += outcome is TransferOutcome.CLAIMED
        if self._policy is not None:
            self._policy.apply_policy(self._context, offered.element, outcome)
