"""The timer wakes a poll when it is time, also one that has passed, and notices that the clock was set."""

import select
import time

import pytest

from guerillabackup.generator.timer import FALLBACK_SECONDS, WakeTimer, uptime


class Clock:
    """UTC seconds that are set by hand."""

    def __init__(self):
        self.offset = 0.0

    def __call__(self):
        return time.time() + self.offset


@pytest.fixture(params=[True, False], ids=["timer", "timeout"])
def timer(request):
    made = WakeTimer(with_timer=request.param)
    yield made
    made.close()
    made.close()


def wait(timer):
    poll = select.poll()
    if timer.descriptor >= 0:
        poll.register(timer.descriptor, select.POLLIN)
    poll.poll(timer.timeout())


def test_a_poll_ends_not_before_the_time(timer):
    deadline = uptime() + 0.2
    timer.set(deadline)
    wait(timer)
    # By a clock that may be slewed against the other one, and whose digits end sooner.
    assert uptime() >= deadline - 0.01
    assert not timer.was_clock_set()


def test_a_time_that_has_passed_ends_a_poll_at_once(timer):
    timer.set(uptime() - 100)
    wait(timer)
    timer.was_clock_set()
    timer.set(0.0)
    wait(timer)


def test_without_a_time_nothing_is_ready():
    timer = WakeTimer()
    timer.set(uptime() - 1)
    wait(timer)
    timer.was_clock_set()
    timer.set(None)
    poll = select.poll()
    poll.register(timer.descriptor, select.POLLIN)
    assert poll.poll(50) == []
    timer.close()


def test_where_there_is_no_timer_a_poll_is_never_long():
    timer = WakeTimer(with_timer=False)
    for deadline in (None, uptime() + 1e6):
        timer.set(deadline)
        assert 0 < timer.timeout() <= FALLBACK_SECONDS * 1000 + 1


@pytest.mark.parametrize("jump", [-86400.0, -3.0, 3.0, 86400.0])
def test_a_clock_that_was_set_is_noticed_once(jump):
    clock = Clock()
    timer = WakeTimer(clock)
    assert not timer.was_clock_set()
    clock.offset += jump
    assert timer.was_clock_set()
    assert not timer.was_clock_set()
    timer.close()


def test_a_leap_second_is_no_setting_of_the_clock():
    clock = Clock()
    timer = WakeTimer(clock)
    clock.offset -= 1
    assert not timer.was_clock_set()
    timer.close()
