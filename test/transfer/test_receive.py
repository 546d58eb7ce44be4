"""The loop that takes a stream: every byte written and hashed, in a bounded number of buffers."""

import hashlib
import os
import random
import threading

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.interface import ProtocolDataElementStream
from guerillabackup.transfer.receive import (
    BUFFER_COUNT,
    BUFFER_SIZE,
    OversizeError,
    StoredCopy,
    StreamTaker,
)


class Stream(ProtocolDataElementStream):
    """Gives its data in pieces of any size, and notes into which buffers."""

    def __init__(self, data, seed=0):
        self.data, self.offset, self.buffers = data, 0, set()
        self._choose = random.Random(seed)

    def read_into(self, buffer):
        assert len(buffer) > 0
        self.buffers.add(id(buffer.obj))
        count = min(len(buffer), len(self.data) - self.offset, self._choose.choice((1, 999, 65536, 1 << 20)))
        buffer[:count] = self.data[self.offset : self.offset + count]
        self.offset += count
        return count

    def close(self):
        pass


def take(data, max_size=None, copy=None, taker=None, seed=0):
    handle = MemoryStorage().get_sink_handle(SourceUrl("/a"))
    stream = Stream(data, seed)
    with handle:
        taken = (taker or StreamTaker(BandwidthLimit())).take(stream, handle, max_size, copy)
        descriptor = handle.get_sink_stream()
        assert os.pread(descriptor, len(data) + 1, 0) == data
    assert (taken.size, taken.digest) == (len(data), hashlib.sha512(data).digest())
    assert len(stream.buffers) <= BUFFER_COUNT
    return taken


SIZES = [0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, BUFFER_SIZE * 9, BUFFER_SIZE * 9 + 1]


@pytest.mark.parametrize("size", SIZES)
def test_what_comes_is_written_and_hashed_in_pieces_of_any_size(size):
    for seed in range(3):
        take(os.urandom(size), seed=seed)


def test_one_taker_takes_one_element_after_the_other():
    counted = []
    taker = StreamTaker(BandwidthLimit(), lambda count, waited: counted.append(count))
    for size in (*SIZES, *reversed(SIZES)):
        take(os.urandom(size), taker=taker)
    assert sum(counted) == 2 * sum(SIZES)
    assert threading.active_count() == 1


@pytest.mark.parametrize("limit", [0, 1, BUFFER_SIZE, BUFFER_SIZE * 6])
def test_a_stream_is_cut_off_soon_after_the_limit(limit):
    stream = Stream(bytes(BUFFER_SIZE * 50))
    with MemoryStorage().get_sink_handle(SourceUrl("/a")) as handle, pytest.raises(OversizeError):
        StreamTaker(BandwidthLimit()).take(stream, handle, limit)
    assert stream.offset <= limit + BUFFER_SIZE
    assert threading.active_count() == 1


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_is_the_same_only_when_every_byte_is(size, tmp_path):
    data = os.urandom(size)
    others = [data + b"x", data[:-1], b"", bytes(size)]
    others += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (0, size // 2, size - 1) if size]
    for content in (data, *others):
        path = tmp_path / "copy"
        path.write_bytes(content)
        with path.open("rb") as stored:
            assert take(data, copy=StoredCopy(stored.fileno())).is_same == (content == data)


def test_a_copy_that_cannot_be_read_is_another_one(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert not take(b"data", copy=StoredCopy(directory)).is_same
    finally:
        os.close(directory)
