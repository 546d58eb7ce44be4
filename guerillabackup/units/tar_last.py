"""Whether the elements that an incremental backup would need are still in the storage, as they were stored.

It asks the storage that it is given. No I/O.
"""

from collections.abc import Mapping
from typing import Any

from guerillabackup.config_keys import elements_move_on
from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.storage.interface import ElementFacts, ElementSelection, StorageInterface
from guerillabackup.units.tar_memory import SourceMemory, size_key

MOVE_ON = "GeneralElementsMoveOn"


def why_not_to_go_on(
    source_url: SourceUrl, memory: SourceMemory, storage: StorageInterface, configuration: Mapping[str, Any]
) -> str | None:
    """Why an incremental backup after the last element could not be restored; None: it could, or who knows.

    Looks at the metadata of the source's elements and at the sizes of their data. Where elements move on, one
    that is not there is no reason. Raises StorageError when the storage cannot be looked at.
    """
    if memory.is_in_doubt:
        return "what is remembered of the last element is of two different ones, as after putting back a copy"
    links = _read_links(source_url, storage)
    if any(link.predecessor == memory.last_uuid for link in links.values()):
        return (
            "the last element that is remembered has a follower already, as after putting back an old state"
        )
    if changed := _why_not_as_stored(memory, links):
        return changed
    if memory.last_element is None or elements_move_on(configuration):
        return None
    return _why_not_whole(memory, links)


def _why_not_as_stored(memory: SourceMemory, links: Mapping[bytes | None, ElementFacts]) -> str | None:
    """Compare the sizes of the data from the last full on, of the elements that are there."""
    for uuid, link in links.items():
        size = memory.data_sizes.get(size_key(uuid), link.size)
        if size != link.size:
            return (
                f"the data of element {link.element_id}, which it would need, has {link.size} bytes, and had"
                f" {size} when it was stored: element verify tells what is damaged"
            )
    return None


def _why_not_whole(memory: SourceMemory, links: Mapping[bytes | None, ElementFacts]) -> str | None:
    """Walk from the last element to its full."""
    uuid, seen = memory.last_uuid, set[bytes | None]()
    while uuid not in seen:
        link = links.get(uuid)
        if link is None:
            what = (
                f"the last element, {memory.last_element},"
                if not seen
                else "an element between it and its full"
            )
            return (
                f"{what} is not in the storage any more, or damaged; where another program moves elements on,"
                f" set {MOVE_ON} = True"
            )
        if link.backup_type == BackupType.FULL.value:
            return None
        seen.add(uuid)
        uuid = link.predecessor
    return "the elements of the source follow one another in a ring"


def _read_links(source_url: SourceUrl, storage: StorageInterface) -> dict[bytes | None, ElementFacts]:
    """The readable elements of a source by their DataUuid."""
    listing = storage.list_facts(ElementSelection.of_source(source_url))
    return {facts.data_uuid: facts for facts in listing if facts.problem is None}
