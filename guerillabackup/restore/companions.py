"""Which element and which list of members belong together, by the storage that is handed in. No I/O."""

import base64
from collections.abc import Iterator

from guerillabackup.element import MEMBERS_SUFFIX, BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, MetainfoError, SourceUrlError
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface

_MEMBERS_OF = "MembersOf"


def find_lists(
    storage: StorageInterface, element: StorageBackupDataElementInterface
) -> Iterator[StorageBackupDataElementInterface]:
    """The elements that list the members of this one: none, one, or copies of it."""
    source_url = element.get_source_url()
    if source_url.is_members:
        return
    try:
        members = source_url.members()
    except SourceUrlError:
        return
    for candidate in storage.query_backup_data_elements(source_url=members):
        if _are_of_one_backup(element, candidate):
            yield candidate


def find_lonely_lists(storage: StorageInterface, source_url: SourceUrl) -> set[ElementId]:
    """The elements of a companion source that name an element that is not in the storage.

    What cannot be read may be what a list names: as long as there is such an element none is called lonely.
    """
    if not source_url.is_members:
        return set()
    main_url = SourceUrl(str(source_url).removesuffix(MEMBERS_SUFFIX))
    named: dict[str, set[ElementId]] = {}
    for each in storage.query_backup_data_elements(source_url=source_url):
        try:
            uuid = each.get_metadata().get(_MEMBERS_OF)
        except (ElementNotFoundError, MetainfoError):
            continue
        if isinstance(uuid, str):
            named.setdefault(uuid, set()).add(each.get_element_id())
    for element in storage.query_backup_data_elements(source_url=main_url):
        try:
            named.pop(_uuid_text(element.get_metadata()) or "", None)
        except ElementNotFoundError:
            continue
        except MetainfoError:
            return set()
    return set().union(*named.values())


def _are_of_one_backup(
    element: StorageBackupDataElementInterface, companion: StorageBackupDataElementInterface
) -> bool:
    """By metadata, or by their names where that of one cannot be read."""
    own, other = element.get_element_id(), companion.get_element_id()
    try:
        mine, its = element.get_metadata(), companion.get_metadata()
    except ElementNotFoundError:
        return False
    except MetainfoError:
        agree = own.digits == other.digits and own.backup_type is other.backup_type
    else:
        agree = mine.timestamp == its.timestamp and _is_list_of(its, mine)
    return agree and own.serial == other.serial


def _is_list_of(members: BackupElementMetainfo, metainfo: BackupElementMetainfo) -> bool:
    """Whether it says so itself; one that names no element is that of the same type."""
    named = members.get(_MEMBERS_OF)
    if named is None:
        return members.backup_type is metainfo.backup_type
    return bool(named == _uuid_text(metainfo))


def _uuid_text(metainfo: BackupElementMetainfo) -> str | None:
    return None if metainfo.data_uuid is None else base64.b64encode(metainfo.data_uuid).decode("ascii")
