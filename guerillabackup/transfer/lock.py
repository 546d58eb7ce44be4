"""Who may transfer for a state directory: one service, or any number of single connections.

The lock is a file's, so it ends with its process whatever becomes of that.
Touches: fcntl, os.
"""

import fcntl
import os
from types import TracebackType
from typing import Self

from guerillabackup import osfile
from guerillabackup.errors import StateError, TemporaryError
from guerillabackup.osfile import PRIVATE, storage_errors

LOCK_FILE = "transfer.lock"


class TransferBusyError(StateError, TemporaryError):
    """Somebody else transfers, and that excludes this."""


class TransferLock:
    """Held from its making to `close`; TransferBusyError when somebody else holds what excludes it."""

    def __init__(self, state_directory: str, *, is_service: bool) -> None:
        with storage_errors(f"cannot lock the state in {state_directory}"):
            osfile.make_directories(state_directory, PRIVATE)
            directory = osfile.open_directory(state_directory)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                self._descriptor = os.open(LOCK_FILE, flags, 0o600, dir_fd=directory)
            finally:
                os.close(directory)
            try:
                kind = fcntl.LOCK_EX if is_service else fcntl.LOCK_SH
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.close()
                raise TransferBusyError(
                    f"another transfer service works with the state in {state_directory}"
                    + (", or a single connection: start this when it has ended" if is_service else "")
                ) from error

    def close(self) -> None:
        """Let others have it; may be called twice."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
