"""Which elements are deleted, in which order, and who would need them.

Joins the storage with chain.py, which decides.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, MetainfoError, StorageError
from guerillabackup.restore.chain import find_dependents
from guerillabackup.restore.chain_graph import ChainLink, find_depths
from guerillabackup.restore.companions import find_lists
from guerillabackup.restore.links import make_link, read_links
from guerillabackup.restore.renamed import doubt_name
from guerillabackup.restore.verify import digest_data
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface

MAX_NAMED = 4


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """What would be deleted, in this order: a crash on the way leaves no incremental without its full.

    `dependents` are the elements that stay and could not be restored any more, by what they need; `warnings`
    say which elements are gone already, and of which the names are not what their metadata says.
    """

    elements: tuple[StorageBackupDataElementInterface, ...]
    dependents: dict[ElementId, list[ElementId]]
    warnings: tuple[str, ...] = ()


def plan_deletion(storage: StorageInterface, names: Sequence[str]) -> DeletionPlan:
    """What deleting these ids comes to, their members lists too; raises ElementNotFoundError for none.

    What is gone already, as after a deletion that was killed, is a warning beside others that are here.
    """
    chosen: dict[ElementId, StorageBackupDataElementInterface] = {}
    missing: list[ElementNotFoundError] = []
    for name in names:
        try:
            element = storage.get_backup_data_element(ElementId.parse(name))
            chosen[element.get_element_id()] = element
        except ElementNotFoundError as error:
            missing.append(error)
    if missing and not chosen:
        raise missing[0]
    for element in list(chosen.values()):
        for companion in find_lists(storage, element):
            chosen[companion.get_element_id()] = companion
    dependents: dict[ElementId, list[ElementId]] = {}
    for source_url in {element_id.source_url for element_id in chosen}:
        if not source_url.is_members:
            dependents |= _find_dependents(storage, source_url, chosen)
    ordered = _from_last(chosen.values())
    return DeletionPlan(tuple(ordered), dependents, (*map(str, missing), *_doubt_names(ordered)))


def _find_dependents(
    storage: StorageInterface, source_url: SourceUrl, chosen: Collection[ElementId]
) -> dict[ElementId, list[ElementId]]:
    """Who needs the chosen elements of a source; what cannot be read may need any of them.

    A copy stands in for an element only when its data is what its checksum says.
    """
    found = read_links(storage, source_url)
    uuids = {link.data_uuid for link in found.links if link.element_id in chosen}
    links = [
        link
        for link in found.links
        if link.element_id in chosen or link.data_uuid not in uuids or _has_right_data(storage, link)
    ]
    dependents = find_dependents(links, chosen)
    if unreadable := sorted(found.unreadable.keys() - set(chosen)):
        for element_id in chosen:
            if element_id.source_url == source_url and element_id not in found.unreadable:
                dependents.setdefault(element_id, []).extend(unreadable)
    return dependents


def _has_right_data(storage: StorageInterface, link: ChainLink) -> bool:
    try:
        element = storage.get_backup_data_element(link.element_id)
        with element.get_data_stream() as stream:
            return digest_data(stream.fileno())[0] == link.checksum
    except StorageError:
        return False


def delete_planned(
    plan: DeletionPlan,
    *,
    force: bool = False,
    note: Callable[[Collection[bytes]], None] = lambda uuids: None,
) -> Iterator[ElementId]:
    """Delete what was planned, each id as it is gone; refuses what others need unless forced.

    All are locked before the first goes: ElementLockedError when somebody holds one. `note` gets the DataUuid
    of each that none of the others follows, before that.
    """
    if plan.dependents and not force:
        raise StorageError("; ".join(dependents_text(plan.dependents)))
    locked: list[StorageBackupDataElementInterface] = []
    try:
        for element in plan.elements:
            element.lock()
            locked.append(element)
        note(_last_uuids(plan.elements))
        for element in plan.elements:
            element.delete()
            yield element.get_element_id()
    finally:
        for element in locked:
            element.unlock()


def _last_uuids(elements: Iterable[StorageBackupDataElementInterface]) -> set[bytes]:
    uuids: set[bytes] = set()
    followed: set[bytes] = set()
    for element in elements:
        with contextlib.suppress(ElementNotFoundError, MetainfoError):
            metainfo = element.get_metadata()
            if metainfo.data_uuid is not None:
                uuids.add(metainfo.data_uuid)
            if metainfo.predecessor is not None:
                followed.add(metainfo.predecessor)
    return uuids - followed


def _from_last(
    elements: Iterable[StorageBackupDataElementInterface],
) -> list[StorageBackupDataElementInterface]:
    """Lists of members first, and then each before what it follows: arrival tells nothing in a copy."""
    elements = list(elements)
    links: list[ChainLink] = []
    for element in elements:
        with contextlib.suppress(MetainfoError):
            links.append(make_link(element))
    depths = find_depths(links)

    def rank(element: StorageBackupDataElementInterface) -> tuple[bool, int, float, ElementId]:
        element_id, arrival = element.get_element_id(), element.get_arrival_time()
        return (element_id.source_url.is_members, depths.get(element_id, 0), arrival, element_id)

    return sorted(elements, key=rank, reverse=True)


def _doubt_names(elements: Iterable[StorageBackupDataElementInterface]) -> Iterator[str]:
    for element in elements:
        with contextlib.suppress(MetainfoError):
            for doubt in doubt_name(element.get_metadata(), element.get_element_id()):
                yield f"element {element.get_element_id()}: {doubt.text}"


def dependents_text(dependents: dict[ElementId, list[ElementId]]) -> Iterable[str]:
    """A sentence for each element that others need."""
    for element_id, needing in dependents.items():
        named = ", ".join(str(each) for each in needing[:MAX_NAMED])
        more = f" and {len(needing) - MAX_NAMED} more" if len(needing) > MAX_NAMED else ""
        yield f"element {element_id} is needed to restore {named}{more}"
