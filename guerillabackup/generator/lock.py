"""Who may work with the state of a generator: one service, or any number of single runs. Touches: os.

The lock is a file's, so it ends with its process whatever becomes of that; a unit's state has its own lock
besides, which keeps single runs from meeting there.
"""

import contextlib
import os
from types import TracebackType
from typing import Self

from guerillabackup.generator import forked
from guerillabackup.generator.state import StateBusyError
from guerillabackup.osfile_lock import DirectoryLock

LOCK_FILE = "generator.lock"


class GeneratorLock:
    """Held from its making to `close`; StateBusyError when somebody else holds what excludes it.

    `instead` is the command that lets a service do what a single run was to do.
    """

    def __init__(
        self, state_directory: str, *, is_service: bool, instead: str = "guerillabackup generator trigger"
    ) -> None:
        self._lock = DirectoryLock(state_directory, LOCK_FILE)
        descriptor = self._lock.descriptor
        forked.hold(descriptor)
        if not self._lock.take(is_alone=is_service):
            text = _describe_holder(descriptor, state_directory, None if is_service else instead)
            self.close()
            raise StateBusyError(text)
        # The number is for messages alone: a full disk keeps nobody from working.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            if is_service:
                os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Let others have it; may be called twice."""
        if self._lock.descriptor >= 0:
            forked.release(self._lock.descriptor)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _describe_holder(descriptor: int, state_directory: str, instead: str | None) -> str:
    if instead is None:
        return (
            f"another generator works with the state in {state_directory} (a service, or a single run): "
            "start this when it has ended"
        )
    process_id = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    who = f" (process {process_id})" if process_id.isdigit() else ""
    return (
        f"the generator runs as a service{who} with the state in {state_directory}: "
        f"let it make the backup with: {instead}"
    )
