"""One connection to a peer: while this side waits for an answer, it answers. Joins channel and multiplexer.

Each pass sends what goes, at most one part of a stream, and receives what came, at most one buffer. So
neither side's stream holds up the other's, and two sides that both send never wait for each other.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, TypeVar

from guerillabackup.errors import ConnectionLostError, GuerillaBackupError, RemoteProtocolError
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.frames import HEADER_SIZE, MAX_FRAME_SIZE
from guerillabackup.transfer.multiplexer import (
    Asking,
    Event,
    PartReceived,
    RequestReceived,
    ResponseReceived,
    ShutdownOffered,
    StreamEnded,
    StreamRequestResponseMultiplexer,
)
from guerillabackup.transfer.outgoing import OutgoingStream
from guerillabackup.transfer.pace import Awaited, PaceLimits, PaceWatch
from guerillabackup.unexpected import forget_frames

RECEIVE_SIZE = 1 << 16
"""Bytes received at once while no part of a stream is due."""
SMALL_SIZE = 1 << 16
"""A stream of at most so many bytes goes out in one piece with what is around it."""
LEGACY_PART_SIZE = 1 << 16
"""Of a part for a peer that has not announced itself: the original adds up the bytes of a part anew each time
some come, and its own parts have this size."""

MAX_UNSENT = 4 << 20
"""Bytes of answers that wait to be sent. A peer may await two of them, of a frame each: only one that asks on
without reading gets there."""
MAX_QUOTED = 200
"""Bytes that are told of what is no protocol."""
SAID_NOTHING = (
    "it had said nothing before: the other side may have refused this one "
    "(certificate, socket's mode, storage), look at its log"
)

_ASKING_STREAM = (Asking.AWAITING_STREAM, Asking.STREAMING, Asking.STREAMED_NOTHING)


Error = TypeVar("Error", bound=Exception)


class RequestHandler(Protocol):
    """What the peer's requests come to."""

    @property
    def takes_large_parts(self) -> bool:
        """Whether the peer is one of ours, as far as is known by now."""

    @property
    def is_chatter(self) -> bool:
        """Whether the last request asked for nothing but who this is."""

    def handle_request(self, payload: bytes) -> bytes | BinaryIO:
        """The answer's payload; or a file with a descriptor: its content is the stream, and it is closed."""

    def data_sent(self, count: int) -> None:
        """So many bytes of the last stream's data were given to the system to send."""

    def stream_ended(self, is_complete: bool) -> None:
        """How the last stream ended: all of it was given to the system to send, or not."""

    def look_ahead(self) -> None:
        """Nothing is to be sent, and nothing has come: the peer is busy. Called often."""


class PeerConnection:
    """Requests and answers, both ways. One thread uses it; `force` and `request_stop` are for any.

    After an error every call raises that error, but `close`.
    """

    def __init__(self, channel: Channel, handler: RequestHandler, limits: PaceLimits | None = None) -> None:
        self._channel = channel
        self._handler = handler
        self._multiplexer = StreamRequestResponseMultiplexer()
        self._pace = PaceWatch(limits or PaceLimits())
        self._buffer = bytearray(RECEIVE_SIZE)
        self._tail = bytearray(HEADER_SIZE)
        self._output = memoryview(b"")
        self._stream: OutgoingStream | None = None
        self._answers: deque[bytes] = deque()
        self._parts: deque[memoryview] = deque()
        self._is_stream_over = True
        self._unsent = 0
        self._was_offered = False
        self._has_understood = False
        self._began_with = b""
        self._was_closed = False
        self._error: Exception | None = None

    def ask(self, *requests: bytes) -> list[bytes]:
        """Ask one thing, or two in one go; the answers in that order."""
        with self._noting_errors():
            for request in requests:
                self._multiplexer.send_request(request)
            self._run(lambda: len(self._answers) == len(requests))
            answers = list(self._answers)
            self._answers.clear()
            return answers

    def open_stream(self, request: bytes) -> None:
        """Ask for a stream, which is then read to its end before anything else is asked."""
        with self._noting_errors():
            self._multiplexer.send_request(request, is_stream=True)
            self._is_stream_over = False
            self._send()

    def read_stream(self, buffer: memoryview) -> int:
        """Some bytes of the stream, at least one; 0 at its end."""
        with self._noting_errors():
            # What came already may last for minutes, at the pace of a limit.
            self._channel.check()
            if not self._parts and not self._is_stream_over:
                received = self._run_for_payload(buffer)
                if received:
                    return received
            return self._take_parts(buffer)

    @property
    def is_stream_open(self) -> bool:
        """Whether there is more to read of the stream that was asked for, if only its end."""
        return not self._is_stream_over or bool(self._parts)

    def give_up(self, error: Exception) -> None:
        """Be dead from now on, by that error; the first one counts."""
        self._error = self._error or error

    def offer_shutdown(self) -> None:
        """Say that nothing more is asked; returns when the peer has taken note."""
        with self._noting_errors():
            self._multiplexer.offer_shutdown()
            self._run(lambda: self._multiplexer.asking is Asking.ACCEPTED)

    def wait_for_shutdown(self) -> None:
        """Answer the peer until it asks nothing more."""
        with self._noting_errors():
            self._run(lambda: self._was_offered and not self._has_output)

    def force(self, reason: str) -> None:
        """End it at once, from any thread."""
        self._channel.force(reason)

    def close(self) -> None:
        """End it; may be called twice."""
        self._drop_stream()
        self._channel.close()
        forget_frames(self._error)

    @property
    def _has_output(self) -> bool:
        return bool(self._output) or self._stream is not None

    def _take_parts(self, buffer: memoryview) -> int:
        """What came of the stream in small parts, as many of them as there is room for."""
        filled = 0
        while self._parts and filled < len(buffer):
            part = self._parts[0]
            count = min(len(part), len(buffer) - filled)
            buffer[filled : filled + count] = part[:count]
            filled += count
            if count < len(part):
                self._parts[0] = part[count:]
            else:
                self._parts.popleft()
        return filled

    @contextlib.contextmanager
    def _noting_errors(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            yield
        except RemoteProtocolError as error:
            explanation = self._explain(error)
            if not explanation:
                self._note(error)
                raise
            raise self._note(type(error)(f"{error}; {explanation}")) from error
        except GuerillaBackupError as error:
            raise self._note(ConnectionLostError(f"the peer could not be served: {error}")) from error
        except Exception as error:
            self._note(error)
            raise

    def _explain(self, error: RemoteProtocolError) -> str:
        """What else is known of it: by whoever is in between, or that this is no such peer."""
        if isinstance(error, ConnectionLostError):
            words = [self._channel.explain()]
            if self._was_closed and not self._has_understood and not self._began_with:
                words.insert(0, SAID_NOTHING)
            return "; ".join(word for word in words if word)
        return "" if self._has_understood or not self._began_with else f"it began with {self._began_with!r}"

    def _note(self, error: Error) -> Error:
        self._error = error
        self._drop_stream()
        return error

    def _run(self, is_enough: Callable[[], bool]) -> None:
        self._send()
        while not is_enough():
            self._pass(None)

    def _run_for_payload(self, buffer: memoryview) -> int:
        """Go on until there is data of the stream, or its end; the bytes that went right into the buffer."""
        while True:
            received = self._pass(buffer)
            if received or self._parts or self._is_stream_over:
                return received

    def _pass(self, buffer: memoryview | None) -> int:
        """Wait, receive, send: the bytes of payload that went into the buffer."""
        multiplexer, pace = self._multiplexer, self._pace
        has_output = self._has_output
        if not has_output:
            self._handler.look_ahead()
        pace.set_awaited(
            {
                Awaited.MESSAGE_IN: not multiplexer.is_between_frames and not multiplexer.payload_due,
                Awaited.MESSAGE_OUT: has_output and self._stream is None,
                Awaited.STREAM_IN: multiplexer.asking in _ASKING_STREAM,
                Awaited.STREAM_OUT: self._stream is not None,
            }
        )
        can_receive, can_send, waited = self._channel.wait(
            for_input=True, for_output=has_output, timeout=pace.timeout()
        )
        pace.waited(waited)
        if not can_receive and not can_send:
            pace.check()
            return 0
        received = self._receive(buffer) if can_receive else 0
        self._send()
        return received

    def _receive(self, buffer: memoryview | None) -> int:
        due = self._multiplexer.payload_due
        if due and buffer is not None and not self._parts:
            return self._receive_payload(buffer, due)
        count = self._channel.receive([self._buffer])
        if count is not None:
            if count == 0:
                self._was_closed = True
                self._multiplexer.end_of_input()
            self._pace.moved(Awaited.MESSAGE_IN, count)
            self._handle(self._feed(count))
        return 0

    def _feed(self, count: int) -> list[Event]:
        """What so many bytes in the buffer mean."""
        if not self._has_understood:
            self._began_with = (self._began_with + self._buffer[: min(count, MAX_QUOTED)])[:MAX_QUOTED]
        return self._multiplexer.feed(memoryview(self._buffer)[:count])

    def _receive_payload(self, buffer: memoryview, due: int) -> int:
        """Receive into the caller's buffer, and the next frame's header with it."""
        room = min(due, len(buffer))
        buffers: list[memoryview | bytearray] = [buffer[:room]]
        if room == due:
            buffers.append(self._tail)
        count = self._channel.receive(buffers)
        if count is None:
            return 0
        if count == 0:
            self._multiplexer.end_of_input()
        received = min(count, room)
        self._multiplexer.payload_received(received)
        self._pace.moved(Awaited.STREAM_IN, received)
        if count > received:
            self._handle(self._multiplexer.feed(self._tail[: count - received]))
        return received

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            self._has_understood = True
            # What came is whole: the next message has all its time.
            self._pace.set_awaited({Awaited.MESSAGE_IN: False})
            match event:
                case PartReceived(data):
                    self._parts.append(memoryview(data))
                    self._pace.moved(Awaited.STREAM_IN, len(data))
                case StreamEnded():
                    self._is_stream_over = True
                case ResponseReceived(payload):
                    self._pace.has_purpose()
                    self._answers.append(payload)
                case RequestReceived(payload):
                    self._answer(payload)
                case ShutdownOffered():
                    self._was_offered = True

    def _answer(self, request: bytes) -> None:
        if self._stream is not None:
            raise RemoteProtocolError("a request before the stream that was asked for last could be sent")
        answer = self._handler.handle_request(request)
        if self._handler.is_chatter:
            self._pace.chatted()
        else:
            self._pace.has_purpose()
        if isinstance(answer, bytes):
            self._multiplexer.send_response(answer)
            self._unsent += len(answer)
            if self._unsent > MAX_UNSENT:
                raise RemoteProtocolError(
                    f"the peer leaves {self._unsent} bytes of answers, limit {MAX_UNSENT}"
                )
            return
        stream = self._stream = OutgoingStream(answer)
        if stream.size <= SMALL_SIZE:
            self._multiplexer.send_part(stream.read_all())
            self._multiplexer.end_stream()
            self._handler.data_sent(stream.size)
            stream.offset, stream.is_ended = stream.size, True

    def _send(self) -> None:
        """Send what goes, at most one part of a stream."""
        try:
            self._send_some()
        except ConnectionLostError:
            self._was_closed = True
            # The peer's last words say more than that it has gone: a login shell's refusal, say.
            with contextlib.suppress(ConnectionLostError):
                self._feed(self._channel.receive([self._buffer]) or 0)
            raise

    def _send_some(self) -> None:
        while True:
            if not self._output:
                self._output = memoryview(self._multiplexer.take())
                if not self._output:
                    self._unsent = 0
            if self._output:
                count = self._channel.send([self._output])
                self._pace.moved(Awaited.MESSAGE_OUT, count)
                self._output = self._output[count:]
                if self._output:
                    return
            stream = self._stream
            if stream is None or (stream.part_left and not self._send_part(stream)):
                return
            if stream.is_ended:
                self._end_stream(True)
            elif stream.offset == stream.size:
                self._multiplexer.end_stream()
                stream.is_ended = True
            elif stream.part_left == 0:
                self._begin_part(stream)

    def _begin_part(self, stream: OutgoingStream) -> None:
        limit = MAX_FRAME_SIZE if self._handler.takes_large_parts else LEGACY_PART_SIZE
        stream.part_left = min(limit, stream.size - stream.offset)
        self._multiplexer.send_part_header(stream.part_left)

    def _send_part(self, stream: OutgoingStream) -> bool:
        """Send of the part what goes; whether to go on in this pass: the data is all sent."""
        count = self._channel.send_file(stream.descriptor, stream.offset, stream.part_left)
        if count is None:
            raise stream.cut(stream.offset)
        stream.offset += count
        stream.part_left -= count
        self._multiplexer.part_sent(count)
        self._pace.moved(Awaited.STREAM_OUT, count)
        self._handler.data_sent(count)
        return stream.offset == stream.size

    def _end_stream(self, is_complete: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.file.close()
            self._handler.stream_ended(is_complete)

    def _drop_stream(self) -> None:
        self._end_stream(False)
