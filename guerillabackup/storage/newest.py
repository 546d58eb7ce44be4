"""Which element of a source is the newest one. No I/O.

The order of a source is that of its chain: an element that another one follows is not the newest, whatever
the times say. Of several ends of chains it is the one that arrived last.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from guerillabackup.storage.interface import ElementFacts


def newest_of_each_source(listing: Iterable[ElementFacts]) -> Iterator[ElementFacts]:
    """The newest element of each source of a listing, sorted within each folder.

    The listing goes folder by folder, and one folder's elements are in memory at a time.
    """
    for _, elements in groupby(listing, lambda facts: facts.source_url.rpartition("/")[0]):
        by_source: dict[str, list[ElementFacts]] = {}
        for facts in elements:
            by_source.setdefault(facts.source_url, []).append(facts)
        for source in sorted(by_source):
            yield _newest(by_source[source])


def _newest(elements: list[ElementFacts]) -> ElementFacts:
    followed = {facts.predecessor for facts in elements if facts.predecessor is not None}
    ends = [facts for facts in elements if facts.data_uuid is None or facts.data_uuid not in followed]
    # In a ring each follows another; then arrival alone tells.
    return max(ends or elements, key=lambda facts: (facts.arrival, facts.timestamp or 0, facts.element_id))
