"""The order of elements by what they follow."""

from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.element import BackupType, ElementId, SourceUrl
from guerillabackup.restore.chain_graph import ChainLink, find_depths


def link(number, predecessor):
    element_id = ElementId.label(SourceUrl("/host/root"), 1000 + number, BackupType.INC)
    before = None if predecessor is None else predecessor.to_bytes(8)
    return ChainLink(element_id, BackupType.INC, 1000, number.to_bytes(8), before, b"c", 5000.0)


@given(st.permutations(range(9)))
def test_who_follows_is_deeper_in_whatever_order_they_come(order):
    # 0 to 5 are a chain, 6 follows one that is not here, 7 and 8 each other.
    before = {0: None, 6: 99, 7: 8, 8: 7}
    links = [link(number, before.get(number, number - 1)) for number in order]
    depths = [find_depths(links)[each.element_id] for each in sorted(links, key=lambda one: one.element_id)]
    assert depths[:7] == [0, 1, 2, 3, 4, 5, 0]


def test_a_hundred_thousand_elements_are_ordered():
    links = [link(number, number - 1 if number else None) for number in range(100_000)]
    assert find_depths(reversed(links))[links[-1].element_id] == 99_999
