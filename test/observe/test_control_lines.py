"""Lines and queues of the control socket, in whatever pieces they come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.observe.control_lines import LineQueue, LineReader, decode, encode


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error(line):
    try:
        assert isinstance(decode(line), dict)
    except RemoteProtocolError:
        pass


@pytest.mark.parametrize("size", range(1, 12))
def test_lines_survive_any_cut(size):
    reader = LineReader(100)
    stream = b"one\n\ntwo\nthree"
    lines = [line for at in range(0, len(stream), size) for line in reader.feed(stream[at : at + size])]
    assert lines == [b"one", b"", b"two"]
    assert reader.feed(b"\n") == [b"three"]


@pytest.mark.parametrize("data", [b"x" * 101, b"x" * 101 + b"\n", b"a\n" + b"x" * 101])
def test_a_line_that_is_too_long_is_an_error_before_its_end(data):
    with pytest.raises(RemoteProtocolError, match="longer than 100 bytes"):
        LineReader(100).feed(data)
    reader = LineReader(100)
    assert reader.feed(b"x" * 100) == []
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"x")


def drain(queue, size=7):
    sent = b""
    while data := queue.peek():
        sent += data[:size]
        queue.sent(len(data[:size]))
    return [json.loads(line) for line in sent.splitlines()]


def test_a_queue_hands_out_its_messages_in_their_order_in_any_pieces():
    queue = LineQueue(1000, 500)
    messages = [{"number": number} for number in range(20)]
    assert all(queue.put(message) for message in messages)
    assert drain(queue) == messages
    assert len(queue) == 0


def test_what_may_be_dropped_is_when_there_is_no_room_and_is_told_of_when_there_is():
    queue = LineQueue(1000, 100)
    for number in range(50):
        assert queue.put({"number": number}, droppable=True)
    first = drain(queue)
    assert queue.put({"ended": 1})
    dropped = 50 - len(first)
    assert dropped > 0
    assert drain(queue) == [{"dropped": dropped}, {"ended": 1}]


def test_a_queue_that_nobody_empties_says_when_it_is_full():
    queue = LineQueue(100, 50)
    assert not all(queue.put({"ended": number}) for number in range(20))
    assert encode({"b": 1, "a": 2}) == b'{"a": 2, "b": 1}\n'
