"""Who fetches what just now, so that no element is fetched from two peers at once.

Who fetches what another peer offers too has to be quick about it: else a peer that sends a byte now and then
would keep out who has the element. Touches: threading.
"""

import threading
from collections.abc import Iterable

from guerillabackup.errors import ConnectionLostError

WANTED_SECONDS = 60.0
"""Of waiting for a peer, in which so much has to come of an element that another one offers."""
WANTED_BYTES = 1 << 16


class ClaimTable:
    """The elements that connections of one agent are fetching; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both below
        self._keys: set[bytes] = set()
        self._wanted: set[bytes] = set()
        """Of these, what others would fetch too."""

    def claim(self, key: bytes) -> bool:
        """Take an element for oneself; False when another connection has it."""
        with self._lock:
            if key in self._keys:
                self._wanted.add(key)
                return False
            self._keys.add(key)
            return True

    def release(self, key: bytes) -> None:
        """Let go of what was claimed."""
        with self._lock:
            self._keys.discard(key)
            self._wanted.discard(key)

    def any_is_free(self, keys: Iterable[bytes]) -> bool:
        """Whether one of the elements is claimed no more."""
        with self._lock:
            return any(key not in self._keys for key in keys)

    def is_wanted(self, key: bytes) -> bool:
        """Whether another connection would have fetched what is claimed."""
        return key in self._wanted


class ClaimPace:
    """How fast the data of one claimed element comes. Used by the thread that fetches it."""

    def __init__(self, claims: ClaimTable, key: bytes) -> None:
        self._claims = claims
        self._key = key
        self._waited = 0.0
        self._moved = 0

    def moved(self, count: int, waited: float) -> None:
        """So many bytes came after so many seconds; ConnectionLostError when others wait for too little."""
        self._waited += waited
        if self._waited >= WANTED_SECONDS and self._claims.is_wanted(self._key):
            raise ConnectionLostError(
                f"the peer sent {self._moved} bytes of an element's data in {self._waited:.0f} s, "
                f"and another one offers the same element: {WANTED_BYTES} bytes were due"
            )
        self._moved += count
        if self._moved >= WANTED_BYTES:
            self._waited, self._moved = 0.0, 0
