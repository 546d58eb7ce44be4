"""The storages that a service has open, and whether each is still what is at its place.

A directory that took the place of a storage, as of something that was mounted there meanwhile or is mounted
no more, is another storage: nothing is moved in or out of the one before, where nobody would find it.
Touches: os.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from guerillabackup.osfile import Ownership
from guerillabackup.storage.interface import StorageInterface

Place = tuple[int, int] | None
"""Device and number of a directory; None where there is none."""


@dataclass(frozen=True, slots=True)
class _Key:
    directory: str
    ownership: Ownership
    place: Place


class StorageShelf:
    """Each storage is opened once; `open_storage` opens the one of a directory, and closes it some time."""

    def __init__(self, open_storage: Callable[[str, Ownership], StorageInterface]) -> None:
        self._open_storage = open_storage
        self._storages: dict[_Key, StorageInterface] = {}
        self._keys: dict[int, _Key] = {}

    @property
    def directories(self) -> list[str]:
        """Of all that were opened."""
        return sorted({key.directory for key in self._storages})

    def get(self, directory: str, ownership: Ownership) -> StorageInterface:
        """The storage there, opened unless it is; raises what opening it raises."""
        key = _Key(directory, ownership, _find_place(directory))
        storage = self._storages.get(key)
        if storage is None:
            storage = self._storages[key] = self._open_storage(directory, ownership)
            self._keys[id(storage)] = key
        return storage

    def find_problem(self, storage: StorageInterface) -> str | None:
        """Why nothing must be moved in or out of a storage just now; None when all is well."""
        key = self._keys[id(storage)]
        if _find_place(key.directory) == key.place:
            return None
        return (
            f"{key.directory} is another directory than when this service began to use it: was something "
            "mounted there, or is it not mounted any more; have the service reload or restart"
        )


def _find_place(directory: str) -> Place:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino
