"""Which elements of this host's storage were deleted on purpose, so that nobody takes them for lost.

Of elements deleted together those are noted that nothing deleted with them follows: what comes after a hole
names the last one in it. Touches: base64, fcntl, json, os.
"""

import base64
import fcntl
import json
import logging
import os
from collections.abc import Iterable

from guerillabackup import osfile
from guerillabackup.errors import StorageError

DELETED = "elements.deleted"
"""Name of the state file: a JSON list of DataUuid in base64, the last one noted last."""
MAX_NOTED = 5000
_MAX_SIZE = 1 << 20

log = logging.getLogger(__name__)


def read_deleted(state_directory: str) -> frozenset[bytes]:
    """The DataUuid of each; a file that cannot be used says nothing."""
    try:
        descriptor = osfile.open_directory(state_directory)
    except (OSError, StorageError):
        return frozenset()
    try:
        return frozenset(base64.b64decode(each) for each in _read(descriptor))
    except ValueError:
        return frozenset()
    finally:
        os.close(descriptor)


def note_deleted(storage: str, own: object, state: object, uuids: Iterable[bytes]) -> None:
    """Note durably what is about to be deleted from a storage, if it is this host's `own`.

    Never raises: it may be a full disk that is the reason to delete.
    """
    noted = [base64.b64encode(uuid).decode("ascii") for uuid in uuids]
    if not (noted and isinstance(own, str) and isinstance(state, str)):
        return
    try:
        if not os.path.samefile(own, storage):
            return
        descriptor = osfile.open_directory(state)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            known = [*(each for each in _read(descriptor) if each not in noted), *noted][-MAX_NOTED:]
            osfile.replace_file(descriptor, DELETED, json.dumps(known).encode("ascii"))
        finally:
            os.close(descriptor)
    except (OSError, StorageError) as error:
        log.warning("cannot write %s, so that what is deleted counts as lost: %s", DELETED, error)


def _read(descriptor: int) -> list[str]:
    try:
        known = json.loads(osfile.read_file(descriptor, DELETED, _MAX_SIZE))
    except (OSError, StorageError, ValueError, RecursionError):
        return []
    return [each for each in known if isinstance(each, str)] if isinstance(known, list) else []
