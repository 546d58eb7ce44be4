"""What a listing tells of an element, as texts and numbers; it asks the storage that it is given. No I/O."""

from guerillabackup.errors import MetainfoError
from guerillabackup.storage.interface import StorageBackupDataElementInterface


def describe_what_can_be(element: StorageBackupDataElementInterface) -> dict[str, object]:
    """Of one whose metadata cannot be read what its name tells, and what is wrong as `problem`."""
    try:
        return _describe(element)
    except MetainfoError as error:
        element_id = element.get_element_id()
        return {
            "id": str(element_id),
            "source": str(element_id.source_url),
            "type": element_id.backup_type.value,
            "timestamp": None,
            "arrival": element.get_arrival_time(),
            "size": element.get_data_size(),
            "signed": None,
            "problem": str(error),
        }


def _describe(element: StorageBackupDataElementInterface) -> dict[str, object]:
    metainfo = element.get_metadata()
    return {
        "id": str(element.get_element_id()),
        "source": str(element.get_source_url()),
        "type": metainfo.backup_type.value,
        "timestamp": metainfo.timestamp,
        "arrival": element.get_arrival_time(),
        "size": element.get_data_size(),
        "signed": metainfo.metadata_signature is not None,
    }
