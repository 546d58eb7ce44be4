"""Holes in the history before fulls; the other findings are in test_chain.py, where they are needed."""

from guerillabackup.element import BackupType, ElementId, SourceUrl
from guerillabackup.restore.chain_check import Severity, find_holes
from guerillabackup.restore.chain_graph import ChainLink

SOURCE = SourceUrl("/host/root")
FULL, INC = BackupType.FULL, BackupType.INC
WARNING, VIOLATION = Severity.WARNING, Severity.VIOLATION


def link(number, kind, predecessor, *, timestamp=None):
    timestamp = 1000 + number if timestamp is None else timestamp
    before = None if predecessor is None else b"%d" % predecessor
    return ChainLink(
        *(ElementId.label(SOURCE, timestamp, kind, number), kind, timestamp, b"%d" % number, before, b"c"),
        arrival=5000.0 + number,
    )


def chain(*fulls):
    """Ten elements, the first without predecessor."""
    return [link(n, FULL if n in fulls else INC, n - 1 if n > 1 else None) for n in range(1, 11)]


def holes(links, **options):
    return [(each.element_id.serial, each.severity) for each in find_holes(links, **options)]


def test_a_whole_history_has_no_holes_and_a_chain_that_begins_anew_is_none():
    assert holes(chain(1, 4, 8)) == []
    assert holes([link(1, FULL, None), link(2, FULL, None)]) == []


def test_the_oldest_full_whose_past_was_removed_is_a_warning():
    assert holes(chain(1, 4, 8)[3:]) == [(4, WARNING)]
    assert holes(chain(1, 4, 8)[7:]) == [(8, WARNING)]


def test_a_hole_between_what_is_there_is_a_violation_also_beside_an_older_gap():
    links = chain(1, 4, 8)
    assert holes(links[:6] + links[7:]) == [(8, VIOLATION)]
    assert holes(links[3:6] + links[7:]) == [(4, WARNING), (8, VIOLATION)]


def test_where_gaps_are_meant_a_hole_is_a_warning():
    links = chain(1, 4, 8)
    assert holes(links[:6] + links[7:], gaps_are_meant=True) == [(8, WARNING)]


def test_incrementals_left_behind_by_a_removed_full_are_older_all_the_same():
    links = chain(1, 4, 8)
    assert holes(links[4:6] + links[7:]) == [(8, VIOLATION)]


def test_followers_made_after_the_clock_was_set_back_are_not_older():
    assert holes([link(4, FULL, 3), link(5, INC, 4, timestamp=500), link(6, FULL, 5, timestamp=600)]) == [
        (4, WARNING)
    ]


def test_many_holes_are_found_quickly():
    links = [link(2 * n, FULL, 2 * n - 1) for n in range(1, 50_000)]
    assert [severity for _, severity in holes(links)] == [WARNING] + [VIOLATION] * 49_998
