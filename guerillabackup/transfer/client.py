"""The asking half of a connection: requests to the peer's sender policy. Joins connection and messages."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from guerillabackup.errors import ConnectionLostError, IntegrityError, RemoteProtocolError
from guerillabackup.transfer.announcement import describe_peer, find_loop, own_announcement
from guerillabackup.transfer.connection import PeerConnection
from guerillabackup.transfer.group_stream import share_stream
from guerillabackup.transfer.interface import (
    ClientProtocolInterface,
    ElementOffer,
    ProtocolDataElementStream,
    QueryData,
    RemotePolicyInfo,
    TransferContext,
)
from guerillabackup.transfer.messages import (
    MAX_GROUP,
    GetDataElementInfo,
    GetDataElementsStream,
    GetDataElementStream,
    GetPolicyInfo,
    NextDataElement,
    NextDataElements,
    StartTransaction,
    encode_request,
    parse_element_info,
    parse_group,
    parse_has_element,
    parse_policy_info,
    parse_started,
)
from guerillabackup.transfer.server import JsonStreamServerProtocolRequestHandler

MAX_DRAINED = 1 << 20
"""Bytes of an element that are received for nothing when its stream is closed early, before the connection is
given up instead."""

_NEXT = {is_stored: encode_request(NextDataElement(is_stored)) for is_stored in (False, True)}
_INFO = encode_request(GetDataElementInfo())
_STREAM = encode_request(GetDataElementStream())

Parsed = TypeVar("Parsed")


class JsonStreamClientProtocolAdapter(ClientProtocolInterface):
    """Asks over a connection, and notes in the context what the peer said of itself."""

    def __init__(
        self,
        connection: PeerConnection,
        context: TransferContext,
        handler: JsonStreamServerProtocolRequestHandler,
    ) -> None:
        self._connection = connection
        self._context = context
        self._handler = handler
        self._is_stopping = threading.Event()
        self._group: Sequence[ElementOffer | IntegrityError] = ()
        """What is offered together just now."""

    def request_stop(self) -> None:
        self._is_stopping.set()
        self._handler.request_stop()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._is_stopping.is_set()

    def get_remote_policy_info(self) -> RemotePolicyInfo | None:
        context = self._context
        try:
            (answer,) = self._connection.ask(encode_request(GetPolicyInfo(own_announcement(context))))
            info = self._parse(parse_policy_info, answer)
        except RemoteProtocolError as error:
            # The other end has seen it first, and ended.
            if context.loop is not None:
                raise self._refuse(RemoteProtocolError(context.loop)) from error
            raise
        loop = context.loop or find_loop(context, info.announcement)
        if loop is not None:
            raise self._refuse(RemoteProtocolError(loop))
        self._context.remote = describe_peer(info.policy, info.announcement)
        return None if info.policy is None else self._context.remote

    def start_transaction(self, query_data: QueryData = None) -> None:
        if self.is_stopping:
            return
        query = None if query_data is None else tuple(query_data)
        (answer,) = self._connection.ask(encode_request(StartTransaction(query)))
        self._parse(parse_started, answer)

    def next_data_element(self, was_stored: bool = False) -> bool:
        if self.is_stopping and not was_stored:
            return False
        (answer,) = self._connection.ask(_NEXT[was_stored])
        return self._parse(parse_has_element, answer) and not self.is_stopping

    def get_data_element_info(self) -> ElementOffer | None:
        (answer,) = self._connection.ask(_INFO)
        return self._parse_offer(answer)

    def next_offer(self, was_stored: bool = False) -> ElementOffer | None:
        if self.is_stopping:
            self.next_data_element(was_stored)
            return None
        has_next, answer = self._connection.ask(_NEXT[was_stored], _INFO)
        if not self._parse(parse_has_element, has_next):
            return None
        offer = self._parse_offer(answer)
        if offer is None:
            raise self._refuse(RemoteProtocolError("the peer has a next element, and says there is none"))
        return offer

    def get_data_element_stream(self) -> ProtocolDataElementStream:
        self._connection.open_stream(_STREAM)
        return JsonClientProtocolDataElementStream(self._connection)

    def next_offers(
        self, stored: Sequence[bool] = (), count: int = 1
    ) -> Sequence[ElementOffer | IntegrityError]:
        if not self._context.offers_groups:
            return super().next_offers(stored, count)
        self._group = ()
        if self.is_stopping and not any(stored):
            return ()
        count = 1 if self.is_stopping else min(count, MAX_GROUP)
        (answer,) = self._connection.ask(encode_request(NextDataElements(tuple(stored), count)))
        group = self._parse(lambda payload: parse_group(payload, count), answer)
        if self.is_stopping:
            return ()
        self._group = group
        return group

    def get_data_element_streams(self, numbers: Sequence[int]) -> Sequence[ProtocolDataElementStream]:
        if not self._context.offers_groups:
            return super().get_data_element_streams(numbers)
        self._connection.open_stream(encode_request(GetDataElementsStream(tuple(numbers))))
        stream = JsonClientProtocolDataElementStream(self._connection)
        if len(numbers) == 1:
            return (stream,)
        offers = [self._group[number] for number in numbers]
        sizes = [offer.size or 0 for offer in offers if isinstance(offer, ElementOffer)]
        return share_stream(stream, sizes, self._refuse)

    def offer_shutdown(self) -> None:
        self._connection.offer_shutdown()

    def wait_for_shutdown(self) -> None:
        self._connection.wait_for_shutdown()

    def force_shutdown(self) -> None:
        self._context.is_forced = True
        self._connection.force("the connection was ended from here")

    def close(self) -> None:
        self._connection.close()

    def _parse_offer(self, answer: bytes) -> ElementOffer | None:
        return self._parse(parse_element_info, answer)

    def _parse(self, parse: Callable[[bytes], Parsed], answer: bytes) -> Parsed:
        try:
            return parse(answer)
        except RemoteProtocolError as error:
            self._refuse(error)
            raise

    def _refuse(self, error: RemoteProtocolError) -> RemoteProtocolError:
        self._connection.give_up(error)
        return error


class JsonClientProtocolDataElementStream(ProtocolDataElementStream):
    """The data of one element, right from the connection."""

    def __init__(self, connection: PeerConnection) -> None:
        self._connection = connection

    def read_into(self, buffer: memoryview) -> int:
        return self._connection.read_stream(buffer)

    def close(self) -> None:
        buffer = memoryview(bytearray(1 << 16))
        drained = 0
        while self._connection.is_stream_open and drained < MAX_DRAINED:
            try:
                drained += self._connection.read_stream(buffer)
            except Exception:  # it is dead, as the next call will say; who closes has an error of its own
                return
        if self._connection.is_stream_open:
            error = ConnectionLostError("an element's data was not taken: version 1 cannot end its stream")
            self._connection.give_up(error)
