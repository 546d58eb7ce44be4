"""Which elements of a source are needed to restore it, and in which order. No I/O.

The order is that of the chain (Predecessor → DataUuid), which runs over fulls too; between separate chains
it is arrival at this storage, or timestamps where all of them are signed. One that is only claimed answers
"as of when", and no more. Where more than one answer is possible nothing is guessed: IntegrityError, and
naming the element decides. Everything here is linear in the number of elements and does not recurse: a source
may have a hundred thousand.
"""

import base64
import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from guerillabackup.element import BackupType, ElementId
from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.time_text import describe_time

MAX_NAMED = 4
"""How many elements a message names before it only counts the rest."""

MAX_SHOWN = 24
"""Characters of a binary value in a message."""

IsGenuine = Callable[[ElementId], bool]
_Identity = tuple[BackupType, int, bytes | None, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class ChainLink:
    """What the chain needs to know of one element; `arrival` in UTC seconds."""

    element_id: ElementId
    backup_type: BackupType
    timestamp: int
    data_uuid: bytes | None
    predecessor: bytes | None
    checksum: bytes | None
    arrival: float

    @property
    def is_full(self) -> bool:
        return self.backup_type is BackupType.FULL


@dataclass(frozen=True, slots=True)
class RestoreChain:
    """A full and the incrementals to apply after it, in order; `warnings` say what was decided, and why."""

    links: tuple[ChainLink, ...]
    warnings: tuple[str, ...]

    @property
    def target(self) -> ChainLink:
        """The last element: the state that results."""
        return self.links[-1]


class Severity(enum.Enum):
    """A violation makes an element worthless as it is; a warning asks for a look."""

    WARNING = "warning"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True)
class ChainFinding:
    """What is wrong with the place of one element in its chain."""

    element_id: ElementId
    severity: Severity
    text: str


def find_chain(
    links: Iterable[ChainLink],
    *,
    at: float | None = None,
    element_id: ElementId | None = None,
    is_genuine: IsGenuine = lambda element_id: False,
) -> RestoreChain:
    """The elements to restore: the state of the chain's head, `at` a time, or after one named element.

    `is_genuine` says of an element that its metadata is signed by a key that is known and believed. Raises
    ElementNotFoundError when there is none, and IntegrityError where an element is missing or the
    answer would be a guess; elements in a ring are overlooked only where the element is named.
    """
    graph = _Graph(links)
    warnings: list[str] = []
    if element_id is not None:
        target = graph.find(element_id)
    else:
        target, warnings = _choose_target(graph, at, is_genuine)
    needed = _walk_to_full(graph, target)
    warnings += _judge_needed(graph, needed, named=element_id is not None)
    return RestoreChain(tuple(needed), tuple(warnings))


def examine_chain(links: Iterable[ChainLink]) -> Iterator[ChainFinding]:
    """What is wrong with the chain of one source, element by element, in the order given."""
    graph = _Graph(links)
    restorable = graph.restorable()
    without_ring = graph.without_ring()
    for link in graph.links:
        first_copy = graph.copies_of(link)[0]
        if conflict := graph.conflict_of(link):
            yield ChainFinding(link.element_id, Severity.VIOLATION, conflict)
        if first_copy is not link:
            text = f"it is stored twice: {first_copy.element_id} is the same element"
            yield ChainFinding(link.element_id, Severity.WARNING, text)
        elif link not in without_ring:
            text = "the elements before it follow one another in a ring"
            yield ChainFinding(link.element_id, Severity.VIOLATION, text)
        elif link in restorable:
            followers = graph.successors(link)
            if len(followers) > 1:
                text = f"{len(followers)} elements follow it: {_name(followers)}"
                yield ChainFinding(link.element_id, Severity.WARNING, text)
        else:
            yield ChainFinding(link.element_id, Severity.VIOLATION, _why_not_restorable(graph, link))


def last_before_damage(
    links: Iterable[ChainLink], chain: RestoreChain, damaged: ElementId
) -> ElementId | None:
    """The element to go back to where the data of one in a chain is damaged: the one before it in the chain.

    Before a full it is the last one that arrived earlier and needs no damaged one; None where there is none.
    """
    index = next(i for i, link in enumerate(chain.links) if link.element_id == damaged)
    if index > 0:
        return chain.links[index - 1].element_id
    others = _Graph(link for link in links if link.element_id != damaged).restorable()
    earlier = [link for link in others if link.arrival <= chain.links[0].arrival]
    last = max(earlier, key=lambda each: (each.arrival, each.timestamp, each.element_id), default=None)
    return None if last is None else last.element_id


def find_dependents(
    links: Iterable[ChainLink], deleted: Collection[ElementId]
) -> dict[ElementId, list[ElementId]]:
    """For each element about to be deleted: those that stay and cannot be restored without it."""
    graph = _Graph(links)
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


class _Graph:
    """The elements of one source by what joins them; copies of one element count once."""

    def __init__(self, links: Iterable[ChainLink]) -> None:
        self.links: list[ChainLink] = sorted(links, key=lambda link: link.element_id)
        self._copies: dict[_Identity, list[ChainLink]] = {}
        self._claims: dict[bytes, dict[_Identity, ChainLink]] = {}
        self._followers: dict[bytes, list[ChainLink]] = {}
        self.representatives: list[ChainLink] = []
        for link in self.links:
            if link.data_uuid is not None:
                self._copies.setdefault(_identity(link), []).append(link)
                claims = self._claims.setdefault(link.data_uuid, {})
                if claims.setdefault(_identity(link), link) is not link:
                    continue
            self.representatives.append(link)
            if link.predecessor is not None:
                self._followers.setdefault(link.predecessor, []).append(link)

    def find(self, element_id: ElementId) -> ChainLink:
        for link in self.links:
            if link.element_id == element_id:
                return link
        raise ElementNotFoundError(f"element {element_id} is not among the elements of its source")

    def predecessors(self, link: ChainLink) -> list[ChainLink]:
        """Every element that carries the DataUuid this one follows: none, one, or several in conflict."""
        return [] if link.predecessor is None else list(self._claims.get(link.predecessor, {}).values())

    def successors(self, link: ChainLink) -> list[ChainLink]:
        return [] if link.data_uuid is None else self._followers.get(link.data_uuid, [])

    def copies_of(self, link: ChainLink) -> list[ChainLink]:
        """The element itself and all that are the same one under another id."""
        return [link] if link.data_uuid is None else self._copies[_identity(link)]

    def conflict_of(self, link: ChainLink) -> str | None:
        """That other content claims this element's DataUuid too."""
        claims = {} if link.data_uuid is None else self._claims[link.data_uuid]
        if len(claims) < 2:
            return None
        others = [other for other in islice(claims.values(), 3) if _identity(other) != _identity(link)]
        return f"its DataUuid is also that of {_name(others[:1])}, with other content"

    def heads(self) -> list[ChainLink]:
        """The elements that nobody follows."""
        return [link for link in self.representatives if not self.successors(link)]

    def restorable(self) -> set[ChainLink]:
        """The elements whose way back to a full is complete."""
        reached = self._reach(link for link in self.links if link.is_full)
        return {link for link in self.links if any(copy in reached for copy in self.copies_of(link)[:1])}

    def without_ring(self) -> set[ChainLink]:
        """The elements whose way back has a beginning."""
        return self._reach(link for link in self.representatives if not self.predecessors(link))

    def in_or_behind_rings(self, heads: Iterable[ChainLink]) -> list[ChainLink]:
        """The elements that have no beginning, or that no head goes back to."""
        with_beginning = self.without_ring()
        needed = set(heads)
        pending = list(needed)
        while pending:
            for before in self.predecessors(pending.pop()):
                if before not in needed:
                    needed.add(before)
                    pending.append(before)
        return [link for link in self.representatives if link not in with_beginning or link not in needed]

    def _reach(self, roots: Iterable[ChainLink]) -> set[ChainLink]:
        reached = set(roots)
        pending = list(reached)
        while pending:
            for follower in self.successors(pending.pop()):
                if follower not in reached:
                    reached.add(follower)
                    pending.append(follower)
        return reached


def _choose_target(graph: _Graph, at: float | None, is_genuine: IsGenuine) -> tuple[ChainLink, list[str]]:
    """The element whose state is wanted; the texts say what else it could have been."""
    if not graph.links:
        raise ElementNotFoundError("the source has no elements")
    heads = graph.heads()
    if ringed := graph.in_or_behind_rings(heads):
        text = f"{len(ringed)} elements are in a ring of elements that follow one another, or behind one"
        raise IntegrityError(f"{text}: {_name(ringed)}; name the element to restore")
    candidates = heads if at is None else _last_ones_before(graph, heads, at)
    if not candidates:
        earliest = min(graph.links, key=lambda link: link.timestamp)
        raise ElementNotFoundError(
            f"no element is as old as that: the oldest, {earliest.element_id}, is of "
            f"{describe_time(earliest.timestamp)}"
        )
    return _choose_last(candidates, is_genuine)


def _choose_last(candidates: list[ChainLink], is_genuine: IsGenuine) -> tuple[ChainLink, list[str]]:
    """Of the ends of separate chains the one that is the last by arrival and by timestamp.

    Copying a storage changes what arrived last; signed timestamps are as they were made, whoever had the
    elements since. Others are no reason to believe anything: no guess.
    """
    arrived = max(candidates, key=lambda link: (link.arrival, link.timestamp, link.element_id))
    latest = max(candidates, key=lambda link: (link.timestamp, link.arrival, link.element_id))
    if latest.timestamp == arrived.timestamp:
        return arrived, []
    text = (
        f"{len(candidates)} separate chains: {arrived.element_id} arrived last, but by their own timestamps "
        f"{latest.element_id} is later"
    )
    if not all(is_genuine(link.element_id) for link in candidates):
        source = latest.element_id.source_url
        raise IntegrityError(
            f"{text}, and not all are signed by a key that is known here (--private-keyring), which would "
            f"decide; look at them with: guerillabackup element list {source} --long; and name the element "
            f"to restore: --element {latest.element_id}"
        )
    return latest, [f"{text}, as is signed, so that one was taken"]


def _last_ones_before(graph: _Graph, heads: Sequence[ChainLink], at: float) -> list[ChainLink]:
    """For each chain the last element in its order that is not newer than `at`."""
    found: dict[ChainLink, None] = {}
    seen: set[ChainLink] = set()
    for head in heads:
        pending = [head]
        while pending:
            link = pending.pop()
            if link in seen:
                continue
            seen.add(link)
            if link.timestamp <= at:
                found[link] = None
            else:
                pending += graph.predecessors(link)
    return list(found)


def _walk_to_full(graph: _Graph, target: ChainLink) -> list[ChainLink]:
    """The full before (or at) the target, and everything between, first to last."""
    needed = [target]
    seen = {target}
    while not needed[-1].is_full:
        link = needed[-1]
        before = graph.predecessors(link)
        if len(before) > 1:
            raise IntegrityError(
                f"element {link.element_id} follows a DataUuid that several elements claim: {_name(before)}"
            )
        if not before:
            raise IntegrityError(_gap_text(graph, target, link))
        if before[0] in seen:
            raise IntegrityError(f"the elements before {target.element_id} follow one another in a ring")
        seen.add(before[0])
        needed.append(before[0])
    needed.reverse()
    return needed


def _judge_needed(graph: _Graph, needed: Sequence[ChainLink], named: bool) -> list[str]:
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
            text = f"element {link.element_id} is followed by {len(followers)} elements: {_name(followers)}"
            if not named:
                ends = [head.element_id for head in graph.heads()]
                raise IntegrityError(f"{text}; name the element to restore (chains end with {_join(ends)})")
            warnings.append(text)
    return warnings


def _gap_text(graph: _Graph, target: ChainLink, link: ChainLink) -> str:
    lacking = "names no predecessor" if link.predecessor is None else "follows an element that is not here"
    text = f"element {target.element_id} cannot be restored: incremental {link.element_id} {lacking}"
    if link.predecessor is not None:
        text += f" (DataUuid {_short(link.predecessor)})"
    restorable = graph.restorable()
    if restorable:
        last = max(restorable, key=lambda each: (each.arrival, each.timestamp, each.element_id))
        text += f"; the last one whose chain is complete is {last.element_id}, which was not verified yet"
    return text


def _short(identity: bytes) -> str:
    """The beginning of a binary value as metadata files have it."""
    text = base64.b64encode(identity).decode("ascii")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _why_not_restorable(graph: _Graph, link: ChainLink) -> str:
    if link.predecessor is None:
        return "an incremental that names no predecessor"
    if not graph.predecessors(link):
        return f"it follows an element that is not here (DataUuid {_short(link.predecessor)})"
    return "no full is at the beginning of its chain"


def _incrementals_after(graph: _Graph, link: ChainLink) -> Iterator[ChainLink]:
    """All elements whose way back to their full goes over this one."""
    seen = {link}
    pending = [link]
    while pending:
        for follower in graph.successors(pending.pop()):
            if not follower.is_full and follower not in seen:
                seen.add(follower)
                pending.append(follower)
                yield follower


def _has_copy(graph: _Graph, link: ChainLink, gone: Collection[ElementId]) -> bool:
    return any(copy.element_id not in gone for copy in graph.copies_of(link))


def _identity(link: ChainLink) -> _Identity:
    return (link.backup_type, link.timestamp, link.data_uuid, link.predecessor, link.checksum)


def _name(links: Sequence[ChainLink]) -> str:
    return _join([link.element_id for link in links])


def _join(ids: Sequence[ElementId]) -> str:
    text = ", ".join(str(element_id) for element_id in ids[:MAX_NAMED])
    return text if len(ids) <= MAX_NAMED else f"{text} and {len(ids) - MAX_NAMED} more"
