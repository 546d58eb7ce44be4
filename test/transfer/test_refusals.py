"""What was refused is left alone for a while, longer each time."""

from guerillabackup.transfer import refusals
from guerillabackup.transfer.refusals import FIRST_PAUSE, LONGEST_PAUSE, ONE_BY_ONE, Refusals


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_each_refusal_of_the_same_element_doubles_its_pause():
    clock = Clock()
    refused = Refusals(clock)
    assert not refused.must_wait(b"a")
    for turn in range(20):
        assert refused.add(b"a", "bad").count == turn + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**turn)
        clock.now += pause - 1
        assert refused.must_wait(b"a")
        clock.now += 1
        assert not refused.must_wait(b"a")
    assert not refused.must_wait(b"b")


def test_what_was_taken_after_all_begins_anew():
    refused = Refusals(Clock())
    refused.add(b"a", "bad")
    refused.forget(b"a")
    refused.forget(b"a")
    assert not refused.must_wait(b"a")
    assert refused.add(b"a", "bad").count == 1


def test_no_more_are_remembered_than_the_limit(monkeypatch):
    monkeypatch.setattr(refusals, "MAX_REMEMBERED", 3)
    refused = Refusals(Clock())
    for key in (b"a", b"b", b"c", b"a", b"d"):
        refused.add(key, "bad")
    assert refused.count() == 3
    assert [key for key in (b"a", b"b", b"c", b"d") if refused.must_wait(key)] == [b"a", b"c", b"d"]


def test_a_reason_is_remembered_as_far_as_it_is_short():
    assert len(Refusals().add(b"key", "x" * 500_000).reason) == 200


def test_after_an_interrupted_group_the_next_elements_go_one_by_one():
    refusals = Refusals()
    assert not refusals.take_one_by_one()
    refusals.group_interrupted()
    assert [refusals.take_one_by_one() for _ in range(ONE_BY_ONE + 1)] == [True] * ONE_BY_ONE + [False]
