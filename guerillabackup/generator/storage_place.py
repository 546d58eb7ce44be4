"""Whether the directory of a storage is the one that elements were stored in, or an empty mount point.

It is never made here: a backup that goes to the root file system, because another one is not mounted, is
missed when it is needed. Whether it had anything in it is remembered in the state, for each storage apart;
that file may be removed at any time. Touches: os, json.
"""

import json
import logging
import os
import shlex
from collections.abc import Mapping
from types import MappingProxyType

from guerillabackup import osfile
from guerillabackup.errors import StorageError

FILLED = "storage.filled"
"""Name of the state file: a JSON list of the storages that were seen with elements in them."""
_MAX_STORAGES = 50
_MAX_SIZE = 1 << 16
_NOTHING: Mapping[str, str] = MappingProxyType({})
_MAX_FOLDERS = 100_000
_NOT_ELEMENTS = (".partial", "lost+found")

log = logging.getLogger(__name__)


def find_storage_problem(
    directory: str, state_directory: str, *, elements_move_on: bool, apart: Mapping[str, str] = _NOTHING
) -> str | None:
    """Why nothing must be stored there, with what to do; None when all is well. Changes nothing.

    `apart` are directories beside that of the state that must not overlap the storage, by what they are.
    """
    if (overlap := find_overlap(directory, state_directory, apart)) is not None:
        return overlap
    try:
        is_filled = _is_filled(directory)
    except (FileNotFoundError, NotADirectoryError):
        return (
            f"the storage {directory} is not there or no directory: is it mounted; if it is new, make it "
            f"with: mkdir -m 0700 -p {shlex.quote(directory)}"
        )
    except OSError as error:
        return f"the storage {directory} cannot be read: {error.strerror}"
    if is_filled or elements_move_on or not _was_filled(directory, state_directory):
        return None
    return (
        f"the storage {directory} is empty, although there were elements in it: is it mounted; if they were "
        f"removed or moved on, remove {_path(state_directory)}, or set GeneralElementsMoveOn = True"
    )


def find_overlap(directory: str, state_directory: str, apart: Mapping[str, str] = _NOTHING) -> str | None:
    """What to say where a storage is in one of the others, or one of them in it: elements live there alone.

    No mount changes it, so it is asked before anything is written to the state.
    """
    others = {"GeneralPersistencyBaseDir": state_directory, **apart}
    found = (_describe_overlap(directory, other, what) for what, other in others.items())
    return next((overlap for overlap in found if overlap is not None), None)


def remember_storage(directory: str, state_directory: str) -> None:
    """Note that there is something in the storage, if there is. Never raises: no backup needs it."""
    try:
        if _was_filled(directory, state_directory) or not _is_filled(directory):
            return
        descriptor = osfile.open_directory(state_directory)
        try:
            known = [*_read_filled(state_directory), directory][-_MAX_STORAGES:]
            osfile.replace_file(descriptor, FILLED, json.dumps(known).encode("ascii"))
        finally:
            os.close(descriptor)
    except (OSError, StorageError) as error:
        log.warning("cannot write %s: %s", _path(state_directory), error)


def _describe_overlap(directory: str, other: str, what: str) -> str | None:
    inner, outer = os.path.realpath(directory), os.path.realpath(other)
    common = os.path.commonpath((inner, outer))
    if common not in (inner, outer):
        return None
    relation = "is" if inner == outer else "lies in" if common == outer else "has in it"
    return (
        f"the storage {directory} {relation} {other}, which is {what}: give each a directory of its own,"
        " such as data and state side by side"
    )


def _is_filled(directory: str) -> bool:
    """Whether there is any file; folders alone are none, and more of them than a storage has are not read."""
    pending = [directory]
    for _ in range(_MAX_FOLDERS):
        if not pending:
            return False
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if folder == directory and entry.name in _NOT_ELEMENTS:
                        continue
                    if not entry.is_dir(follow_symlinks=False):
                        return True
                    pending.append(entry.path)
        except OSError:
            if folder == directory:
                raise
            return True  # what may not be read may be anything
    return True


def _was_filled(directory: str, state_directory: str) -> bool:
    """Whether the state says so of this storage."""
    return directory in _read_filled(state_directory)


def _read_filled(state_directory: str) -> list[str]:
    """The storages of which the state says so; a file that cannot be used says nothing."""
    try:
        descriptor = osfile.open_directory(state_directory)
    except (OSError, StorageError):
        return []
    try:
        known = json.loads(osfile.read_file(descriptor, FILLED, _MAX_SIZE))
        return [each for each in known if isinstance(each, str)] if isinstance(known, list) else []
    except (OSError, StorageError, ValueError, RecursionError):
        return []
    finally:
        os.close(descriptor)


def _path(state_directory: str) -> str:
    return os.path.join(state_directory, FILLED)
