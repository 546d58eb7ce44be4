"""Makes the connectors of a peer: what listens for it, what dials it. Joins sockets, commands, schedules."""

import os
import random
import socket
from collections.abc import Callable, Iterable, Mapping

from guerillabackup.errors import ConfigError
from guerillabackup.osfile_socket import ListeningSocket, SocketAccess, listen
from guerillabackup.transfer.dial_command import CommandDialler
from guerillabackup.transfer.dial_connector import DialConnectorService, Dialler
from guerillabackup.transfer.dial_schedule import DialSchedule
from guerillabackup.transfer.dial_socket import SocketDialler
from guerillabackup.transfer.interface import ConnectorService
from guerillabackup.transfer.plan import AccessChoice, PeerPlan
from guerillabackup.transfer.socket_connector import SocketConnectorService
from guerillabackup.transfer.works import Line

ON_DEMAND = DialSchedule(interval=None, at_start=False, retries=False)
_SYSTEMD = (
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
"""What is for this process alone."""


class ConnectorMaker:
    """`environment` is that of commands; `find_access` turns names of users and groups into numbers."""

    def __init__(
        self, environment: Mapping[str, str], find_access: Callable[[AccessChoice], SocketAccess]
    ) -> None:
        self._environment = {name: value for name, value in environment.items() if name not in _SYSTEMD}
        self._find_access = find_access
        self._inherited: dict[str, socket.socket] = {}

    def inherit(self, sockets: Mapping[str, socket.socket], lines: Iterable[Line]) -> None:
        """Take systemd's sockets for the peers of these paths, or else names; ConfigError for others."""
        plans = [line.plan for line in lines if line.plan.listen is not None]
        by_path = {os.path.realpath(plan.listen or ""): plan.agent_id for plan in plans}
        by_name = {plan.agent_id: plan.agent_id for plan in plans}
        problems = []
        for name, one in sockets.items():
            agent_id = by_path.get(os.path.realpath(str(one.getsockname()))) or by_name.get(name)
            if agent_id is None or agent_id in self._inherited:
                problems.append(
                    f"systemd hands over the socket {name} at {one.getsockname()}, which is no peer's: "
                    "name the peer in FileDescriptorName=, or let it have its Listen path in ListenStream="
                )
            else:
                self._inherited[agent_id] = one
        if problems:
            raise ConfigError(*problems)

    def make(self, line: Line) -> list[ConnectorService]:
        """All connectors of a peer; raises ConfigError and StorageError."""
        plan = line.plan
        connectors: list[ConnectorService] = []
        if plan.listen is not None:
            connectors.append(SocketConnectorService(self._listen(plan, plan.listen), line.profile))
        if plan.connect is not None:
            schedule = DialSchedule(plan.interval)
            connectors.append(
                DialConnectorService(self._dialler(plan), line.profile, schedule, random.random)
            )
        return connectors

    def make_once(self, line: Line) -> list[ConnectorService]:
        """What dials a peer when that is asked for, and nothing else."""
        return [DialConnectorService(self._dialler(line.plan), line.profile, ON_DEMAND, random.random)]

    def _listen(self, plan: PeerPlan, path: str) -> ListeningSocket:
        inherited = self._inherited.get(plan.agent_id)
        if inherited is not None:
            # It is kept for the connector after a reload: systemd goes on listening at it.
            return ListeningSocket(inherited.dup())
        return listen(path, self._find_access(plan.access))

    def _dialler(self, plan: PeerPlan) -> Dialler:
        if isinstance(plan.connect, str):
            return SocketDialler(plan.connect)
        if plan.connect is None:
            raise ConfigError(f"peer {plan.agent_id} is not dialled: TransferPeers has no Connect of it")
        return CommandDialler(plan.connect, self._environment)
