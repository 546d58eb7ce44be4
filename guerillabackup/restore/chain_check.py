"""What is wrong with the chain of a source, element by element. No I/O."""

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from guerillabackup.element import ElementId
from guerillabackup.element_json import shorten_uuid
from guerillabackup.restore.chain_graph import ChainLink, Graph, name_links


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


def examine_chain(links: Iterable[ChainLink], *, elements_leave: bool = False) -> Iterator[ChainFinding]:
    """What is wrong with the chain of one source, element by element, in the order given.

    Where elements leave the storage, oldest first, it is no violation that the others wait behind a gap.
    """
    graph = Graph(links)
    left_behind = _left_behind(graph) if elements_leave else set()
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
                text = f"{len(followers)} elements follow it: {name_links(followers)}"
                yield ChainFinding(link.element_id, Severity.WARNING, text)
        elif link in left_behind:
            text = (
                f"{_why_not_restorable(graph, link)}; elements move on from here: restore it where they are"
            )
            yield ChainFinding(link.element_id, Severity.WARNING, text)
        else:
            yield ChainFinding(link.element_id, Severity.VIOLATION, _why_not_restorable(graph, link))


def find_holes(
    links: Iterable[ChainLink], *, gaps_are_meant: bool = False, deleted: Collection[bytes] = ()
) -> Iterator[ChainFinding]:
    """The fulls that follow an element which is not here: they are whole, but the history before them is not.

    It is a violation where an element is here that is older, by its timestamp and not after it in the chain:
    a hole in the middle. Not where none is, as old elements are removed on purpose, nor where gaps are meant,
    nor where what the full follows was `deleted` on purpose.
    """
    graph = Graph(links)
    beginnings = [link for link in graph.representatives if not graph.predecessors(link)]
    seen: set[ChainLink] = set()
    ages = [(min(map(_age, graph.reach([first], seen))), first.element_id) for first in beginnings]
    oldest = sorted(ages)[:2]
    for full in beginnings:
        if not full.is_full or full.predecessor is None:
            continue
        is_inner = any(age < _age(full) for age, first_id in oldest if first_id != full.element_id)
        text = f"it follows an element that is not here (DataUuid {shorten_uuid(full.predecessor)}): "
        if not is_inner:
            text += "older backups were removed or moved on, or never came"
        else:
            text += "between it and older ones that are here there is a hole in the history"
        is_deleted = full.predecessor in deleted
        if is_deleted and is_inner:
            text += ", made with element delete"
        is_violation = is_inner and not gaps_are_meant and not is_deleted
        if is_violation:
            text += (
                "; where elements are taken away on purpose, GeneralElementsMoveOn = True in the "
                "configuration makes this a warning"
            )
        severity = Severity.VIOLATION if is_violation else Severity.WARNING
        yield ChainFinding(full.element_id, severity, text)


def _age(link: ChainLink) -> tuple[int, float]:
    return link.timestamp, link.arrival


def _left_behind(graph: Graph) -> set[ChainLink]:
    """What follows an element that is not here, and all after that."""
    return graph.reach(
        link
        for link in graph.representatives
        if link.predecessor is not None and not graph.predecessors(link)
    )


def _why_not_restorable(graph: Graph, link: ChainLink) -> str:
    if link.predecessor is None:
        return "an incremental that names no predecessor"
    if not graph.predecessors(link):
        return f"it follows an element that is not here (DataUuid {shorten_uuid(link.predecessor)})"
    return "no full is at the beginning of its chain"
