"""Which element of a source is the newest one. No I/O.

The order of a source is that of its chain: an element that another one follows is not the newest, whatever
the times say. Of several ends of chains it is the one that arrived last.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from guerillabackup.storage.interface import ElementFacts

Doubt = Callable[[ElementFacts, ElementFacts], None]


def newest_of_each_source(
    listing: Iterable[ElementFacts], doubt: Doubt = lambda newest, later: None
) -> Iterator[ElementFacts]:
    """The newest element of each source of a listing, sorted within each folder.

    The listing goes folder by folder, and one folder's elements are in memory at a time. `doubt` is told of
    each newest one and of the end of another chain that is later by its own timestamp.
    """
    for _, elements in groupby(listing, lambda facts: facts.source_url.rpartition("/")[0]):
        by_source: dict[str, list[ElementFacts]] = {}
        for facts in elements:
            by_source.setdefault(facts.source_url, []).append(facts)
        for source in sorted(by_source):
            ends = _ends(by_source[source])
            newest = max(ends, key=lambda facts: (facts.arrival, facts.timestamp or 0, facts.element_id))
            latest = max(ends, key=lambda facts: (facts.timestamp or 0, facts.arrival, facts.element_id))
            if (latest.timestamp or 0) > (newest.timestamp or 0):
                doubt(newest, latest)
            yield newest


def _ends(elements: list[ElementFacts]) -> list[ElementFacts]:
    followed = {facts.predecessor for facts in elements if facts.predecessor is not None}
    ends = [facts for facts in elements if facts.data_uuid is None or facts.data_uuid not in followed]
    # In a ring each follows another; then arrival alone tells.
    return ends or elements
