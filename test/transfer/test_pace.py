from dataclasses import replace

import pytest

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.pace import Awaited, PaceLimits, PaceWatch

LIMITS = PaceLimits(
    silence_seconds=100,
    message_seconds=20,
    progress_seconds=50,
    progress_bytes=1000,
    purpose_seconds=10_000,
)


def test_silence_has_its_limit():
    watch = PaceWatch(LIMITS)
    assert watch.timeout() == 100
    watch.waited(99)
    watch.check()
    watch.waited(1)
    with pytest.raises(ConnectionLostError, match="nothing for 100 s"):
        watch.check()


def test_a_peer_that_never_said_anything_has_a_limit_of_its_own():
    watch = PaceWatch(PaceLimits(silence_seconds=100, first_seconds=30))
    watch.moved(Awaited.MESSAGE_OUT, 100)
    assert watch.timeout() == 30
    watch.waited(30)
    with pytest.raises(ConnectionLostError, match="said nothing for 30 s: is it a transfer service"):
        watch.check()
    watch.moved(Awaited.MESSAGE_IN, 1)
    assert watch.timeout() == 100


def test_any_byte_ends_the_silence():
    watch = PaceWatch(LIMITS)
    for _ in range(50):
        watch.waited(99)
        watch.check()
        watch.moved(Awaited.MESSAGE_IN, 1)


def test_a_byte_a_second_does_not_make_a_message_longer():
    watch = PaceWatch(LIMITS)
    for _ in range(20):
        watch.check()
        watch.set_awaited({Awaited.MESSAGE_IN: True})
        watch.waited(1)
        watch.moved(Awaited.MESSAGE_IN, 1)
    with pytest.raises(ConnectionLostError, match="did not complete a message for 20 s"):
        watch.check()


def test_each_message_has_all_the_time():
    watch = PaceWatch(LIMITS)
    for _ in range(10):
        watch.set_awaited({Awaited.MESSAGE_OUT: True})
        watch.waited(19)
        watch.check()
        watch.moved(Awaited.MESSAGE_OUT, 5)
        watch.set_awaited({Awaited.MESSAGE_OUT: False})


@pytest.mark.parametrize("what", [Awaited.STREAM_IN, Awaited.STREAM_OUT])
def test_a_stream_must_make_progress_all_the_time(what):
    watch = PaceWatch(LIMITS)
    watch.set_awaited({what: True})
    for _ in range(10):
        watch.waited(49)
        watch.check()
        watch.moved(what, 999)
        watch.moved(what, 1)
    watch.waited(49)
    watch.moved(what, 999)
    watch.waited(1)
    with pytest.raises(ConnectionLostError, match="too little of an element's data for 50 s, 1000 bytes"):
        watch.check()


def test_what_moves_one_way_does_not_count_for_the_other():
    watch = PaceWatch(LIMITS)
    watch.set_awaited({Awaited.STREAM_IN: True, Awaited.STREAM_OUT: True})
    watch.waited(50)
    watch.moved(Awaited.STREAM_IN, 5000)
    with pytest.raises(ConnectionLostError, match="took too little"):
        watch.check()


def test_no_more_is_waited_than_the_first_limit_allows():
    watch = PaceWatch(LIMITS)
    watch.set_awaited({Awaited.STREAM_IN: True})
    watch.waited(5)
    watch.set_awaited({Awaited.MESSAGE_OUT: True})
    assert watch.timeout() == 20
    watch.set_awaited({Awaited.MESSAGE_OUT: False})
    assert watch.timeout() == 45


def test_bytes_that_serve_no_purpose_keep_no_connection():
    watch = PaceWatch(replace(LIMITS, purpose_seconds=300))
    for _ in range(6):
        watch.check()
        watch.waited(50)
        watch.moved(Awaited.MESSAGE_IN, 5)
        watch.chatted()
    with pytest.raises(ConnectionLostError, match="nothing but who this is for 300 s"):
        watch.check()
    watch.has_purpose()
    watch.check()


def test_who_asks_on_and_on_who_this_is_is_not_waited_for():
    watch = PaceWatch(replace(LIMITS, purpose_requests=3))
    for _ in range(3):
        watch.chatted()
    with pytest.raises(ConnectionLostError, match="nothing but who this is 3 times"):
        watch.chatted()


def test_data_is_a_purpose():
    watch = PaceWatch(replace(LIMITS, purpose_seconds=60))
    for _ in range(20):
        watch.set_awaited({Awaited.STREAM_IN: True})
        watch.waited(40)
        watch.check()
        watch.moved(Awaited.STREAM_IN, 1000)
