"""The shared limit, with a clock that only moves when somebody sleeps."""

import threading

import pytest

from guerillabackup.transfer.bandwidth import BURST_SECONDS, BandwidthLimit


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert 0 < seconds <= BURST_SECONDS
        self.sleeps.append(seconds)
        self.now += seconds


def make(rate):
    clock = Clock()
    return clock, BandwidthLimit(rate, clock=clock, sleep=clock.sleep)


def move(limit, total):
    """Move so many bytes in portions, as a stream loop does."""
    while total > 0:
        count = limit.portion(min(total, 1 << 18))
        limit.spend(count)
        total -= count


@pytest.mark.parametrize("rate", [1, 7, 1000, 1 << 20, 3 << 30])
def test_bytes_take_as_long_as_the_limit_says(rate):
    clock, limit = make(rate)
    move(limit, rate * 10)
    assert 10 - 2 * BURST_SECONDS - 1 / rate <= clock.now - 1000 <= 10 + 1 / rate + 0.01


def test_without_a_limit_nobody_waits_and_portions_are_whole():
    clock, limit = make(None)
    move(limit, 1 << 30)
    assert limit.portion(1 << 18) == 1 << 18
    assert clock.sleeps == []


def test_who_is_over_waits_no_longer():
    clock, limit = make(1)
    limit.spend(1000, lambda: len(clock.sleeps) == 3)
    assert len(clock.sleeps) == 3


def test_a_pause_earns_no_more_than_a_burst():
    clock, limit = make(1000)
    clock.now += 3600
    move(limit, 2000)
    assert clock.now - 4600 >= 2 - BURST_SECONDS - 0.01


def test_a_changed_limit_holds_from_then_on():
    clock, limit = make(1000)
    move(limit, 1000)
    limit.set_limit(10_000)
    began = clock.now
    move(limit, 100_000)
    assert 9.4 <= clock.now - began <= 10.1
    limit.set_limit(100)
    began = clock.now
    move(limit, 1000)
    assert 9.4 <= clock.now - began <= 10.1
    assert limit.bytes_per_second == 100


def test_who_waits_goes_on_at_once_when_the_limit_is_taken_away():
    clock = Clock()

    def sleep(seconds):
        clock.sleep(seconds)
        if len(clock.sleeps) == 3:
            limit.set_limit(None)

    limit = BandwidthLimit(1, clock=clock, sleep=sleep)
    limit.spend(1_000_000)
    assert len(clock.sleeps) == 3


def test_a_limit_that_is_set_later_does_not_charge_for_what_went_before():
    clock, limit = make(None)
    limit.spend(1 << 40)
    limit.set_limit(1000)
    limit.spend(1000)
    assert clock.now - 1000 <= 1.01


def test_a_clock_that_is_set_back_stops_nobody():
    clock, limit = make(1000)
    move(limit, 1000)
    clock.now -= 5000
    began = clock.now
    move(limit, 1000)
    assert clock.now - began <= 1.3


def test_many_threads_together_stay_below_the_limit():
    lock = threading.Lock()
    clock = Clock()

    def sleep(seconds):
        with lock:
            clock.now += seconds / 4  # four sleep at once

    limit = BandwidthLimit(1 << 20, clock=clock, sleep=sleep)
    threads = [threading.Thread(target=move, args=(limit, 4 << 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now - 1000 >= 16 - 2 * BURST_SECONDS


@pytest.mark.parametrize("rate", [0, -1])
def test_a_limit_below_a_byte_is_refused(rate):
    with pytest.raises(ValueError, match="1 at least"):
        BandwidthLimit(rate)
