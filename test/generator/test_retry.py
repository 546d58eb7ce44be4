"""The delays after failures: they grow, they end, and chance spreads them."""

from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.generator.retry import FIRST_SECONDS, MAX_SECONDS, SPREAD, Retries, retry_delay

JITTER = st.floats(0, 1)


@given(st.integers(1, 10**9), JITTER)
def test_a_delay_is_never_longer_than_an_hour_nor_much_shorter_than_a_minute(failures, jitter):
    assert FIRST_SECONDS * (1 - SPREAD) <= retry_delay(failures, jitter) <= MAX_SECONDS


@given(st.integers(1, 100), JITTER, JITTER)
def test_each_failure_makes_the_delay_longer_until_it_is_the_longest(failures, one, other):
    if FIRST_SECONDS * 2**failures <= MAX_SECONDS:
        assert retry_delay(failures, one) < retry_delay(failures + 1, other)


@given(st.lists(JITTER, min_size=1, max_size=20), st.floats(-1e9, 1e9))
def test_whatever_the_clock_does_nothing_waits_longer_than_its_delay(jitters, jump):
    chance = iter(jitters)
    retries = Retries(lambda: next(chance))
    for _ in jitters:
        delay = retries.note_failure("thing", 1000.0)
    assert retries.pause("thing", 1000.0) == delay
    assert 0 <= retries.pause("thing", 1000.0 + jump) <= delay


def test_a_success_makes_the_next_failure_the_first_again():
    retries = Retries(lambda: 0.0)
    assert [retries.note_failure("thing", 0) for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert retries.pause("other", 0) == 0
    retries.note_success("thing")
    assert retries.pause("thing", 0) == 0
    assert retries.note_failure("thing", 0) == 60
