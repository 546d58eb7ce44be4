"""A listing in the order of chains, where names alone do not tell: within one second. No I/O.

Names sort a full before an incremental of the same second, whichever was made first.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeVar

from guerillabackup.storage.facts import ElementFacts

DIGITS = 14
"""Of a timestamp, with which the names of elements begin."""

T = TypeVar("T")


def in_chain_order(
    listing: Iterable[T], id_of: Callable[[T], str], facts_of: Callable[[T], ElementFacts | None]
) -> Iterator[T]:
    """The same, sorted by name within each folder, but of one second and source predecessors first.

    `facts_of` is asked only where a source has elements of both types in a second.
    """
    for _, items in groupby(listing, lambda item: _second_of(id_of(item))):
        group = list(items)
        if len(group) > 1:
            _put_in_order(group, id_of, facts_of)
        yield from group


def _second_of(element_id: str) -> str:
    return element_id[: element_id.rindex("/") + 1 + DIGITS]


def _put_in_order(
    group: list[T], id_of: Callable[[T], str], facts_of: Callable[[T], ElementFacts | None]
) -> None:
    places: dict[str, list[int]] = {}
    types: dict[str, set[str]] = {}
    for place, item in enumerate(group):
        _, rest = id_of(item).rsplit("/", 1)[1].split("-", 1)
        source, backup_type = rest.rsplit("-", 1)
        places.setdefault(source, []).append(place)
        types.setdefault(source, set()).add(backup_type)
    for source, own in places.items():
        if len(types[source]) > 1:
            items = [group[place] for place in own]
            for place, index in zip(own, _chain_order([facts_of(item) for item in items]), strict=True):
                group[place] = items[index]


def _chain_order(facts: list[ElementFacts | None]) -> list[int]:
    """The places of some elements, each after the one it follows if that is among them; else as they are."""
    own = {each.data_uuid: place for place, each in enumerate(facts) if each is not None and each.data_uuid}
    followers: dict[int, list[int]] = {}
    beginnings: list[int] = []
    for place, each in enumerate(facts):
        before = None if each is None or each.predecessor is None else own.get(each.predecessor)
        (beginnings if before is None else followers.setdefault(before, [])).append(place)
    order: dict[int, None] = {}
    # What is in a ring, or behind one, is reached from no beginning.
    for start in (*beginnings, *range(len(facts))):
        pending = [start]
        while pending:
            place = pending.pop()
            if place not in order:
                order[place] = None
                pending += reversed(followers.get(place, []))
    return list(order)
