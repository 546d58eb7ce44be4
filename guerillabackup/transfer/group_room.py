"""How many elements the connections of a process may have open at a time, shared fairly among them.

Each is a few descriptors until it is stored. Touches: resource, threading.
"""

import contextlib
import resource
import threading
from collections.abc import Iterator

MAX_GROUP = 64
"""Elements that one connection asks for together."""
DESCRIPTORS = 3
"""Of an element that is being received: its data, its metadata, its folder."""


class GroupRoom:
    """For any number of threads."""

    def __init__(self, most: int | None = None) -> None:
        if most is None:
            open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = 4 * MAX_GROUP if open_files < 0 else open_files // 4 // DESCRIPTORS
        self._lock = threading.Lock()  # guards the number
        self._free = most

    @contextlib.contextmanager
    def taking(self, wanted: int = MAX_GROUP) -> Iterator[int]:
        """Room for so many within; less where others need it, but always for one."""
        with self._lock:
            # Half of what is left: so there is some for those who come later.
            count = max(1, min(wanted, MAX_GROUP, self._free // 2))
            self._free -= count
        try:
            yield count
        finally:
            with self._lock:
                self._free += count
