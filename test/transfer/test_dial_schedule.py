import pytest

from guerillabackup.transfer.dial_schedule import DialSchedule, DialTimer

SCHEDULE = DialSchedule(interval=100, first_retry=10, max_retry=50)


def make_timer(schedule=SCHEDULE, jitter=0.0):
    return DialTimer(schedule, 1000.0, lambda: jitter)


def test_it_begins_at_the_start_and_goes_on_by_the_interval():
    timer = make_timer()
    assert timer.next_time == 1000
    timer.began()
    timer.ended(1030, is_failure=False)
    assert timer.next_time == 1130


@pytest.mark.parametrize(("interval", "expected"), [(100, 1100), (None, None)])
def test_without_a_start_the_first_is_after_the_interval_or_on_demand(interval, expected):
    timer = make_timer(DialSchedule(interval=interval, at_start=False))
    assert timer.next_time == expected
    timer.demand(1005)
    assert timer.next_time == 1005


def test_one_that_is_not_tried_again_is_dialled_on_demand_only():
    timer = make_timer(DialSchedule(at_start=False, retries=False))
    timer.demand(1000)
    timer.began()
    timer.ended(1001, is_failure=True)
    assert timer.next_time is None


def test_pauses_grow_up_to_their_limit_and_begin_anew_after_success():
    timer, now, pauses = make_timer(), 1000.0, []
    for _ in range(5):
        timer.began()
        timer.ended(now, is_failure=True)
        pauses.append(timer.next_time - now)
        now = timer.next_time
    assert pauses == [10, 20, 40, 50, 50]
    assert timer.failures == 5
    timer.ended(now, is_failure=False)
    timer.began()
    timer.ended(now, is_failure=True)
    assert timer.next_time - now in (10, 20)


def test_a_failure_is_tried_again_also_where_only_demands_are_dialled():
    timer = make_timer(DialSchedule(interval=None, at_start=False))
    timer.demand(1000)
    timer.began()
    timer.ended(1001, is_failure=True)
    assert timer.next_time == 1011


def test_chance_shortens_a_pause_by_a_quarter_at_most():
    timer = make_timer(jitter=1.0)
    timer.began()
    timer.ended(1000, is_failure=True)
    assert timer.next_time == 1007.5


def test_a_demand_during_a_connection_is_met_after_it():
    timer = make_timer()
    timer.began()
    timer.demand(1010)
    timer.ended(1020, is_failure=True)
    assert timer.next_time == 1010


def test_a_thousand_failures_do_not_make_a_number_without_end():
    timer = make_timer()
    for _ in range(2000):
        timer.began()
        timer.ended(1000, is_failure=True)
    assert timer.next_time == 1050
