"""Whether the element that an incremental backup would go on from is still in the storage.

It asks the storage that it is given. No I/O.
"""

from collections.abc import Mapping
from typing import Any

from guerillabackup.errors import ElementNotFoundError, MetainfoError
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.units.tar_memory import SourceMemory

MOVE_ON = "GeneralElementsMoveOn"
SENDER_POLICY = "TransferSenderPolicyClass"


def why_not_to_go_on(
    memory: SourceMemory, storage: StorageInterface, configuration: Mapping[str, Any]
) -> str | None:
    """Why an incremental backup after the last element could not be restored; None: it could, or who knows.

    Where elements move on, nobody here can tell; neither where the last one's id is not remembered. One
    look-up, whatever the size of the storage; raises StorageError when it cannot be looked at.
    """
    element_id = memory.last_element
    if element_id is None or _elements_move_on(configuration):
        return None
    try:
        found = storage.get_backup_data_element(element_id).get_metadata().data_uuid
    except ElementNotFoundError:
        return (
            f"the last element, {element_id}, is not in the storage any more; where another program moves"
            f" elements on, set {MOVE_ON} = True"
        )
    except MetainfoError as error:
        return f"the metadata of the last element, {element_id}, is damaged: {error}"
    if found != memory.last_uuid:
        return f"{element_id} in the storage is not the element that was stored last, but another one"
    return None


def _elements_move_on(configuration: Mapping[str, Any]) -> bool:
    said = configuration.get(MOVE_ON)
    return bool(said) if said is not None else configuration.get(SENDER_POLICY) is not None
