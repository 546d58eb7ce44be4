"""Who fetches what just now, so that no element is fetched from two peers at once.

Who fetches what another peer offers too has to be quick about it: else a peer that sends a byte now and then
would keep out who has the element. While nothing comes at all, the other one is let in beside it, and who has
the whole element first stores it: silence decides nothing, and costs nobody an element.
Touches: threading.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from guerillabackup.errors import ConnectionLostError

STALLED_SECONDS = 10.0
"""Of waiting for a peer without a byte, after which another one that offers the element may send it too."""
WANTED_SECONDS = 60.0
"""Of waiting for a peer, in which so much has to come of an element that another one offers."""
WANTED_BYTES = 1 << 16


@dataclass(slots=True, eq=False)
class _Fetched:
    """One element that is being fetched."""

    claims: list["Claim"] = field(default_factory=list)
    """More than one where those before are silent."""
    storing: "Claim | None" = None
    is_stored: bool = False
    is_wanted: bool = False
    """Whether others would fetch it too."""


class ClaimTable:
    """The elements that connections are fetching into one storage; safe to use from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards the fetched, and what is in them
        self._fetched: dict[bytes, _Fetched] = {}

    def claim(self, key: bytes, silence: Callable[[], float] = lambda: 0.0) -> "Claim | None":
        """Take an element for oneself; None when another connection has it, and data comes there.

        `silence` tells, from any thread, for how many seconds the claimer has waited for its peer by now.
        """
        with self.lock:
            fetched = self._fetched.setdefault(key, _Fetched())
            if not _is_free(fetched):
                fetched.is_wanted = True
                return None
            fetched.is_wanted = bool(fetched.claims)
            claim = Claim(self, key, fetched, silence)
            fetched.claims.append(claim)
            return claim

    def any_is_free(self, keys: Iterable[bytes]) -> bool:
        """Whether one of the elements can be claimed by now."""
        with self.lock:
            return any(key not in self._fetched or _is_free(self._fetched[key]) for key in keys)

    def forget(self, key: bytes, fetched: _Fetched) -> None:
        """Nobody can store it any more who claimed it before; the lock is held."""
        if self._fetched.get(key) is fetched:
            del self._fetched[key]


class Claim:
    """One connection's right to fetch one element, and how fast its data comes; `release` ends it.

    Used by the thread that fetches the element.
    """

    def __init__(
        self, table: ClaimTable, key: bytes, fetched: _Fetched, silence: Callable[[], float]
    ) -> None:
        self._table = table
        self._key = key
        self._fetched = fetched
        self.silence = silence
        self._waited = 0.0
        self._moved = 0

    @property
    def is_wanted(self) -> bool:
        """Whether another connection would have fetched what is claimed."""
        return self._fetched.is_wanted

    def moved(self, count: int, waited: float) -> None:
        """So many bytes came after so many seconds; ConnectionLostError when others wait for too little."""
        self._waited += waited
        if self._waited >= WANTED_SECONDS and self.is_wanted:
            raise ConnectionLostError(
                f"the peer sent {self._moved} bytes of an element's data in {self._waited:.0f} s, "
                f"and another one offers the same element: {WANTED_BYTES} bytes were due"
            )
        self._moved += count
        if self._moved >= WANTED_BYTES:
            self._waited, self._moved = 0.0, 0

    def begin_storing(self) -> bool:
        """Whether to store what came; False where another one does, or has: what came is to be dropped."""
        with self._table.lock:
            if self._fetched.is_stored or self._fetched.storing is not None:
                return False
            self._fetched.storing = self
            return True

    def stored(self) -> None:
        """The element is durable here: nobody who claimed it before stores it again."""
        with self._table.lock:
            self._fetched.is_stored = True
            self._table.forget(self._key, self._fetched)

    def release(self) -> None:
        """Let go of what was claimed."""
        with self._table.lock:
            fetched = self._fetched
            fetched.claims.remove(self)
            if fetched.storing is self:
                fetched.storing = None
            if not fetched.claims:
                self._table.forget(self._key, fetched)


def _is_free(fetched: _Fetched) -> bool:
    """Whether nobody else is at it, or nothing comes of it there."""
    if fetched.storing is not None:
        return False
    return all(claim.silence() >= STALLED_SECONDS for claim in fetched.claims)
