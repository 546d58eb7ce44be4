"""Which elements of a source are needed to restore it, and in which order. No I/O.

The order is that of the chain (Predecessor → DataUuid), which runs over fulls too; between separate chains
it is arrival at this storage, or timestamps where all of them are signed. One that is only claimed answers
"as of when", and no more. Where more than one answer is possible nothing is guessed: IntegrityError, and
naming the element decides. Everything here is linear in the number of elements and does not recurse: a source
may have a hundred thousand.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from guerillabackup.element import ElementId
from guerillabackup.element_json import shorten_uuid
from guerillabackup.element_order import LastEnd, Reason, find_last
from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.chain_graph import ChainLink, Graph, name_ids, name_links
from guerillabackup.restore.commands import NO_OPTIONS, Commands
from guerillabackup.restore.time_text import describe_time

IsGenuine = Callable[[ElementId], bool]


@dataclass(frozen=True, slots=True)
class RestoreChain:
    """A full and the incrementals to apply after it, in order; `warnings` say what was decided, and why."""

    links: tuple[ChainLink, ...]
    warnings: tuple[str, ...]

    @property
    def target(self) -> ChainLink:
        """The last element: the state that results."""
        return self.links[-1]


def find_chain(
    links: Iterable[ChainLink],
    *,
    at: float | None = None,
    element_id: ElementId | None = None,
    is_genuine: IsGenuine = lambda element_id: False,
    commands: Commands = NO_OPTIONS,
) -> RestoreChain:
    """The elements to restore: the state of the chain's head, `at` a time, or after one named element.

    `is_genuine` says of an element that its metadata is signed by a key that is known and believed. Raises
    ElementNotFoundError when there is none, and IntegrityError where an element is missing or the
    answer would be a guess; elements in a ring are overlooked only where the element is named.
    """
    graph = Graph(links)
    warnings: list[str] = []
    if element_id is not None:
        target = graph.find(element_id)
    else:
        target, warnings = _choose_target(graph, at, is_genuine, commands)
    limit = at if element_id is None else target.timestamp
    needed = _walk_to_full(graph, target, limit, is_genuine)
    warnings += _judge_needed(graph, needed, named=element_id is not None)
    return RestoreChain(tuple(needed), tuple(warnings))


def last_before_damage(
    links: Iterable[ChainLink],
    chain: RestoreChain,
    damaged: ElementId,
    is_genuine: IsGenuine = lambda element_id: False,
) -> tuple[ElementId, ...]:
    """The element to go back to where the data of one in a chain is damaged: the one before it in the chain.

    Before a full it is the nearest that needs no damaged one; where its chain begins there, the last one of
    another chain that is earlier. None where there is none; two where it is in doubt which: the latest by its
    own timestamp, and the one that arrived last.
    """
    index = next(i for i, link in enumerate(chain.links) if link.element_id == damaged)
    if index > 0:
        return (chain.links[index - 1].element_id,)
    full = chain.links[0]
    links = tuple(links)
    graph = Graph(links)
    whole = Graph(link for link in links if link.element_id != damaged).restorable()
    if (before := _nearest_before(graph, full, whole)) is not None:
        return (before.element_id,)
    after = graph.reach([full])
    heads = [head for head in graph.heads() if head not in after]
    by_time = _last_ones(graph, heads, lambda link: link in whole and link.timestamp <= full.timestamp)
    by_arrival = _last_ones(graph, heads, lambda link: link in whole and link.arrival <= full.arrival)
    if by_time and is_genuine(damaged) and all(is_genuine(link.element_id) for link in by_time):
        return (find_last(by_time, lambda link: True).latest.element_id,)
    found = [find_last(by_time, _is_none).latest] if by_time else []
    found += [find_last(by_arrival, _is_none).arrived] if by_arrival else []
    return tuple(dict.fromkeys(link.element_id for link in found))


def find_dependents(
    links: Iterable[ChainLink], deleted: Collection[ElementId]
) -> dict[ElementId, list[ElementId]]:
    """For each element about to be deleted: those that stay and cannot be restored without it."""
    graph = Graph(links)
    gone = set(deleted)
    dependents: dict[ElementId, list[ElementId]] = {}
    for link in graph.links:
        if link.element_id in gone and not _has_copy(graph, link, gone):
            staying = [
                each.element_id for each in _incrementals_after(graph, link) if each.element_id not in gone
            ]
            if staying:
                dependents[link.element_id] = staying
    return dependents


def _choose_target(
    graph: Graph, at: float | None, is_genuine: IsGenuine, commands: Commands
) -> tuple[ChainLink, list[str]]:
    """The element whose state is wanted; the texts say what else it could have been."""
    if not graph.links:
        raise ElementNotFoundError("the source has no elements")
    heads = graph.heads()
    if ringed := graph.in_or_behind_rings(heads):
        text = f"{len(ringed)} elements are in a ring of elements that follow one another, or behind one"
        raise IntegrityError(f"{text}: {name_links(ringed)}; name the element to restore")
    candidates = heads if at is None else _last_ones(graph, heads, lambda link: link.timestamp <= at)
    if not candidates:
        earliest = min(graph.links, key=lambda link: link.timestamp)
        raise ElementNotFoundError(
            f"no element is as old as that: the oldest, {earliest.element_id}, is of "
            f"{describe_time(earliest.timestamp)}"
        )
    return _choose_last(candidates, is_genuine, commands)


def _choose_last(
    candidates: list[ChainLink], is_genuine: IsGenuine, commands: Commands
) -> tuple[ChainLink, list[str]]:
    """Of the ends of separate chains the one that is the last; no guess where that is in doubt."""
    last = _find_last(candidates, is_genuine)
    if last.reason is Reason.AGREED:
        return last.best, []
    latest = last.latest.element_id
    text = (
        f"{len(candidates)} separate chains: {last.arrived.element_id} arrived last, but by their own "
        f"timestamps {latest} is later"
    )
    if last.reason is Reason.DOUBT:
        raise IntegrityError(
            f"{text}, and not all are signed by a key that is known here (--private-keyring), which would "
            f"decide; look at them with: {commands.list_long(latest.source_url)}; and name "
            f"the element to restore: --element {latest}"
        )
    return last.best, [f"{text}, as is signed, so that one was taken"]


def _find_last(ends: Sequence[ChainLink], is_genuine: IsGenuine) -> LastEnd[ChainLink]:
    return find_last(ends, lambda link: is_genuine(link.element_id))


def _is_none(link: ChainLink) -> bool:
    return False


def _last_ones(
    graph: Graph, heads: Sequence[ChainLink], is_meant: Callable[[ChainLink], bool]
) -> list[ChainLink]:
    """For each chain the last element in its order that is meant."""
    found: dict[ChainLink, None] = {}
    seen: set[ChainLink] = set()
    for head in heads:
        pending = [head]
        while pending:
            link = pending.pop()
            if link in seen:
                continue
            seen.add(link)
            if is_meant(link):
                found[link] = None
            else:
                pending += graph.predecessors(link)
    return list(found)


def _nearest_before(graph: Graph, full: ChainLink, whole: Collection[ChainLink]) -> ChainLink | None:
    """The last element before a full, in its own chain, that can be restored."""
    starts = graph.predecessors(full)
    return next(iter(_last_ones(graph, starts, lambda link: link is not full and link in whole)), None)


def _walk_to_full(
    graph: Graph, target: ChainLink, limit: float | None, is_genuine: IsGenuine
) -> list[ChainLink]:
    """The full before (or at) the target, and everything between, first to last.

    What the error names where there is a gap is no newer than `limit`, if there is any like that.
    """
    needed = [target]
    seen = {target}
    while not needed[-1].is_full:
        link = needed[-1]
        before = graph.predecessors(link)
        if len(before) > 1:
            claimed = f"follows a DataUuid that several elements claim: {name_links(before)}"
            raise IntegrityError(f"element {link.element_id} {claimed}")
        if not before:
            raise IntegrityError(_gap_text(graph, target, link, limit, is_genuine))
        if before[0] in seen:
            raise IntegrityError(f"the elements before {target.element_id} follow one another in a ring")
        seen.add(before[0])
        needed.append(before[0])
    needed.reverse()
    return needed


def _judge_needed(graph: Graph, needed: Sequence[ChainLink], named: bool) -> list[str]:
    """Forks and conflicts in what is needed: texts when the user named the element, else IntegrityError."""
    warnings: list[str] = []
    for link in needed:
        if conflict := graph.conflict_of(link):
            text = f"element {link.element_id}: {conflict}"
            if not (named and link is needed[-1]):
                raise IntegrityError(text)
            warnings.append(text)
        followers = graph.successors(link)
        if len(followers) > 1 and link is not needed[-1]:
            text = (
                f"element {link.element_id} is followed by {len(followers)} elements: {name_links(followers)}"
            )
            if not named:
                ends = [head.element_id for head in graph.heads()]
                raise IntegrityError(
                    f"{text}; name the element to restore (chains end with {name_ids(ends)})"
                )
            warnings.append(text)
    return warnings


def _gap_text(
    graph: Graph, target: ChainLink, link: ChainLink, limit: float | None, is_genuine: IsGenuine
) -> str:
    lacking = "names no predecessor" if link.predecessor is None else "follows an element that is not here"
    text = f"element {target.element_id} cannot be restored: incremental {link.element_id} {lacking}"
    if link.predecessor is not None:
        text += f" (DataUuid {shorten_uuid(link.predecessor)})"
    restorable = graph.restorable()
    if not restorable:
        return text
    ends = _last_ones(
        graph,
        graph.heads(),
        lambda each: each in restorable and (limit is None or each.timestamp <= limit),
    )
    if not ends:
        after = min(restorable, key=lambda each: (each.timestamp, each.arrival, each.element_id))
        return (
            f"{text}; nothing before it can be restored either: the first one whose chain is complete is "
            f"{after.element_id}, which is later than what was asked for and was not verified yet"
        )
    last = _find_last(ends, is_genuine)
    if last.reason is not Reason.DOUBT:
        named = f"the last one whose chain is complete is {last.best.element_id}, which was"
    else:
        named = (
            f"the last ones whose chains are complete are {last.latest.element_id} by its own timestamp and "
            f"{last.arrived.element_id} by arrival, which were"
        )
    return f"{text}; {named} not verified yet"


def _incrementals_after(graph: Graph, link: ChainLink) -> Iterator[ChainLink]:
    """All elements whose way back to their full goes over this one."""
    seen = {link}
    pending = [link]
    while pending:
        for follower in graph.successors(pending.pop()):
            if not follower.is_full and follower not in seen:
                seen.add(follower)
                pending.append(follower)
                yield follower


def _has_copy(graph: Graph, link: ChainLink, gone: Collection[ElementId]) -> bool:
    return any(copy.element_id not in gone for copy in graph.copies_of(link))
