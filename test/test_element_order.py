"""The last of several ends of chains, by arrival and by timestamps."""

from typing import NamedTuple

import pytest

from guerillabackup.element_order import Reason, find_last


class End(NamedTuple):
    element_id: str
    timestamp: int | None
    arrival: float


OLD, LATE = End("a", 1, 20.0), End("b", 9, 10.0)


def refuse(end):
    raise AssertionError(f"nobody needs to know whether {end} is signed")


def test_where_arrival_and_timestamps_agree_no_signature_is_asked_for():
    ends = [OLD, End("c", 2, 21.0)]
    last = find_last(ends, refuse)
    assert (last.best, last.reason) == (ends[1], Reason.AGREED)


def test_of_what_arrived_at_one_moment_the_timestamp_tells():
    ends = [End("a", 5, 7.0), End("b", 4, 7.0), End("c", None, 7.0)]
    assert find_last(ends, refuse).best == ends[0]


@pytest.mark.parametrize(
    ("signed", "best", "reason"),
    [
        ({"a", "b"}, LATE, Reason.SIGNED),
        ({"a"}, OLD, Reason.DOUBT),
        ({"b"}, OLD, Reason.DOUBT),
    ],
)
def test_where_they_disagree_timestamps_decide_only_if_all_are_signed(signed, best, reason):
    last = find_last([OLD, LATE], lambda end: end.element_id in signed)
    assert (last.arrived, last.latest) == (OLD, LATE)
    assert (last.best, last.reason) == (best, reason)
