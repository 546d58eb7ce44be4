"""One stream that holds the data of several elements, taken apart by their sizes. No I/O."""

from collections.abc import Callable, Sequence

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.interface import ProtocolDataElementStream

BUFFER_SIZE = 1 << 16

Refuse = Callable[[RemoteProtocolError], RemoteProtocolError]
"""Gives the connection up, and hands out what to raise."""


def share_stream(
    stream: ProtocolDataElementStream, sizes: Sequence[int], refuse: Refuse
) -> list[ProtocolDataElementStream]:
    """The elements of a stream, to be read in their order; the last one ends it."""
    shared = _SharedStream(stream, sum(sizes), refuse)
    streams = [_ElementOfGroup(shared, size) for size in sizes]
    streams[-1].is_last = True
    return [*streams]


class _SharedStream:
    """The stream, with a buffer: elements are small, and reads of it are not."""

    def __init__(self, stream: ProtocolDataElementStream, size: int, refuse: Refuse) -> None:
        self.stream = stream
        self._size = size
        self._refuse = refuse
        self._left = size
        self._buffer = memoryview(bytearray(min(BUFFER_SIZE, size + 1)))
        self._unread = self._buffer[:0]

    def read_into(self, buffer: memoryview) -> int:
        """Some bytes, at least one."""
        if not self._unread:
            self._unread = self._buffer[: self._read()]
        count = min(len(buffer), len(self._unread))
        buffer[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count

    def end(self) -> None:
        """All was read: see that this is its end."""
        if self._unread or self._left or self.stream.read_into(self._buffer) > 0:
            raise self._refuse(RemoteProtocolError(f"elements of {self._size} bytes together have more"))

    def _read(self) -> int:
        count = self.stream.read_into(self._buffer)
        if count == 0 or count > self._left:
            came = self._size - self._left + count
            text = f"of elements of {self._size} bytes together, {came} came"
            raise self._refuse(RemoteProtocolError(text))
        self._left -= count
        return count


class _ElementOfGroup(ProtocolDataElementStream):
    """The data of one element of several."""

    def __init__(self, shared: _SharedStream, size: int) -> None:
        self.is_last = False
        self._shared = shared
        self._left = size
        self._is_ended = False

    def read_into(self, buffer: memoryview) -> int:
        if self._left:
            count = self._shared.read_into(buffer[: self._left])
            self._left -= count
            return count
        self._end()
        return 0

    def close(self) -> None:
        if self._left:
            self._shared.stream.close()
            self._left = 0
            self._is_ended = True
        else:
            self._end()

    def _end(self) -> None:
        if self.is_last and not self._is_ended:
            self._is_ended = True
            self._shared.end()
