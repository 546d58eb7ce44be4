"""What became of each peer's connections, for status and log. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from guerillabackup.transfer.interface import TransferContext, TransferCounters

_LATEST = ("last_received", "last_sent")
_COUNTED = tuple(field.name for field in fields(TransferCounters) if field.name not in ("current", *_LATEST))


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer, as it is now. Times are UTC seconds; counts are of all its connections so far."""

    agent_id: str
    connected_since: float | None
    """Of its oldest connection that runs; None without any."""
    connections: int
    waiting: int
    """Connections that wait for others to end."""
    counters: TransferCounters
    last_success: float | None
    last_error: str | None
    last_error_time: float | None
    refused_lately: int = 0
    """Elements that its last connection, and those that run, refused or left alone."""
    moves_nothing: bool = False
    """Whether its last connection could have moved nothing either way."""


class _Peer:
    def __init__(self) -> None:
        self.running: list[tuple[float, TransferContext]] = []
        self.waiting = 0
        self.ended = TransferCounters()
        self.last_success: float | None = None
        self.last_error: str | None = None
        self.last_error_time: float | None = None
        self.refused_lately = 0
        self.moves_nothing = False


class PeerBook:
    """All peers that ever connected. The caller sees to it that one thread at a time uses it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._peers: dict[str, _Peer] = {}

    def began(self, context: TransferContext) -> None:
        """A connection runs."""
        self._peer(context.agent_id).running.append((self._clock(), context))

    def ended(self, context: TransferContext, error: Exception | None) -> None:
        """A connection that ran does no more; `error` is what ended it, if both sides had not agreed to."""
        peer = self._peer(context.agent_id)
        peer.running = [entry for entry in peer.running if entry[1] is not context]
        peer.ended = _sum([peer.ended, context.counters])
        refused = _refused(context.counters)
        if error is None:
            peer.last_success = self._clock()
            peer.refused_lately, peer.moves_nothing = refused, context.moves_nothing
        else:
            peer.refused_lately += refused
            self.failed(context.agent_id, str(error))

    def failed(self, agent_id: str, text: str) -> None:
        """Something of the peer's failed."""
        peer = self._peer(agent_id)
        peer.last_error, peer.last_error_time = text, self._clock()

    def waits(self, context: TransferContext, change: int) -> None:
        """One connection more, or less, waits."""
        self._peer(context.agent_id).waiting += change

    def connections(self, agent_id: str) -> int:
        """How many connections of a peer run."""
        return len(self._peers[agent_id].running) if agent_id in self._peers else 0

    def status(self) -> list[PeerStatus]:
        """Every peer, sorted by name."""
        return [_describe(agent_id, peer) for agent_id, peer in sorted(self._peers.items())]

    def _peer(self, agent_id: str) -> _Peer:
        return self._peers.setdefault(agent_id, _Peer())


def is_idle(counters: TransferCounters) -> bool:
    """Whether nothing was moved, refused or claimed."""
    return not any(getattr(counters, name) for name in _COUNTED)


def describe_counters(counters: TransferCounters) -> str:
    """What was moved, in one line for people."""
    parts = [
        f"{counters.elements_received} elements received ({counters.bytes_received} bytes)",
        f"{counters.elements_sent} sent ({counters.bytes_sent} bytes)",
    ]
    if counters.elements_refused:
        parts.append(f"{counters.elements_refused} refused")
    if counters.elements_claimed:
        parts.append(f"{counters.elements_claimed} claimed without evidence")
    return ", ".join(parts)


def _describe(agent_id: str, peer: _Peer) -> PeerStatus:
    return PeerStatus(
        agent_id,
        min((since for since, _ in peer.running), default=None),
        len(peer.running),
        peer.waiting,
        _sum([peer.ended, *(context.counters for _, context in peer.running)]),
        peer.last_success,
        peer.last_error,
        peer.last_error_time,
        peer.refused_lately + sum(_refused(context.counters) for _, context in peer.running),
        peer.moves_nothing,
    )


def _refused(counters: TransferCounters) -> int:
    return counters.elements_refused + counters.elements_left_alone


def _sum(parts: list[TransferCounters]) -> TransferCounters:
    total = TransferCounters(**{name: sum(getattr(part, name) for part in parts) for name in _COUNTED})
    for name in _LATEST:
        times = [time for part in parts if (time := getattr(part, name)) is not None]
        setattr(total, name, max(times, default=None))
    total.current = ", ".join(part.current for part in parts if part.current)
    return total
