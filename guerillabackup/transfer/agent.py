"""The agents: one connection at a time, or many, each in a thread of its own. Joins running connections."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.interface import OnEnd, TransferAgent, TransferContext
from guerillabackup.transfer.peers import PeerStatus
from guerillabackup.transfer.running import NO_LIMIT, RunningConnections

ENDING = "the service ends"
PEERS_AT_ONCE = 4
"""Peers that find a place whatever each of them does; one has no more places than that leaves it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """How many connections there may be."""

    connections: int = 32
    """That run at a time."""
    connections_per_peer: int = 32
    """Of one peer that run at a time, where its rules say nothing else."""
    waiting: int = 64
    """That wait for others to end; those beyond are refused."""
    waiting_per_peer: int = 16
    """Of those; so that no peer has all the places."""

    @classmethod
    def of(cls, connections: int) -> "AgentLimits":
        """With so many places, of which no peer has all."""
        return cls(connections, max(1, connections // PEERS_AT_ONCE))


class SimpleTransferAgent(TransferAgent):
    """Runs one connection at a time, in the thread that adds it: the next one is added when it is over."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._running = RunningConnections(clock)
        self._turn = threading.Lock()
        """Held while a connection runs."""

    def add_connection(self, context: TransferContext, on_end: OnEnd | None = None) -> None:
        """Run a connection; returns when it is over, and waits for the one before it."""
        with self._turn:
            with self._running.lock:
                is_refused = self._running.is_stopping
                if not is_refused:
                    self._running.begin(context)
            error = self._running.refuse(context, ENDING) if is_refused else self._running.run(context)
        if on_end is not None:
            on_end(error)

    def shutdown(self, force_shutdown_time: float = NO_LIMIT) -> None:
        self._running.stop(force_shutdown_time)

    def note_failure(self, agent_id: str, text: str) -> None:
        self._running.note_failure(agent_id, text)

    def status(self) -> list[PeerStatus]:
        """Every peer that ever connected, as it is now."""
        return self._running.status()


@dataclass(eq=False, slots=True)
class _Waiting:
    context: TransferContext
    on_end: OnEnd | None


class DefaultTransferAgent(TransferAgent):
    """Runs many connections at once; others wait, and the peer with the fewest goes first."""

    def __init__(self, limits: AgentLimits | None = None, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits or AgentLimits()
        self._running = RunningConnections(clock)
        self._waiting: list[_Waiting] = []
        self._threads: set[threading.Thread] = set()
        self._number = 0

    def add_connection(self, context: TransferContext, on_end: OnEnd | None = None) -> None:
        """Run a connection; returns at once, also when it has to wait or is refused."""
        entry = _Waiting(context, on_end)
        with self._running.lock:
            if self._running.is_stopping:
                refusal: str | None = ENDING
            elif self._has_room(context):
                self._start(entry)
                return
            elif (refusal := self._find_no_place(context)) is None:
                self._waiting.append(entry)
                self._running.note_waiting(context, 1)
                text = f"peer {context.agent_id}: the connection waits for one of {self.count} to end"
                context.lines.say(log, logging.INFO, text, "waits", loosely=True)
                return
        self._refuse(entry, refusal)

    def shutdown(self, force_shutdown_time: float = NO_LIMIT) -> None:
        with self._running.lock:
            self._running.stop(force_shutdown_time)
            waiting, self._waiting = self._waiting, []
        for entry in waiting:
            self._running.note_waiting(entry.context, -1)
            self._refuse(entry, ENDING)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until no connection runs, and reap the threads; whether none does."""
        if not self._running.wait_until_idle(timeout):
            return False
        with self._running.lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        return True

    @property
    def count(self) -> int:
        """Connections that run."""
        return self._running.count()

    def set_limits(self, limits: AgentLimits) -> None:
        """How many there may be from now on; those that run go on."""
        with self._running.lock:
            self._limits = limits
            self._start_waiting()

    def status(self) -> list[PeerStatus]:
        """Every peer that ever connected, as it is now."""
        return self._running.status()

    def note_failure(self, agent_id: str, text: str) -> None:
        self._running.note_failure(agent_id, text)

    def _has_room(self, context: TransferContext) -> bool:
        of_peer = self._running.count(context.agent_id)
        limit = context.rules.max_connections or self._limits.connections_per_peer
        return self.count < self._limits.connections and of_peer < limit

    def _find_no_place(self, context: TransferContext) -> str | None:
        """Why it cannot even wait; None when it can."""
        if len(self._waiting) >= self._limits.waiting:
            return f"{self.count} connections run and {len(self._waiting)} wait"
        own = sum(entry.context.agent_id == context.agent_id for entry in self._waiting)
        if own >= self._limits.waiting_per_peer:
            return f"{self._running.count(context.agent_id)} connections of this peer run and {own} wait"
        return None

    def _start(self, entry: _Waiting) -> None:
        """Run it in a thread of its own; the lock is held."""
        self._number += 1
        name = f"transfer-{entry.context.agent_id}-{self._number}"
        thread = threading.Thread(target=self._run, args=(entry,), name=name, daemon=True)
        self._running.begin(entry.context)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            refusal = ConnectionLostError(f"no thread can be had for it: {error}")
            self._running.forget(entry.context, refusal)
            self._refuse(entry, str(refusal))

    def _run(self, entry: _Waiting) -> None:
        error = self._running.run(entry.context)
        with self._running.lock:
            self._threads.discard(threading.current_thread())
            self._start_waiting()
        if entry.on_end is not None:
            entry.on_end(error)

    def _start_waiting(self) -> None:
        """Let in who waits and has room, of several the one whose peer has the fewest; the lock is held."""
        while not self._running.is_stopping:
            ready = [entry for entry in self._waiting if self._has_room(entry.context)]
            if not ready:
                return
            entry = min(ready, key=lambda each: self._running.count(each.context.agent_id))
            self._waiting.remove(entry)
            self._running.note_waiting(entry.context, -1)
            self._start(entry)

    def _refuse(self, entry: _Waiting, why: str | None) -> None:
        error = self._running.refuse(entry.context, why or ENDING)
        if entry.on_end is not None:
            entry.on_end(error)
