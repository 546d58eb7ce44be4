"""When a source is due: never too early, never too late, and never missed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError
from guerillabackup.generator.timing import ClockAnchor, Timing, next_backup

SECONDS = st.integers(0, 10**6)
TIMES = st.integers(0, 2 * 10**9)


@st.composite
def modulo_timings(draw):
    minimum, maximum = sorted((draw(SECONDS), draw(SECONDS)))
    modulo = draw(st.integers(1, 10**6))
    return Timing(minimum, maximum, modulo, draw(st.integers(0, modulo - 1)))


@given(TIMES, SECONDS, SECONDS)
def test_without_a_modulo_a_backup_runs_as_soon_as_the_minimum_has_passed(last, minimum, more):
    timing = Timing.parse([minimum, minimum + more, None, None])
    assert timing.next_time(last) == last + minimum


@given(TIMES, modulo_timings())
def test_with_a_modulo_a_backup_is_never_below_the_minimum_nor_beyond_the_maximum(last, timing):
    assert last + timing.minimum <= timing.next_time(last) <= last + timing.maximum


@given(TIMES, modulo_timings())
def test_with_a_modulo_a_backup_runs_at_the_offset_or_at_the_maximum(last, timing):
    due = timing.next_time(last)
    assert due % timing.modulo == timing.offset or due == last + timing.maximum


@given(TIMES, modulo_timings())
def test_with_a_modulo_no_earlier_time_would_have_done(last, timing):
    earlier = timing.next_time(last) - timing.modulo
    assert earlier < last + timing.minimum


@given(TIMES, modulo_timings(), SECONDS)
def test_a_time_that_was_missed_stays_due(last, timing, late):
    now = timing.next_time(last) + late
    due = next_backup(now, last, last, timing, None)
    assert due.seconds <= 0
    assert due.backup_type is BackupType.FULL


@given(TIMES, TIMES, modulo_timings(), modulo_timings(), TIMES)
def test_an_incremental_backup_is_due_only_when_no_full_one_is(last_full, last_any, full, inc, now):
    due = next_backup(now, last_full, max(last_full, last_any), full, inc)
    if full.next_time(last_full) <= now:
        assert due.backup_type is BackupType.FULL
    if due.backup_type is BackupType.INC:
        assert due.seconds == inc.next_time(max(last_full, last_any)) - now


@given(TIMES, TIMES, modulo_timings(), st.none() | modulo_timings(), TIMES)
def test_nothing_is_due_before_its_own_time(last_full, last_any, full, inc, now):
    due = next_backup(now, last_full, last_any, full, inc)
    if max(last_full, last_any) <= now and due.seconds > 0:
        at = [full.next_time(last_full), *([] if inc is None else [inc.next_time(last_any)])]
        assert now + due.seconds == min(at)


@pytest.mark.parametrize("last", [(None, None), (None, 5), (5, None)])
def test_a_source_without_a_full_backup_is_due_for_one_now(last):
    due = next_backup(100, *last, Timing(50, 60, None, 0), Timing(0, 0, None, 0))
    assert (due.seconds, due.backup_type) == (0, BackupType.FULL)


@given(modulo_timings(), modulo_timings(), st.integers(3, 10**6))
def test_a_backup_in_the_future_means_a_full_one_now(full, inc, ahead):
    for last_full, last_any in ((1000, 1000 + ahead), (1000 + ahead, 1000 + ahead)):
        due = next_backup(1000, last_full, last_any, full, inc)
        assert (due.seconds, due.backup_type) == (0, BackupType.FULL)
        assert "set back" in due.reason


def test_a_clock_that_was_set_back_and_caught_up_means_a_full_one_now():
    due = next_backup(2000, 1000, 1000, Timing(10**6, 10**6, None, 0), None, was_set_back=True)
    assert (due.seconds, due.backup_type) == (0, BackupType.FULL)


def test_a_week_of_nightly_backups_has_one_full_one_at_midnight():
    hour, day = 3600, 86400
    full = Timing.parse([(7 * 24 - 4) * hour, (7 * 24 + 4) * hour, 7 * day, 0])
    inc = Timing.parse([20 * hour, 28 * hour, day, 0])
    last_full = last_any = 20 * 7 * day
    seen = []
    for _ in range(8):
        due = next_backup(last_any, last_full, last_any, full, inc)
        last_any += int(due.seconds)
        seen.append((due.backup_type, last_any % day))
        last_full = last_any if due.backup_type is BackupType.FULL else last_full
    assert [when for _, when in seen] == [0] * 8
    assert [kind for kind, _ in seen].index(BackupType.FULL) == 6


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "1234",
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [-1, 2, None, None],
        [5, 4, None, None],
        [None, 4, None, None],
        [1, None, 60, 0],
        [1.5, 2, None, None],
        [True, 2, None, None],
        [1, 2, 0, 0],
        [1, 2, -5, 0],
        [1, 2, 5, 5],
        [1, 2, 5, -1],
        [1, 2, 5, None],
        [1, 10**40, None, None],
        {1, 2, 3, 4},
    ],
)
def test_a_wrong_timing_is_refused_with_its_value(value):
    with pytest.raises(ConfigError) as error:
        Timing.parse(value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("value", "timing"),
    [
        ([1, 2, None, None], Timing(1, 2, None, 0)),
        ((1, 2, 60, 59), Timing(1, 2, 60, 59)),
        ([7, None, None, None], Timing(7, 7, None, 0)),
        ([0, 0, None, 17], Timing(0, 0, None, 0)),
    ],
)
def test_a_timing_is_read_as_the_original_wrote_it(value, timing):
    assert Timing.parse(value) == timing


@pytest.mark.parametrize(
    ("now", "was_set_back"),
    [
        (ClockAnchor("a", 1000.0), False),
        (ClockAnchor("a", 999.0), False),
        (ClockAnchor("a", 1_000_000.0), False),
        (ClockAnchor("a", 990.0), True),
        (ClockAnchor("b", 0.0), False),
    ],
)
def test_a_clock_that_is_nearer_to_the_start_of_the_machine_was_set_back(now, was_set_back):
    assert now.was_set_back_since(ClockAnchor("a", 1000.0)) is was_set_back
