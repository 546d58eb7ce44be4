"""The elements of a source in a storage, as its chain sees them, by the storage that is handed in. No I/O."""

from dataclasses import dataclass

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, MetainfoError
from guerillabackup.restore.chain_graph import ChainLink
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface


@dataclass(frozen=True, slots=True)
class SourceLinks:
    """The elements of a source that can be read, as its chain sees them, and why the others cannot."""

    links: tuple[ChainLink, ...]
    unreadable: dict[ElementId, MetainfoError]


def read_links(storage: StorageInterface, source_url: SourceUrl) -> SourceLinks:
    """All elements of a source; what goes meanwhile is left out."""
    links: list[ChainLink] = []
    unreadable: dict[ElementId, MetainfoError] = {}
    for element in storage.query_backup_data_elements(source_url=source_url):
        try:
            links.append(make_link(element))
        except ElementNotFoundError:
            continue
        except MetainfoError as error:
            unreadable[element.get_element_id()] = error
    return SourceLinks(tuple(links), unreadable)


def make_link(element: StorageBackupDataElementInterface) -> ChainLink:
    """The element as its chain sees it."""
    metainfo = element.get_metadata()
    return ChainLink(
        element.get_element_id(),
        metainfo.backup_type,
        metainfo.timestamp,
        metainfo.data_uuid,
        metainfo.predecessor,
        metainfo.checksum,
        element.get_arrival_time(),
    )
