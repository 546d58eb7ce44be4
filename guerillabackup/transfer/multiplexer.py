"""Requests and answers of both directions over one connection: every transition is in this file. No I/O.

Each side asks and is asked at once. `ASKING` is what becomes of our requests, `SERVING` of the peer's; what a
table lacks is refused. A caller moves the bytes:

    send what take() returns
    while not multiplexer.is_done:
        due = multiplexer.payload_due                  # raises when the connection is dead
        count = connection.recv_into(buffer[: due + HEADER_SIZE] if due else buffer)
        if count == 0: multiplexer.end_of_input()      # raises, unless both sides had agreed to end
        payload = buffer[: min(due, count)]            # of the part that is being received: write it away
        multiplexer.payload_received(len(payload))
        for event in multiplexer.feed(buffer[len(payload) : count]): handle it, send what take() returns

A stream goes out as `send_part(data)`, or by `send_part_header(size)`, take(), the payload sent by whatever
is fastest, and `part_sent(size)`; then `end_stream()`. Until that `part_sent`, take() hands out no more.

What the peer does wrong raises RemoteProtocolError, once the events before it are handed out, and then from
every call until the connection is closed. What the caller does at a wrong time raises RuntimeError and
changes nothing.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from guerillabackup.errors import ConnectionLostError, RemoteProtocolError
from guerillabackup.transfer.frames import (
    MAX_FRAME_SIZE,
    Bytes,
    Frame,
    FrameDecoder,
    FrameKind,
    Part,
    PartData,
    encode,
    encode_header,
)


class Asking(enum.Enum):
    """Where our own requests are; the value says it in a message."""

    IDLE = "we ask nothing"
    AWAITING = "we await an answer"
    AWAITING_TWO = "we await two answers"
    AWAITING_STREAM = "we await a stream"
    STREAMING = "we receive a stream"
    STREAMED_NOTHING = "we await the end of an empty stream"
    OFFERED = "we offered to shut down"
    ACCEPTED = "our offer to shut down was accepted"


class Serving(enum.Enum):
    """Where the peer's requests are; the value says it in a message."""

    IDLE = "it asks nothing"
    ANSWERING = "it awaits an answer"
    ANSWERING_TWO = "it awaits two answers"
    STREAMING = "it receives a stream"
    STREAMED_NOTHING = "it receives an empty stream"
    ACCEPTED = "it offered to shut down"


class Step(enum.Enum):
    """What changes a state: something sent or received; the value names it in a message."""

    REQUEST = "a request"
    STREAM_REQUEST = "a request for a stream"
    OFFER = "an offer to shut down"
    PART = "a part of a stream"
    EMPTY_PART = "an empty part of a stream"
    RESPONSE = "an answer"
    EMPTY_RESPONSE = "an empty answer"


ASKING: Mapping[tuple[Asking, Step], Asking] = {
    # We send:
    (Asking.IDLE, Step.REQUEST): Asking.AWAITING,
    (Asking.IDLE, Step.STREAM_REQUEST): Asking.AWAITING_STREAM,
    (Asking.IDLE, Step.OFFER): Asking.OFFERED,
    (Asking.AWAITING, Step.REQUEST): Asking.AWAITING_TWO,
    # We receive:
    (Asking.AWAITING, Step.RESPONSE): Asking.IDLE,
    (Asking.AWAITING, Step.EMPTY_RESPONSE): Asking.IDLE,
    (Asking.AWAITING_TWO, Step.RESPONSE): Asking.AWAITING,
    (Asking.AWAITING_TWO, Step.EMPTY_RESPONSE): Asking.AWAITING,
    (Asking.AWAITING_STREAM, Step.PART): Asking.STREAMING,
    (Asking.AWAITING_STREAM, Step.EMPTY_PART): Asking.STREAMED_NOTHING,
    (Asking.STREAMING, Step.PART): Asking.STREAMING,
    (Asking.STREAMING, Step.EMPTY_RESPONSE): Asking.IDLE,
    (Asking.STREAMED_NOTHING, Step.EMPTY_RESPONSE): Asking.IDLE,
    (Asking.OFFERED, Step.EMPTY_RESPONSE): Asking.ACCEPTED,
}
SERVING: Mapping[tuple[Serving, Step], Serving] = {
    # We receive:
    (Serving.IDLE, Step.REQUEST): Serving.ANSWERING,
    (Serving.IDLE, Step.OFFER): Serving.ACCEPTED,
    (Serving.ANSWERING, Step.REQUEST): Serving.ANSWERING_TWO,
    # We send:
    (Serving.ANSWERING, Step.RESPONSE): Serving.IDLE,
    (Serving.ANSWERING, Step.EMPTY_RESPONSE): Serving.IDLE,
    (Serving.ANSWERING_TWO, Step.RESPONSE): Serving.ANSWERING,
    (Serving.ANSWERING_TWO, Step.EMPTY_RESPONSE): Serving.ANSWERING,
    (Serving.ANSWERING, Step.PART): Serving.STREAMING,
    (Serving.ANSWERING, Step.EMPTY_PART): Serving.STREAMED_NOTHING,
    (Serving.STREAMING, Step.PART): Serving.STREAMING,
    (Serving.STREAMING, Step.EMPTY_RESPONSE): Serving.IDLE,
    (Serving.STREAMED_NOTHING, Step.EMPTY_RESPONSE): Serving.IDLE,
}


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks: answer with send_response, or with a stream. At most two wait at a time."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The answer to our oldest request that has none."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PartReceived:
    """Bytes of the stream we asked for, never none. Those that `payload_due` told of come past this."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream we asked for is whole."""


@dataclass(frozen=True, slots=True)
class ShutdownOffered:
    """The peer asks nothing more; its offer is answered already. Ours may still ask."""


@dataclass(frozen=True, slots=True)
class ShutdownDone:
    """Both sides offered and were answered: send what take() returns, then close. The last event."""


Event = RequestReceived | ResponseReceived | PartReceived | StreamEnded | ShutdownOffered | ShutdownDone
_STREAM_STATES = (Serving.STREAMING, Serving.STREAMED_NOTHING)


class StreamRequestResponseMultiplexer:
    """One connection's state, both directions. Not for more than one thread at a time."""

    def __init__(self, max_message: int = MAX_FRAME_SIZE) -> None:
        self.asking = Asking.IDLE
        self.serving = Serving.IDLE
        self._decoder = FrameDecoder(max_message)
        self._error: RemoteProtocolError | None = None
        self._has_heard = False
        self._output = bytearray()
        self._held = bytearray()
        self._payload_owed = 0

    @property
    def is_done(self) -> bool:
        """Whether both sides offered to shut down and were answered."""
        return self.asking is Asking.ACCEPTED and self.serving is Serving.ACCEPTED

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing but whole frames came so far."""
        return self._decoder.is_between_frames

    @property
    def payload_due(self) -> int:
        """How many bytes of a part of our stream come next; raises when the connection is dead."""
        self._check()
        return self._decoder.payload_due

    def payload_received(self, count: int) -> None:
        """So many of the bytes that were due were received past this object."""
        self._check()
        self._decoder.payload_received(count)

    def feed(self, data: Bytes) -> list[Event]:
        """What the received bytes mean. Keeps no reference to `data`."""
        self._check()
        self._has_heard = self._has_heard or len(data) > 0
        events: list[Event] = []
        try:
            for item in self._decoder.feed(data):
                self._receive(item, events)
            self._error = self._decoder.error
        except RemoteProtocolError as error:
            self._error = error
            if not events:
                raise
        return events

    def end_of_input(self) -> None:
        """The peer closed its side: raises ConnectionLostError, unless both had agreed to."""
        self._check()
        if self.is_done and self.is_between_frames:
            return
        where = "" if self.is_between_frames else " within a frame"
        if not self._has_heard:
            where = " and had said nothing: does its end accept us? Its log may tell; that was"
        self._error = ConnectionLostError(
            f"the peer closed the connection{where} while {self.asking.value} and {self.serving.value}"
        )
        raise self._error

    def take(self) -> bytes:
        """The bytes to send next, in order; those of a part's payload are not among them."""
        self._check()
        data = bytes(self._output)
        self._output.clear()
        return data

    def send_request(self, payload: bytes, *, is_stream: bool = False) -> None:
        """Ask; `is_stream` says that the answer is a stream. Two plain requests may be under way at once."""
        if not payload:
            raise ValueError("a request has no payload: that is the offer to shut down")
        frame = encode(FrameKind.REQUEST, payload)
        self._ask(Step.STREAM_REQUEST if is_stream else Step.REQUEST)
        self._put(frame)

    def offer_shutdown(self) -> None:
        """Say that we ask nothing more. The peer still may; ShutdownDone comes when it offered too."""
        self._ask(Step.OFFER)
        self._put(encode(FrameKind.REQUEST, b""))

    def send_response(self, payload: bytes) -> None:
        """Answer the peer's oldest request."""
        self._check()
        if self.serving in _STREAM_STATES:
            raise RuntimeError(f"cannot send an answer while {self.serving.value}")
        frame = encode(FrameKind.RESPONSE, payload)
        self._serve(Step.RESPONSE if payload else Step.EMPTY_RESPONSE)
        self._put(frame)

    def send_part(self, data: bytes) -> None:
        """Answer the peer's request with a part of a stream; an empty one only as the first and only one."""
        self.send_part_header(len(data))
        self._output += data
        self.part_sent(len(data))

    def send_part_header(self, size: int) -> None:
        """The same, with `size` bytes that the caller sends after what take() returns.

        Raises RemoteProtocolError when the peer has asked something else already: then it is dead.
        """
        self._check()
        if self._payload_owed:
            raise RuntimeError(f"{self._payload_owed} bytes of the part before have yet to be sent")
        header = encode_header(FrameKind.PART, size)
        if self.serving is Serving.ANSWERING_TWO:
            self._die("a request behind the one for a stream, before that has ended")
        self._serve(Step.PART if size else Step.EMPTY_PART)
        self._output += header
        self._payload_owed = size

    def part_sent(self, count: int) -> None:
        """So many bytes of the part's payload were sent."""
        self._check()
        if not 0 <= count <= self._payload_owed:
            raise ValueError(f"{count} bytes of payload sent, {self._payload_owed} were to be")
        self._payload_owed -= count
        if not self._payload_owed and self._held:
            self._output += self._held
            self._held.clear()

    def end_stream(self) -> None:
        """The stream is whole."""
        self._check()
        if self._payload_owed or self.serving not in _STREAM_STATES:
            raise RuntimeError(f"no stream to end: {self._payload_owed} bytes to send, {self.serving.value}")
        self._serve(Step.EMPTY_RESPONSE)
        self._put(encode(FrameKind.RESPONSE, b""))

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _die(self, text: str) -> NoReturn:
        self._error = RemoteProtocolError(f"{text}, while {self.asking.value} and {self.serving.value}")
        raise self._error

    def _put(self, frame: bytes) -> None:
        """Queue a frame; behind the payload of a part that was announced."""
        if self._payload_owed:
            self._held += frame
        else:
            self._output += frame

    def _ask(self, step: Step) -> None:
        self._check()
        state = ASKING.get((self.asking, step))
        if state is None:
            raise RuntimeError(f"cannot send {step.value} while {self.asking.value}")
        self.asking = state

    def _serve(self, step: Step) -> None:
        self._check()
        state = SERVING.get((self.serving, step))
        if state is None:
            raise RuntimeError(f"cannot send {step.value} while {self.serving.value}")
        self.serving = state

    def _receive(self, item: Frame | Part | PartData, events: list[Event]) -> None:
        if isinstance(item, PartData):
            events.append(PartReceived(item.data))
        elif isinstance(item, Part):
            self._receive_answer(Step.PART if item.size else Step.EMPTY_PART)
            if item.data:
                events.append(PartReceived(item.data))
        elif item.kind is FrameKind.RESPONSE:
            before = self._receive_answer(Step.RESPONSE if item.payload else Step.EMPTY_RESPONSE)
            if before in (Asking.AWAITING, Asking.AWAITING_TWO):
                events.append(ResponseReceived(item.payload))
            elif before is not Asking.OFFERED:
                events.append(StreamEnded())
            elif self.is_done:
                events.append(ShutdownDone())
        elif item.kind is FrameKind.REQUEST:
            self._receive_request(item.payload, events)
        else:
            self._die("an abort of a stream, which version 1 does not have")

    def _receive_answer(self, step: Step) -> Asking:
        """Take a step of the peer's answer; the state before it."""
        before = self.asking
        state = ASKING.get((before, step))
        if state is None:
            self._die(f"{step.value} nobody asked for")
        self.asking = state
        return before

    def _receive_request(self, payload: bytes, events: list[Event]) -> None:
        step = Step.REQUEST if payload else Step.OFFER
        state = SERVING.get((self.serving, step))
        if state is None:
            self._die(f"{step.value} out of turn")
        self.serving = state
        if payload:
            events.append(RequestReceived(payload))
            return
        self._put(encode(FrameKind.RESPONSE, b""))
        events.append(ShutdownOffered())
        if self.is_done:
            events.append(ShutdownDone())
