"""Which element of a source is the newest one. No I/O.

The order of a source is that of its chain: an element that another one follows is not the newest, whatever
the times say. Which of several ends of chains is the last, element_order says.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from guerillabackup.element_order import LastEnd, find_last
from guerillabackup.storage.interface import ElementFacts


def newest_of_each_source(
    listing: Iterable[ElementFacts], is_genuine: Callable[[ElementFacts], bool]
) -> Iterator[LastEnd[ElementFacts]]:
    """The newest element of each source of a listing, sorted within each folder, and why it is.

    The listing goes folder by folder, and one folder's elements are in memory at a time. `is_genuine` says
    whether what an element's metadata claims is signed.
    """
    for _, elements in groupby(listing, lambda facts: facts.source_url.rpartition("/")[0]):
        by_source: dict[str, list[ElementFacts]] = {}
        for facts in elements:
            by_source.setdefault(facts.source_url, []).append(facts)
        for source in sorted(by_source):
            yield find_last(_ends(by_source[source]), is_genuine)


def _ends(elements: list[ElementFacts]) -> list[ElementFacts]:
    followed = {facts.predecessor for facts in elements if facts.predecessor is not None}
    ends = [facts for facts in elements if facts.data_uuid is None or facts.data_uuid not in followed]
    # In a ring each follows another; then arrival alone tells.
    return ends or elements
