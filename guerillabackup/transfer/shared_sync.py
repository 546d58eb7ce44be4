"""Connections whose elements are complete at the same time share one sync. Touches: threading.

Nobody waits to be joined: the first stores its own at once, and what becomes ready meanwhile is stored
together by the first of those, when it has ended.
"""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from guerillabackup.element import BackupElementMetainfo
from guerillabackup.errors import GuerillaBackupError, StorageError
from guerillabackup.storage.interface import (
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)

MAX_GROUP = 64
"""Elements from which on no more join those that share a sync."""


Closing = tuple[SinkHandleInterface, BackupElementMetainfo]
"""A handle that has all data of its element, and the metadata."""
Closed = StorageBackupDataElementInterface | GuerillaBackupError


@dataclass(slots=True, eq=False)
class _Closing:
    elements: Sequence[Closing]
    turn: threading.Event = field(default_factory=threading.Event)
    """Set when the result is there, or when this one is the next to lead."""
    results: Sequence[Closed] | None = None


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
        (result,) = self.store_together([(handle, metainfo)])
        if isinstance(result, GuerillaBackupError):
            raise result
        return result

    def store_together(self, elements: Sequence[Closing]) -> Sequence[Closed]:
        """The same for several; where one cannot be stored, its error stands in its place."""
        closing = _Closing(elements)
        with self._lock:
            leads = not self._is_storing
            self._is_storing = True
            self._ready.append(closing)
        if not leads:
            closing.turn.wait()
        if closing.results is None:
            self._lead()
        assert closing.results is not None
        return closing.results

    def _lead(self) -> None:
        """Store what is ready, the own element first in it, and hand on to who is ready by then."""
        with self._lock:
            group = self._take_ready()
        try:
            results = iter(self._storage.close_together([one for each in group for one in each.elements]))
            for each in group:
                each.results = tuple(itertools.islice(results, len(each.elements)))
        finally:
            for each in group:
                if each.results is None:
                    interrupted = StorageError("the sync that it shared was interrupted")
                    each.results = (interrupted,) * len(each.elements)
            with self._lock:
                self._is_storing = bool(self._ready)
                following = self._ready[:1]
            for each in (*group, *following):
                each.turn.set()

    def _take_ready(self) -> list[_Closing]:
        """Those who share the next sync; the lock is held."""
        count, elements = 0, 0
        while count < len(self._ready) and elements < MAX_GROUP:
            elements += len(self._ready[count].elements)
            count += 1
        group, self._ready = self._ready[:count], self._ready[count:]
        return group
