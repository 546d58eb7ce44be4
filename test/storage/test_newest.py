"""Which element of a source is the newest."""

import pytest

from guerillabackup.element_order import Reason
from guerillabackup.storage.interface import ElementFacts
from guerillabackup.storage.newest import newest_of_each_source


def facts(name, uuid, before=None, arrival=0.0, source="/a/x", timestamp=1):
    return ElementFacts(name, source, "inc", timestamp, uuid, before, None, None, arrival, 1)


def newest(*elements):
    return [each.best.element_id for each in newest_of_each_source(elements, lambda facts: False)]


def test_the_end_of_the_chain_is_the_newest_whatever_the_times_say():
    assert newest(facts("2", b"2", b"1", 10, timestamp=1), facts("1", b"1", None, 20, timestamp=9)) == ["2"]


def test_of_several_ends_the_one_that_arrived_last_is_the_newest():
    assert newest(facts("1", b"1", arrival=20, timestamp=1), facts("2", b"2", arrival=10, timestamp=9)) == [
        "1"
    ]
    assert newest(facts("1", None, arrival=20), facts("2", None, arrival=21)) == ["2"]


@pytest.mark.parametrize(
    ("is_signed", "best", "reason"), [(True, "3", Reason.SIGNED), (False, "1", Reason.DOUBT)]
)
def test_where_arrival_and_timestamps_of_ends_disagree_signatures_decide(is_signed, best, reason):
    old, late = facts("1", b"1", arrival=20, timestamp=1), facts("2", b"2", arrival=10, timestamp=9)
    follower = facts("3", b"3", b"2", arrival=11, timestamp=5)
    (last,) = newest_of_each_source([old, late, follower], lambda each: is_signed)
    assert (last.best.element_id, last.reason) == (best, reason)


def test_in_a_ring_arrival_tells():
    assert newest(facts("1", b"1", b"2", 20), facts("2", b"2", b"1", 10)) == ["1"]


def test_each_source_has_one_sorted_within_its_folder():
    sources = ("/a/y", "/a/x", "/a/y", "/a/b/z")
    listing = [facts(source, b"%d" % number, source=source) for number, source in enumerate(sources)]
    assert newest(*listing) == ["/a/x", "/a/y", "/a/b/z"]
