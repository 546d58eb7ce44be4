"""The elements of one source as what joins them: Predecessor to DataUuid. No I/O.

Everything here is linear in the number of elements and does not recurse: there may be a hundred thousand.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from guerillabackup.element import BackupType, ElementId
from guerillabackup.errors import ElementNotFoundError

MAX_NAMED = 4
"""How many elements a message names before it only counts the rest."""

Identity = tuple[BackupType, int, bytes | None, bytes | None, bytes | None]


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


class Graph:
    """The elements of one source by what joins them; copies of one element count once."""

    def __init__(self, links: Iterable[ChainLink]) -> None:
        self.links: list[ChainLink] = sorted(links, key=lambda link: link.element_id)
        self._copies: dict[Identity, list[ChainLink]] = {}
        self._claims: dict[bytes, dict[Identity, ChainLink]] = {}
        self._followers: dict[bytes, list[ChainLink]] = {}
        self.representatives: list[ChainLink] = []
        for link in self.links:
            if link.data_uuid is not None:
                self._copies.setdefault(identity_of(link), []).append(link)
                claims = self._claims.setdefault(link.data_uuid, {})
                if claims.setdefault(identity_of(link), link) is not link:
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
        return [link] if link.data_uuid is None else self._copies[identity_of(link)]

    def conflict_of(self, link: ChainLink) -> str | None:
        """That other content claims this element's DataUuid too."""
        claims = {} if link.data_uuid is None else self._claims[link.data_uuid]
        if len(claims) < 2:
            return None
        others = [other for other in islice(claims.values(), 3) if identity_of(other) != identity_of(link)]
        return f"its DataUuid is also that of {name_links(others[:1])}, with other content"

    def heads(self) -> list[ChainLink]:
        """The elements that nobody follows."""
        return [link for link in self.representatives if not self.successors(link)]

    def restorable(self) -> set[ChainLink]:
        """The elements whose way back to a full is complete."""
        reached = self.reach(link for link in self.links if link.is_full)
        return {link for link in self.links if any(copy in reached for copy in self.copies_of(link)[:1])}

    def without_ring(self) -> set[ChainLink]:
        """The elements whose way back has a beginning."""
        return self.reach(link for link in self.representatives if not self.predecessors(link))

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

    def reach(self, roots: Iterable[ChainLink], seen: set[ChainLink] | None = None) -> set[ChainLink]:
        """The roots and all that follows them; of that nothing which is in `seen`, where it is added."""
        reached = set(roots)
        known = reached if seen is None else seen
        known |= reached
        pending = list(reached)
        while pending:
            for follower in self.successors(pending.pop()):
                if follower not in known:
                    known.add(follower)
                    reached.add(follower)
                    pending.append(follower)
        return reached


def identity_of(link: ChainLink) -> Identity:
    return (link.backup_type, link.timestamp, link.data_uuid, link.predecessor, link.checksum)


def name_links(links: Sequence[ChainLink]) -> str:
    return name_ids([link.element_id for link in links])


def name_ids(ids: Sequence[ElementId]) -> str:
    text = ", ".join(str(element_id) for element_id in ids[:MAX_NAMED])
    return text if len(ids) <= MAX_NAMED else f"{text} and {len(ids) - MAX_NAMED} more"


def find_depths(links: Iterable[ChainLink]) -> dict[ElementId, int]:
    """How many of these elements each one comes after, by what it follows; who follows is always deeper.

    Elements in a ring are where they are met.
    """
    links = list(links)
    by_uuid = {link.data_uuid: link for link in links if link.data_uuid is not None}
    depths: dict[bytes, int] = {}
    found: dict[ElementId, int] = {}
    for link in links:
        way: dict[bytes, None] = {}
        uuid = link.predecessor
        while uuid is not None and uuid in by_uuid and uuid not in depths and uuid not in way:
            way[uuid] = None
            uuid = by_uuid[uuid].predecessor
        for each in reversed(way):
            depths[each] = depths.get(by_uuid[each].predecessor or b"", -1) + 1
        found[link.element_id] = depths.get(link.predecessor or b"", -1) + 1
    return found
