"""The answering half of a connection: requests go to the sender policy. No I/O."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from guerillabackup.errors import MetainfoError, RemoteProtocolError
from guerillabackup.transfer.announcement import describe_peer, find_loop, own_announcement
from guerillabackup.transfer.announcement_json import Announcement
from guerillabackup.transfer.interface import ServerProtocolInterface, TransferContext
from guerillabackup.transfer.messages import (
    GetDataElementInfo,
    GetDataElementsStream,
    GetDataElementStream,
    GetPolicyInfo,
    NextDataElement,
    NextDataElements,
    StartTransaction,
    encode_element_info,
    encode_group,
    encode_has_element,
    encode_policy_info,
    encode_started,
    parse_request,
)

log = logging.getLogger(__name__)


class JsonStreamServerProtocolRequestHandler:
    """Answers the requests of one connection."""

    def __init__(self, server: ServerProtocolInterface, context: TransferContext) -> None:
        self._server = server
        self._context = context
        self._is_stopping = False
        self.is_chatter = False
        self._info: bytes | None = None
        """The current element's description, when it was made already."""

    def request_stop(self) -> None:
        """Offer nothing more: from now on there is no next element. From any thread."""
        self._is_stopping = True

    @property
    def takes_large_parts(self) -> bool:
        """Whether the peer has said that it is one of ours."""
        announced = self._context.announced
        return announced is not None and announced.is_announcing

    def handle_request(self, payload: bytes) -> bytes | BinaryIO:
        """The answer, or the stream that is it; raises RemoteProtocolError for what may not be asked."""
        request = parse_request(payload)
        self.is_chatter = isinstance(request, GetPolicyInfo)
        match request:
            case GetPolicyInfo(announcement):
                return self._get_policy_info(announcement)
            case StartTransaction(query):
                self._info = None
                self._context.was_asked = True
                if not self._is_stopping:
                    self._server.start_transaction(query)
                return encode_started()
            case NextDataElement(was_stored):
                return encode_has_element(self._go_on(was_stored))
            case NextDataElements(stored, count):
                return self._next_group(stored, count)
            case GetDataElementsStream(numbers):
                return self._server.get_data_elements_stream(numbers)
            case GetDataElementInfo():
                return self._describe()
            case GetDataElementStream():
                return self._open_stream()

    def data_sent(self, count: int) -> None:
        """Count bytes of an element that were sent."""
        self._context.counters.bytes_sent += count

    def stream_ended(self, is_complete: bool) -> None:
        """Tell the policy how the stream ended."""
        self._server.stream_ended(is_complete)

    def look_ahead(self) -> None:
        """Use the time in which the peer is busy."""
        if not self._is_stopping:
            self._server.look_ahead()

    def _get_policy_info(self, announcement: Announcement | None) -> bytes:
        policy = self._server.get_policy_info()
        if announcement is None:
            return encode_policy_info(policy)
        self._context.announced = describe_peer(None, announcement)
        # Answered all the same, so that both ends can say so.
        self._context.loop = find_loop(self._context, announcement)
        return encode_policy_info(policy, own_announcement(self._context))

    def _go_on(self, was_stored: bool) -> bool:
        """Go to the next element that can be described."""
        self._info = None
        while self._next_element(was_stored):
            if self._is_stopping:
                # It stays the current one, and is settled as one that was not asked for.
                self._info = encode_element_info(None)
                return False
            try:
                self._info = self._encode_info()
                return True
            except MetainfoError as error:
                text = f"peer {self._context.agent_id}: an element is not offered: {error}"
                self._context.lines.say(log, logging.WARNING, text, "not offered")
                was_stored = False
        return False

    def _next_group(self, stored: Sequence[bool], count: int) -> bytes:
        """Go to the next group, which is none when a stop was requested."""
        self._info = None
        with self._noting_sent():
            return encode_group(self._server.next_data_elements(stored, 0 if self._is_stopping else count))

    def _next_element(self, was_stored: bool) -> bool:
        with self._noting_sent():
            return self._server.next_data_element(was_stored)

    @contextlib.contextmanager
    def _noting_sent(self) -> Iterator[None]:
        """Note when an element is acknowledged in here."""
        counters = self._context.counters
        sent = counters.elements_sent
        try:
            yield
        finally:
            if counters.elements_sent > sent:
                counters.last_sent = self._context.now()

    def _describe(self) -> bytes:
        if self._info is None:
            self._info = self._encode_info()
        self._server.element_described()
        return self._info

    def _encode_info(self) -> bytes:
        return encode_element_info(self._server.get_data_element_info())

    def _open_stream(self) -> BinaryIO:
        if self._is_stopping and self._info == encode_element_info(None):
            raise RemoteProtocolError("an element's data was asked for, and there was no next element")
        return self._server.get_data_element_stream()
