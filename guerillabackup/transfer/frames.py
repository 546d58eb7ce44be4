"""Frames of the wire, version 1: a type byte, 4 bytes of length (little-endian), the payload. No I/O.

The payload of P frames is bulk data and need not pass the decoder: while `payload_due` is not 0, so many
of the next bytes of input belong to one part. Whoever reads the connection receives them into a buffer of
its own and says `payload_received(count)`, or feeds them: the result is the same. It may ask the connection
for up to `payload_due + HEADER_SIZE` bytes at once; what comes behind the payload is to be fed.
"""

import enum
import struct
from dataclasses import dataclass

from guerillabackup.errors import RemoteProtocolError

HEADER = struct.Struct("<BI")
HEADER_SIZE = HEADER.size
MAX_FRAME_SIZE = 1 << 20
"""Bytes of payload in one frame, the wire's own limit."""

Bytes = bytes | bytearray | memoryview


class FrameKind(enum.Enum):
    """The first byte of a frame."""

    ABORT = b"A"
    """Of a running stream. Reserved: nobody sends it in version 1."""
    PART = b"P"
    """Some of a stream's bytes."""
    RESPONSE = b"R"
    """The answer to a request, or empty: the end of a stream."""
    REQUEST = b"S"
    """A request, or empty: the offer to shut down."""


PART = ord(b"P")
KINDS = {ord(kind.value): kind for kind in FrameKind}


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame that is no part."""

    kind: FrameKind
    payload: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A P frame of `size` bytes began; `data` is what of them came with its header."""

    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PartData:
    """More bytes of the part that began last, never none."""

    data: bytes


class FrameDecoder:
    """Turns received bytes into frames, in whatever pieces the bytes come.

    `max_message` limits the payload of all frames but parts, which the wire's own limit holds for. What is
    wrong raises RemoteProtocolError; where whole frames come before it in what was fed, these are handed
    out, `error` is set, and every later call raises it.
    """

    def __init__(self, max_message: int = MAX_FRAME_SIZE) -> None:
        self.error: RemoteProtocolError | None = None
        self.payload_due = 0
        """Bytes of the present part's payload that have yet to come."""
        self._max_message = min(max_message, MAX_FRAME_SIZE)
        self._buffer = bytearray()
        self._needed = HEADER_SIZE

    @property
    def is_between_frames(self) -> bool:
        """Whether input may end here without cutting a frame in two."""
        return not self._buffer and self.payload_due == 0

    def feed(self, data: Bytes) -> list[Frame | Part | PartData]:
        """The frames that are whole by now, and what there is of parts. Keeps no reference to `data`."""
        self._check()
        items: list[Frame | Part | PartData] = []
        if self.payload_due and data:
            payload = bytes(data[: self.payload_due])
            data = data[len(payload) :]
            self.payload_due -= len(payload)
            items.append(PartData(payload))
        self._buffer += data
        if len(self._buffer) >= self._needed:
            self._parse(items)
        if self.error is not None and not items:
            raise self.error
        return items

    def payload_received(self, count: int) -> None:
        """So many bytes of the part's payload were received past the decoder."""
        self._check()
        if not 0 <= count <= self.payload_due:
            raise ValueError(f"{count} bytes of payload received, {self.payload_due} were due")
        self.payload_due -= count

    def _check(self) -> None:
        if self.error is not None:
            raise self.error.with_traceback(None)

    def _parse(self, items: list[Frame | Part | PartData]) -> None:
        """Take every frame from the buffer; leaves less than `_needed` bytes there, or an error."""
        buffer, length, position = self._buffer, len(self._buffer), 0
        while True:
            if length - position < HEADER_SIZE:
                self._needed = HEADER_SIZE
                break
            code, size = HEADER.unpack_from(buffer, position)
            if code not in KINDS or size > (MAX_FRAME_SIZE if code == PART else self._max_message):
                self.error = self._refusal(code, size)
                break
            end = position + HEADER_SIZE + size
            if code == PART:
                items.append(Part(size, bytes(buffer[position + HEADER_SIZE : end])))
                self.payload_due = max(0, end - length)
            elif end > length:
                self._needed = HEADER_SIZE + size
                break
            else:
                items.append(Frame(KINDS[code], bytes(buffer[position + HEADER_SIZE : end])))
            position = min(end, length)
        del buffer[:position]

    def _refusal(self, code: int, size: int) -> RemoteProtocolError:
        kind = bytes((code,))
        if code not in KINDS:
            return RemoteProtocolError(f"frame of type {kind!r}, which is none of A, P, R and S")
        limit = MAX_FRAME_SIZE if code == PART else self._max_message
        return RemoteProtocolError(f"frame {kind.decode('ascii')} of {size} bytes, limit {limit}")


def encode_header(kind: FrameKind, size: int) -> bytes:
    """The header of a frame whose payload of `size` bytes follows."""
    if not 0 <= size <= MAX_FRAME_SIZE:
        raise ValueError(f"frame of {size} bytes, limit {MAX_FRAME_SIZE}")
    return HEADER.pack(ord(kind.value), size)


def encode(kind: FrameKind, payload: bytes) -> bytes:
    """A whole frame."""
    return encode_header(kind, len(payload)) + payload
