"""Who fetches what just now, so that no element is fetched from two peers at once. Touches: threading."""

import threading
from collections.abc import Iterable


class ClaimTable:
    """The elements that connections of one agent are fetching; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the keys
        self._keys: set[bytes] = set()

    def claim(self, key: bytes) -> bool:
        """Take an element for oneself; False when another connection has it."""
        with self._lock:
            if key in self._keys:
                return False
            self._keys.add(key)
            return True

    def release(self, key: bytes) -> None:
        """Let go of what was claimed."""
        with self._lock:
            self._keys.discard(key)

    def any_is_free(self, keys: Iterable[bytes]) -> bool:
        """Whether one of the elements is claimed no more."""
        with self._lock:
            return any(key not in self._keys for key in keys)
