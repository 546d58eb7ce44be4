"""Who may work with the state of a generator: one service, or any number of single runs. Touches: fcntl, os.

The lock is a file's, so it ends with its process whatever becomes of that; a unit's state has its own lock
besides, which keeps single runs from meeting there.
"""

import contextlib
import fcntl
import os
from types import TracebackType
from typing import Self

from guerillabackup import osfile
from guerillabackup.generator import forked
from guerillabackup.generator.state import StateBusyError
from guerillabackup.osfile import PRIVATE, storage_errors

LOCK_FILE = "generator.lock"


class GeneratorLock:
    """Held from its making to `close`; StateBusyError when somebody else holds what excludes it."""

    def __init__(self, state_directory: str, *, is_service: bool) -> None:
        with storage_errors(f"cannot lock the state in {state_directory}"):
            osfile.make_directories(state_directory, PRIVATE)
            directory = osfile.open_directory(state_directory)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                self._descriptor = os.open(LOCK_FILE, flags, 0o600, dir_fd=directory)
            finally:
                os.close(directory)
            forked.hold(self._descriptor)
            try:
                fcntl.flock(
                    self._descriptor, (fcntl.LOCK_EX if is_service else fcntl.LOCK_SH) | fcntl.LOCK_NB
                )
            except BlockingIOError as error:
                text = _describe_holder(self._descriptor, state_directory, is_service)
                self.close()
                raise StateBusyError(text) from error
            # The number is for messages alone: a full disk keeps nobody from working.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                if is_service:
                    os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Let others have it; may be called twice."""
        if self._descriptor >= 0:
            forked.release(self._descriptor)
            # Said outright: a child that was forked just now may not have closed it yet.
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _describe_holder(descriptor: int, state_directory: str, is_service: bool) -> str:
    if is_service:
        return (
            f"another generator works with the state in {state_directory} (a service, or a single run): "
            "start this when it has ended"
        )
    process_id = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    who = f" (process {process_id})" if process_id.isdigit() else ""
    return (
        f"the generator runs as a service{who} with the state in {state_directory}: "
        "let it make the backup with: guerillabackup generator trigger"
    )
