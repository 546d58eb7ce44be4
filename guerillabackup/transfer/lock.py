"""Who may transfer for a state directory, and receive into a storage: one service, or any single connections.

No process is named, since any of several may hold it. It joins locks of directories and their error.
"""

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from guerillabackup.errors import StateError, TemporaryError
from guerillabackup.osfile_lock import DirectoryLock, lock_directory

LOCK_FILE = "transfer.lock"


class TransferBusyError(StateError, TemporaryError):
    """Somebody else transfers, and that excludes this."""


class TransferLock:
    """Held from its making to `close`; TransferBusyError when somebody else holds what excludes it."""

    def __init__(self, state_directory: str, *, is_service: bool) -> None:
        self._lock = DirectoryLock(state_directory, LOCK_FILE)
        if not self._lock.take(is_alone=is_service):
            self._lock.close()
            raise TransferBusyError(
                f"another transfer service works with the state in {state_directory}"
                + (", or a single connection: start this when it has ended" if is_service else "")
            )

    def close(self) -> None:
        """Let others have it; may be called twice."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StorageLocks:
    """The storages that a service, or a single connection, receives into; held to `close`.

    What connections agree on (who fetches what just now) is in their process: two of them would store an
    element twice. Who only sends takes none: what is offered is locked one by one.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], int] = {}

    def take(self, directories: Iterable[str], *, is_service: bool) -> None:
        """Lock these too; TransferBusyError, and none more is held, when somebody else receives there."""
        taken: dict[tuple[int, int], int] = {}
        try:
            for directory in directories:
                descriptor, place = lock_directory(directory, is_alone=is_service)
                if descriptor is None:
                    if place in self._held or place in taken:
                        continue
                    raise TransferBusyError(
                        f"another transfer service receives into the storage in {directory}: one service "
                        "with several peers (TransferPeers) does what two would, and stores nothing twice"
                    )
                if place in self._held or place in taken:
                    os.close(descriptor)
                    continue
                taken[place] = descriptor
        except BaseException:
            _close_all(taken)
            raise
        self._held |= taken

    def close(self) -> None:
        """Let others have them; may be called twice."""
        held, self._held = self._held, {}
        _close_all(held)


def _close_all(descriptors: dict[tuple[int, int], int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
