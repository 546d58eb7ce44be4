"""Who may transfer for a state directory: one service, or any number of single connections.

No process is named, since any of several may hold it. It joins the lock of a directory and its error.
"""

from types import TracebackType
from typing import Self

from guerillabackup.errors import StateError, TemporaryError
from guerillabackup.osfile_lock import DirectoryLock

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
