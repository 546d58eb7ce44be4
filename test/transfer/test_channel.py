import os
import socket
import threading

import pytest
from transfer_ends import content_file, pipe_channels, socket_channels

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.channel import Channel

KINDS = pytest.mark.parametrize("make_channels", [socket_channels, pipe_channels])
LONG = 30.0


@pytest.fixture
def channels(make_channels):
    pair = make_channels()
    yield pair
    for channel in pair:
        channel.close()


def receive(channel, size):
    data = bytearray()
    while len(data) < size:
        channel.wait(for_input=True, for_output=False, timeout=LONG)
        buffer = bytearray(size - len(data))
        count = channel.receive([buffer])
        if count == 0:
            break
        data += buffer[: count or 0]
    return bytes(data)


@KINDS
def test_bytes_arrive_in_their_order_from_several_buffers(channels):
    left, right = channels
    assert left.send([b"one ", memoryview(b"two "), bytearray(b"three")]) == 13
    assert receive(right, 13) == b"one two three"


@KINDS
def test_a_read_fills_the_buffers_in_their_order(channels):
    left, right = channels
    left.send([b"payload|next"])
    right.wait(for_input=True, for_output=False, timeout=LONG)
    first, second = bytearray(8), bytearray(8)
    assert right.receive([first, second]) == 12
    assert (bytes(first), bytes(second[:4])) == (b"payload|", b"next")


@KINDS
def test_nothing_is_received_while_nothing_came_and_nothing_sent_while_nothing_fits(channels):
    left, right = channels
    assert right.receive([bytearray(1)]) is None
    while left.send([bytes(1 << 20)]):
        pass
    assert left.send([b"x"]) == 0
    assert left.wait(for_input=True, for_output=True, timeout=0.01)[:2] == (False, False)


@KINDS
def test_a_file_is_sent_from_any_offset_in_whatever_pieces_go(channels):
    left, right = channels
    content = os.urandom(3_000_000)
    with content_file(content) as file:
        received, offset = bytearray(), 1000
        while len(received) < len(content) - 1000:
            count = (
                left.send_file(file.fileno(), offset, len(content) - offset) if offset < len(content) else 0
            )
            offset += count
            received += receive(right, count)
    assert received == content[1000:]


@KINDS
def test_the_end_of_a_file_that_is_sent_is_told_from_a_peer_that_is_busy(channels):
    left, _ = channels
    with content_file(b"abc") as file:
        assert left.send_file(file.fileno(), 3, 10) is None


@KINDS
def test_a_wait_ends_with_its_time(channels):
    left, _ = channels
    can_receive, can_send, waited = left.wait(for_input=True, for_output=False, timeout=0.02)
    assert (can_receive, can_send) == (False, False)
    assert waited >= 0.01


@KINDS
def test_a_wait_is_ended_by_force_from_another_thread(channels):
    left, _ = channels
    timer = threading.Timer(0.05, left.force, ("stopped by hand",))
    timer.start()
    with pytest.raises(ConnectionLostError, match="stopped by hand"):
        left.wait(for_input=True, for_output=False, timeout=LONG)
    timer.join()


@KINDS
@pytest.mark.parametrize(
    "move", [lambda c: c.receive([bytearray(1)]), lambda c: c.send([b"x"]), lambda c: c.send_file(0, 0, 1)]
)
def test_nothing_moves_once_it_was_forced(channels, move):
    left, _ = channels
    left.force("stopped by hand")
    left.force("stopped again")
    with pytest.raises(ConnectionLostError, match="stopped by hand"):
        move(left)


@KINDS
def test_the_peers_end_is_received_as_nothing(channels):
    left, right = channels
    left.send([b"last words"])
    left.close()
    assert receive(right, 100) == b"last words"


@KINDS
def test_sending_to_a_peer_that_has_gone_says_so(channels):
    left, right = channels
    right.close()
    with pytest.raises(ConnectionLostError, match="broke"):
        left.send([b"x"])
    with content_file(b"abc") as file, pytest.raises(ConnectionLostError, match="broke"):
        left.send_file(file.fileno(), 0, 3)


@KINDS
def test_closing_and_forcing_twice_or_late_does_nothing(channels):
    left, _ = channels
    left.close()
    left.close()
    left.force("too late")


def test_a_channel_owns_the_socket_it_was_made_of():
    end, other = socket.socketpair()
    channel = Channel.of_socket(end)
    assert end.fileno() == -1
    channel.close()
    assert other.recv(1) == b""
    other.close()


def test_files_go_out_no_faster_than_their_limit_and_that_may_change():
    left, right = socket_channels()
    waits = []
    now = [0.0]

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    left.send_limit = BandwidthLimit(4000, clock=lambda: now[0], sleep=sleep)
    with content_file(b"x" * 10_000) as file:
        offset = 0
        while offset < 5000:
            sent = left.send_file(file.fileno(), offset, 10_000 - offset)
            assert 0 < sent <= 1000
            offset += sent
        assert sum(waits) == pytest.approx(1.0, abs=0.3)
        left.send_limit.set_limit(None)
        assert left.send_file(file.fileno(), offset, 10_000 - offset) == 10_000 - offset
    assert receive(right, 10_000) == b"x" * 10_000
    left.close()
    right.close()
