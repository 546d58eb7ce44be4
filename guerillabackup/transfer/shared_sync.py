"""Connections whose elements are complete at the same time share one sync. Touches: threading.

Nobody waits to be joined: the first stores its own at once, and what becomes ready meanwhile is stored
together by the first of those, when it has ended.
"""

import threading
from dataclasses import dataclass, field

from guerillabackup.element import BackupElementMetainfo
from guerillabackup.errors import GuerillaBackupError, StorageError
from guerillabackup.storage.interface import (
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)

MAX_GROUP = 64
"""Elements that share one sync at most."""


@dataclass(slots=True, eq=False)
class _Closing:
    handle: SinkHandleInterface
    metainfo: BackupElementMetainfo
    turn: threading.Event = field(default_factory=threading.Event)
    """Set when the result is there, or when this one is the next to lead."""
    result: StorageBackupDataElementInterface | GuerillaBackupError | None = None


class SharedSync:
    """Stores complete elements in one storage for any number of threads."""

    def __init__(self, storage: StorageInterface) -> None:
        self._storage = storage
        self._lock = threading.Lock()  # guards both below
        self._is_storing = False
        self._ready: list[_Closing] = []

    def store(
        self, handle: SinkHandleInterface, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface:
        """Close a handle: the element is durable when this returns. Raises what closing it raises."""
        closing = _Closing(handle, metainfo)
        with self._lock:
            leads = not self._is_storing
            self._is_storing = True
            self._ready.append(closing)
        if not leads:
            closing.turn.wait()
        if closing.result is None:
            self._lead()
        if isinstance(closing.result, GuerillaBackupError):
            raise closing.result
        assert closing.result is not None
        return closing.result

    def _lead(self) -> None:
        """Store what is ready, the own element first in it, and hand on to who is ready by then."""
        with self._lock:
            group, self._ready = self._ready[:MAX_GROUP], self._ready[MAX_GROUP:]
        try:
            results = self._storage.close_together([(each.handle, each.metainfo) for each in group])
            for each, result in zip(group, results, strict=True):
                each.result = result
        finally:
            for each in group:
                if each.result is None:
                    each.result = StorageError("the sync that it shared was interrupted")
            with self._lock:
                self._is_storing = bool(self._ready)
                following = self._ready[:1]
            for each in (*group, *following):
                each.turn.set()
