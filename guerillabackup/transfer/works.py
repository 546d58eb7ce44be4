"""The connectors of a service and the one agent they share: started, replaced, ended. Joins them."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from guerillabackup.errors import ConfigError, GuerillaBackupError, StorageError
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer.agent import AgentLimits, DefaultTransferAgent
from guerillabackup.transfer.dial_connector import DialConnectorService
from guerillabackup.transfer.interface import ConnectorService, OnEnd, TransferAgent, TransferContext
from guerillabackup.transfer.peers import PeerStatus
from guerillabackup.transfer.plan import PeerPlan, describe_reach
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.session import end_session

JOIN_SECONDS = 15.0
"""For connectors to end after the last connection has: a command has some of them to end in."""

FindProblem = Callable[[StorageInterface], str | None]
"""Why nothing must be moved in or out of a storage just now; None when all is well."""

log = logging.getLogger(__name__)


class SharedAgent(TransferAgent):
    """The agent as its connectors see it: to end one of those ends no connection."""

    def __init__(
        self, agent: TransferAgent, on_change: Callable[[], None], find_problem: FindProblem
    ) -> None:
        self._agent = agent
        self._on_change = on_change
        self._find_problem = find_problem

    def add_connection(self, context: TransferContext, on_end: OnEnd | None = None) -> None:
        """Run a connection; returns at once. None runs while there is something with its storage."""
        problem = self._find_problem(context.local_storage)
        if problem is not None:
            text = f"peer {context.agent_id}: connection refused: {problem}"
            context.lines.say(log, logging.ERROR, text, "storage")
            self._agent.note_failure(context.agent_id, problem)
            end_session(context)
            if on_end is not None:
                on_end(StorageError(problem))
            return

        def ended(error: Exception | None) -> None:
            if on_end is not None:
                on_end(error)
            self._on_change()

        self._agent.add_connection(context, ended)
        self._on_change()

    def note_failure(self, agent_id: str, text: str) -> None:
        self._agent.note_failure(agent_id, text)

    def shutdown(self, force_shutdown_time: float = -1) -> None:
        """The agent is ended by who made it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A peer: what is said of it, and what its connections are made with."""

    plan: PeerPlan
    profile: PeerProfile

    def is_same(self, other: "Line") -> bool:
        """Whether nothing about it has changed."""
        own, others = self.profile, other.profile
        return (
            self.plan == other.plan
            and own.sender_policy is others.sender_policy
            and own.receiver_policy is others.receiver_policy
            and own.storage is others.storage
        )


@dataclass(eq=False, slots=True)
class _Running:
    connector: ConnectorService
    thread: threading.Thread


@dataclass(slots=True)
class _Entry:
    line: Line
    running: list[_Running] = field(default_factory=list)


MakeConnectors = Callable[[Line], Sequence[ConnectorService]]
"""Makes the connectors of a peer, which listen already; raises ConfigError and StorageError."""


class Works:
    """All that runs. Used by one thread; `find_profile` by any."""

    def __init__(
        self,
        limits: AgentLimits,
        on_change: Callable[[], None],
        find_problem: FindProblem = lambda storage: None,
    ) -> None:
        self._agent = DefaultTransferAgent(limits)
        self.shared_agent = SharedAgent(self._agent, on_change, find_problem)
        self._entries: dict[str, _Entry] = {}
        self.left_out: dict[str, str] = {}
        """Peers without connectors, and why."""
        self._others: list[_Running] = []
        """Connectors of no peer's own, and those that are ending."""

    @property
    def connections(self) -> int:
        """How many run."""
        return self._agent.count

    def tell_held_lines(self) -> bool:
        """Count in the log what of the peers was held back for long enough; whether there is more of it."""
        limits = [entry.line.profile.lines for entry in self._entries.values()]
        for limit in limits:
            limit.tell()
        return any(limit.holds for limit in limits)

    def set_limits(self, limits: AgentLimits) -> None:
        """How many there may be from now on; those beyond go on to their end."""
        self._agent.set_limits(limits)

    def begin(self, lines: Mapping[str, Line], make: MakeConnectors) -> None:
        """Have these peers, but those that cannot be reached or listened for, which are `left_out`.

        ConfigError when that is all of them.
        """
        self.left_out = self._begin(lines, make)
        for name, problem in self.left_out.items():
            log.error("peer %s is left out: %s", name, problem)
        if self.left_out and not self._entries:
            raise ConfigError(*(f"peer {name}: {problem}" for name, problem in self.left_out.items()))

    def use(self, lines: Mapping[str, Line], make: MakeConnectors) -> None:
        """Have these peers from now on. Those that are as before are not touched, nor is any connection.

        ConfigError with all that could not be started, and then the peers are those of before. One that was
        left out before may be so again.
        """
        changed = {
            name: entry
            for name, entry in self._entries.items()
            if name not in lines or not entry.line.is_same(lines[name])
        }
        new = {name: line for name, line in lines.items() if name not in self._entries or name in changed}
        # First all ends: of two peers that are new, one may listen where another one did.
        self._end_all(changed)
        problems = self._begin(new, make)
        if problems.keys() <= self.left_out.keys():
            self.left_out = problems
            return
        self._end_all(new)
        back = self._begin({name: entry.line for name, entry in changed.items()}, make)
        for name, problem in back.items():
            log.error("peer %s is left out: it cannot be had back: %s", name, problem)
        self.left_out |= back
        raise ConfigError(*(f"peer {name}: {problem}" for name, problem in problems.items()))

    def add(self, connector: ConnectorService, name: str) -> None:
        """Run a connector that is no peer's own."""
        self._others.append(self._start(connector, name))

    def find_profile(self, agent_id: str) -> PeerProfile | None:
        """What a `transfer stdio` of that name gets, None for none; ConfigError when it may not come."""
        entry = self._entries.get(agent_id)
        if entry is not None and not entry.line.plan.stdio:
            raise ConfigError(f"peer {agent_id} may not come so: set 'Stdio': True for it in TransferPeers")
        return None if entry is None else entry.line.profile

    def lines(self) -> list[Line]:
        """All peers."""
        return [entry.line for entry in self._entries.values()]

    def dialled(self) -> dict[str, DialConnectorService]:
        """The connectors of those that are dialled, by peer."""
        return {
            name: running.connector
            for name, entry in self._entries.items()
            for running in entry.running
            if isinstance(running.connector, DialConnectorService)
        }

    def status(self) -> dict[str, PeerStatus]:
        """Every peer that ever connected, as it is now."""
        return {status.agent_id: status for status in self._agent.status()}

    def stop(self, seconds: float) -> None:
        """Make no more connections, and end those that run: in order within that time, else by force."""
        for running in self._all():
            running.connector.shutdown(seconds)
        self._agent.shutdown(seconds)

    def wait(self, seconds: float) -> None:
        """Wait until no connection runs, or for so many seconds."""
        self._agent.join(seconds)

    def join(self) -> None:
        """Wait, after `stop` and the end of the connections, for all threads; some seconds at most."""
        self._agent.join(JOIN_SECONDS)
        for running in self._all():
            running.thread.join(JOIN_SECONDS)
            if running.thread.is_alive():
                log.error("%s does not end", running.thread.name)

    def _begin(self, lines: Mapping[str, Line], make: MakeConnectors) -> dict[str, str]:
        """Start what makes and takes the connections of these; why some could not be."""
        problems: dict[str, str] = {}
        for name, line in lines.items():
            try:
                connectors = make(line)
            except GuerillaBackupError as error:
                problems[name] = str(error)
                continue
            log.info("peer %s: %s", name, describe_reach(line.plan))
            running = [self._start(connector, name) for connector in connectors]
            self._entries[name] = _Entry(line, running)
        return problems

    def _end_all(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._entries:
                self._end(self._entries.pop(name))

    def _all(self) -> list[_Running]:
        return [*(each for entry in self._entries.values() for each in entry.running), *self._others]

    def _start(self, connector: ConnectorService, name: str) -> _Running:
        def run() -> None:
            try:
                connector.run()
            except Exception:  # it must not end without a word
                log.exception("peer %s: its connector ended", name)

        thread = threading.Thread(target=run, name=f"transfer-connector-{name}", daemon=True)
        thread.start()
        return _Running(connector, thread)

    def _end(self, entry: _Entry) -> None:
        """End its connectors, none of its connections; what listens is gone when this returns."""
        for running in entry.running:
            running.connector.shutdown()
            if not isinstance(running.connector, DialConnectorService):
                running.thread.join(JOIN_SECONDS)
        self._others = [each for each in (*self._others, *entry.running) if each.thread.is_alive()]
