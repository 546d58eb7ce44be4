"""What a service says of itself: its peers and rates as JSON values, and one line for systemd. No I/O."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from guerillabackup.transfer.interface import TransferCounters
from guerillabackup.transfer.peers import PeerStatus
from guerillabackup.transfer.plan import PeerPlan

RATE_SECONDS = 10.0
"""Over which a rate is averaged."""

Moved = tuple[int, int]
"""Bytes received and bytes sent."""


class RateMeter:
    """Bytes a second in both directions, of late. `now` is of a clock that nobody sets."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Moved]] = deque()

    def add(self, now: float, moved: Moved) -> None:
        """What was moved by now, since the start."""
        self._samples.append((now, moved))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_SECONDS:
            self._samples.popleft()

    @property
    def rates(self) -> tuple[float, float]:
        """Received and sent; 0 when nobody can say."""
        if len(self._samples) < 2:
            return 0.0, 0.0
        (first_time, first), (last_time, last) = self._samples[0], self._samples[-1]
        seconds = last_time - first_time
        if seconds <= 0:
            return 0.0, 0.0
        received, sent = ((after - before) / seconds for before, after in zip(first, last, strict=True))
        return received, sent


def sum_moved(statuses: Iterable[PeerStatus]) -> Moved:
    """What all peers together moved."""
    received = sent = 0
    for status in statuses:
        received += status.counters.bytes_received
        sent += status.counters.bytes_sent
    return received, sent


def describe_plan(plan: PeerPlan) -> dict[str, Any]:
    """What is said of a peer in the configuration."""
    return {
        "peer": plan.agent_id,
        "listen": plan.listen,
        "connect": list(plan.connect) if isinstance(plan.connect, tuple) else plan.connect,
        "interval": plan.interval if plan.connect is not None else None,
        "stdio": plan.stdio,
        "storage": plan.storage,
        "sends": plan.sender.policy_class is not None,
        "receives": plan.receiver.policy_class is not None,
        "accepted_sources": list(plan.rules.accepted_sources),
        "offered_sources": list(plan.rules.offered_sources),
        "max_element_size": plan.rules.max_element_size,
        "accepts_bare_acknowledgement": plan.rules.accepts_bare_acknowledgement,
    }


def describe_peer(
    plan: PeerPlan | None, status: PeerStatus | None, next_dial: float | None
) -> dict[str, Any]:
    """A peer as it is now; `plan` is None for one that is not in the configuration any more.

    `next_dial` is in seconds from now, None when it is not dialled by itself.
    """
    said: dict[str, Any] = {"peer": None} if plan is None else describe_plan(plan)
    if status is not None:
        said["peer"] = status.agent_id
    return {
        **said,
        "is_configured": plan is not None,
        "next_dial_in": next_dial,
        "connected_since": None if status is None else status.connected_since,
        "connections": 0 if status is None else status.connections,
        "waiting": 0 if status is None else status.waiting,
        "last_success": None if status is None else status.last_success,
        "last_received": None if status is None else status.counters.last_received,
        "last_sent": None if status is None else status.counters.last_sent,
        "refused_lately": 0 if status is None else status.refused_lately,
        "moves_nothing": status is not None and status.moves_nothing,
        "last_error": None if status is None else status.last_error,
        "last_error_at": None if status is None else status.last_error_time,
        **describe_counters(TransferCounters() if status is None else status.counters),
    }


def describe_counters(counters: TransferCounters) -> dict[str, Any]:
    """What was moved."""
    return {
        "elements_received": counters.elements_received,
        "bytes_received": counters.bytes_received,
        "elements_sent": counters.elements_sent,
        "bytes_sent": counters.bytes_sent,
        "elements_refused": counters.elements_refused,
        "elements_claimed": counters.elements_claimed,
        "elements_left_alone": counters.elements_left_alone,
        "current": counters.current or None,
    }


def subtract_counters(after: TransferCounters, before: TransferCounters) -> TransferCounters:
    """What was moved in between."""
    return TransferCounters(
        after.elements_received - before.elements_received,
        after.bytes_received - before.bytes_received,
        after.elements_sent - before.elements_sent,
        after.bytes_sent - before.bytes_sent,
        after.elements_refused - before.elements_refused,
        after.elements_claimed - before.elements_claimed,
        after.current,
        elements_left_alone=after.elements_left_alone - before.elements_left_alone,
    )


def summarize(connections: int, statuses: Iterable[PeerStatus], *, is_refused: bool) -> str:
    """One line; without what changes all the time."""
    known = list(statuses)
    received = sum(status.counters.elements_received for status in known)
    sent = sum(status.counters.elements_sent for status in known)
    failing = [status.agent_id for status in known if is_failing(status)]
    text = f"{connections} connections; {received} elements received, {sent} sent"
    if failing:
        text += f"; failing: {', '.join(failing[:5])}{' …' if len(failing) > 5 else ''}"
    return text + ("; the last reload was refused" if is_refused else "")


def is_failing(status: PeerStatus) -> bool:
    """Whether the last that was heard of a peer is an error."""
    return status.last_error_time is not None and (
        status.last_success is None or status.last_error_time > status.last_success
    )
