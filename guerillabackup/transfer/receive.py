"""Takes the data of one element: from the peer's stream into a sink handle, hashed on the way.

Small elements are hashed where they are; larger ones in a thread, which releases the GIL, with few buffers
that go round. Touches: hashlib, os, queue, threading, time.
"""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from guerillabackup.errors import IntegrityError
from guerillabackup.osfile import start_writeback, storage_errors
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.interface import ProtocolDataElementStream

BUFFER_SIZE = 1 << 18
BUFFER_COUNT = 4
WRITEBACK_SIZE = 16 << 20
"""Bytes after which the kernel is told to begin writing: the sync at the end is short then."""


class OversizeError(IntegrityError):
    """An element is larger than it may be; its stream is not at its end."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came: bytes, their SHA-512, and whether they are those of the copy they were compared with."""

    size: int
    digest: bytes
    is_same: bool = False


class StoredCopy:
    """Compares what comes with the data of an element that is here already; `descriptor` is the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._scratch = bytearray(BUFFER_SIZE)
        self.is_same = True

    def compare(self, data: memoryview) -> None:
        """The next bytes that came. An error of reading makes it another one."""
        if not self.is_same:
            return
        try:
            count = 0
            while count < len(data):
                room = memoryview(self._scratch)[count : len(data)]
                got = os.preadv(self._descriptor, [room], self._offset + count)
                if got == 0:
                    break
                count += got
        except OSError:
            count = -1
        self._offset += len(data)
        self.is_same = count == len(data) and self._scratch[:count] == data

    def ends_here(self) -> bool:
        """Whether all was the same, to the end; what is the same is durable then."""
        try:
            if not self.is_same or os.fstat(self._descriptor).st_size != self._offset:
                return False
            os.fsync(self._descriptor)
        except OSError:
            return False
        return True


class StreamTaker:
    """The buffers of one connection, and the loop through them. Used by one thread.

    `on_bytes` hears how many bytes came each time, after how many seconds of waiting for the peer. Nothing
    waits for the limit once `is_over` says so.
    """

    def __init__(
        self,
        bandwidth: BandwidthLimit,
        on_bytes: Callable[[int, float], None] = lambda count, waited: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_over = is_over
        self._bandwidth = bandwidth
        self._on_bytes = on_bytes
        self._buffers = [memoryview(bytearray(BUFFER_SIZE))]
        self._waits_since: float | None = None

    def silence(self) -> float:
        """Seconds for which the peer has been waited for by now; from any thread."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    def take(
        self,
        stream: ProtocolDataElementStream,
        handle: SinkHandleInterface,
        max_size: int | None = None,
        copy: StoredCopy | None = None,
    ) -> Taken:
        """Write all of a stream to a handle; OversizeError as soon as there is more than `max_size`."""
        first = self._buffers[0]
        filled, is_end = self._fill(stream, first)
        _check_size(filled, max_size)
        if not is_end:
            return self._take_large(stream, handle, max_size, copy)
        data = first[:filled]
        if filled:
            handle.write(data)
        if copy is not None:
            copy.compare(data)
        return Taken(filled, hashlib.sha512(data).digest(), copy is not None and copy.ends_here())

    def _take_large(
        self,
        stream: ProtocolDataElementStream,
        handle: SinkHandleInterface,
        max_size: int | None,
        copy: StoredCopy | None,
    ) -> Taken:
        """The same when the first buffer is full and there is more to come."""
        while len(self._buffers) < BUFFER_COUNT:
            self._buffers.append(memoryview(bytearray(BUFFER_SIZE)))
        descriptor = handle.get_sink_stream()
        size = started = 0
        with _Hasher(self._buffers) as hasher:
            buffer, filled, is_end = hasher.next_buffer(), BUFFER_SIZE, False
            while filled:
                size += filled
                _check_size(size, max_size)
                data = buffer[:filled]
                hasher.put(buffer, filled)
                handle.write(data)
                if copy is not None:
                    copy.compare(data)
                if size - started >= WRITEBACK_SIZE:
                    start_writeback(descriptor, started, size - started)
                    started = size
                if is_end:
                    break
                buffer = hasher.next_buffer()
                filled, is_end = self._fill(stream, buffer)
            if copy is None or not copy.is_same:
                # Each connection for itself: the sync that all share has little left to wait for.
                with storage_errors("cannot sync the data of an element"):
                    os.fsync(descriptor)
            digest = hasher.end()
        return Taken(size, digest, copy is not None and copy.ends_here())

    def _fill(self, stream: ProtocolDataElementStream, buffer: memoryview) -> tuple[int, bool]:
        """Fill a buffer as far as there is data; the bytes in it, and whether that was the end."""
        filled = 0
        while filled < BUFFER_SIZE:
            room = self._bandwidth.portion(BUFFER_SIZE - filled)
            self._waits_since = began = time.monotonic()
            count = stream.read_into(buffer[filled : filled + room])
            self._waits_since = None
            waited = time.monotonic() - began
            if count == 0:
                return filled, True
            filled += count
            self._bandwidth.spend(count, self._is_over)
            self._on_bytes(count, waited)
        return filled, False


class _Hasher:
    """A thread that hashes buffers in the order they are put, and hands them back; ended by `with`.

    The first of them is full already, and comes first.
    """

    def __init__(self, buffers: list[memoryview]) -> None:
        self._digest = hashlib.sha512()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for buffer in buffers:
            self._free.put(buffer)
        self._thread = threading.Thread(target=self._run, name="receive-hash", daemon=True)

    def __enter__(self) -> "_Hasher":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def next_buffer(self) -> memoryview:
        """One that is hashed, and that nobody uses."""
        return self._free.get()

    def put(self, buffer: memoryview, filled: int) -> None:
        """Have it hashed; it may be read meanwhile, and is written to only after `next_buffer` gave it."""
        self._full.put((buffer, filled))

    def end(self) -> bytes:
        """The digest of all; twice too."""
        if self._thread.is_alive():
            self._full.put(None)
            self._thread.join()
        return self._digest.digest()

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, filled = item
            self._digest.update(buffer[:filled])
            self._free.put(buffer)


def _check_size(size: int, max_size: int | None) -> None:
    if max_size is not None and size > max_size:
        raise OversizeError(f"it has more than {max_size} bytes, the limit of an element")
