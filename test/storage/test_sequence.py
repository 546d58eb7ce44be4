"""The order of a listing within one second."""

from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.storage.facts import ElementFacts
from guerillabackup.storage.sequence import in_chain_order


def facts(element_id, uuid=None, before=None):
    return ElementFacts(element_id, "/a/x", "inc", 1, uuid, before, None, None, 0.0, 1)


def order(*listing, ask=lambda each: each):
    return list(in_chain_order(listing, lambda each: each.element_id, ask))


def test_a_full_that_followed_an_incremental_of_the_same_second_is_behind_it():
    old = facts("/a/20261120135959-x-full", b"1")
    other = facts("/a/20261120140000-w-full", b"1")
    full = facts("/a/20261120140000-x-full", b"3", b"2")
    first = facts("/a/20261120140000-x-inc", b"2", b"1")
    last = facts("/a/202611201400000-x-inc", b"4", b"3")
    assert order(old, other, full, first, last) == [old, other, first, full, last]


def test_where_no_chain_is_known_all_stays_as_it_is():
    full, inc = facts("/a/20261120140000-x-full", b"1"), facts("/a/20261120140000-x-inc")
    assert order(full, inc) == [full, inc]
    assert order(full, inc, ask=lambda each: None) == [full, inc]


def test_nothing_is_asked_where_a_second_has_one_element_of_a_source_or_one_type():
    listing = [
        facts("/a/20261120140000-x-full"),
        facts("/a/20261120140000-y-inc"),
        facts("/a/202611201400000-x-full"),
        facts("/b/20261120140000-x-inc"),
    ]
    assert order(*listing, ask=None) == listing


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), max_size=7))
def test_whatever_follows_what_nothing_is_lost(elements):
    listing = [
        facts(f"/a/20261120140000{n}-x-{'full' if is_full else 'inc'}", b"%d" % uuid, b"%d" % before)
        for n, (is_full, uuid, before) in enumerate(elements)
    ]
    assert sorted(order(*listing)) == sorted(listing)
