"""Who brought which element while this process runs: it is not offered back to them. Touches: threading."""

import threading
from collections import OrderedDict

from guerillabackup.transfer.plan import SOCKET_AGENT

MAX_REMEMBERED = 100_000


class Origins:
    """Of one storage; safe to use from any thread. What is long ago may be forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the pairs
        self._pairs: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def note(self, agent_id: str, key: bytes) -> None:
        """An element, by its key, came from an agent.

        Nobody knows who comes through the socket that is nobody's own: one may fetch there what another left.
        """
        if agent_id == SOCKET_AGENT:
            return
        with self._lock:
            self._pairs[agent_id, key] = None
            self._pairs.move_to_end((agent_id, key))
            if len(self._pairs) > MAX_REMEMBERED:
                self._pairs.popitem(last=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing came from anybody."""
        return not self._pairs

    def has(self, agent_id: str, key: bytes) -> bool:
        """Whether the element came from that agent."""
        with self._lock:
            return (agent_id, key) in self._pairs
