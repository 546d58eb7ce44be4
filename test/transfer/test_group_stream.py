"""One stream taken apart into elements: by their sizes, however the bytes come, and no byte more or less."""

import itertools
import random

import pytest

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.group_stream import BUFFER_SIZE, share_stream
from guerillabackup.transfer.interface import ProtocolDataElementStream


class Source(ProtocolDataElementStream):
    """Bytes in pieces of any size."""

    def __init__(self, data, chance):
        self.data, self.chance, self.is_ended, self.closed = data, chance, False, 0

    def read_into(self, buffer):
        assert not self.is_ended
        count = min(len(buffer), len(self.data), self.chance.choice((1, 7, 1000, BUFFER_SIZE)))
        buffer[:count], self.data = self.data[:count], self.data[count:]
        self.is_ended = count == 0
        return count

    def close(self):
        self.closed += 1


def refuse(error):
    refuse.errors.append(error)
    return error


@pytest.fixture(autouse=True)
def no_errors():
    refuse.errors = []


def read(stream, size):
    with stream:
        room, data = memoryview(bytearray(size)), b""
        while count := stream.read_into(room):
            data += room[:count]
        return data


@pytest.mark.parametrize("seed", range(30))
def test_each_element_is_what_it_was(seed):
    chance = random.Random(seed)
    sizes = [chance.choice((0, 0, 1, 10, 1024, BUFFER_SIZE, BUFFER_SIZE + 1)) for _ in range(2 + seed)]
    elements = [chance.randbytes(size) for size in sizes]
    source = Source(b"".join(elements), chance)
    streams = share_stream(source, sizes, refuse)
    assert [read(stream, chance.choice((1 + BUFFER_SIZE, 4000))) for stream in streams] == elements
    assert source.is_ended
    assert (source.closed, refuse.errors) == (0, [])


PAIRS = [*itertools.product([0, 1, 5, 6, 8, 9, 100], [[5, 3], [0, 0, 8]])]


@pytest.mark.parametrize(("there", "sizes"), PAIRS)
def test_more_or_fewer_bytes_than_the_sizes_say_end_the_connection(there, sizes):
    source = Source(bytes(there), random.Random(1))
    streams = share_stream(source, sizes, refuse)
    if there == sum(sizes):
        return
    with pytest.raises(RemoteProtocolError, match="elements of 8 bytes together"):
        [read(stream, 10) for stream in streams]
    assert len(refuse.errors) == 1


def test_an_element_that_is_not_read_gives_up_those_behind_it():
    source = Source(bytes(30), random.Random(1))
    first, second, _ = share_stream(source, [10, 10, 10], refuse)
    read(first, 10)
    with second:
        second.read_into(memoryview(bytearray(3)))
    assert source.closed == 1
