"""What a configuration says of the transfer service, as values that can be compared with others. No I/O.

A reload makes a plan anew, and what is equal in both goes on as it is.
"""

import difflib
import posixpath
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.transfer.interface import PeerRules
from guerillabackup.transfer.peer_settings import PEERS_KEY, UNSET, PeerSettings, parse_peers

SENDER = "Sender"
RECEIVER = "Receiver"
SOCKET_AGENT = "socket"
"""Who comes through the socket that is nobody's own, as the original has it."""
SOCKET_NAME = "transfer.socket"
STDIO_SOCKET_NAME = "transfer-stdio.socket"
STORAGE_KEYS = ("TransferServiceStorageBaseDir", "DefaultFileSystemSinkBaseDir")


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy that a configuration names; a class of None is no policy."""

    policy_class: type | None
    init_args: Sequence[Any] | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AccessChoice:
    """Who may connect to a socket, by mode and by names or numbers."""

    mode: int = 0o600
    owner: str | int | None = None
    group: str | int | None = None


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """One peer, or all that come through the socket that is nobody's own."""

    rules: PeerRules
    storage: str
    sender: PolicyChoice
    receiver: PolicyChoice
    listen: str | None = None
    access: AccessChoice = AccessChoice()
    connect: str | tuple[str, ...] | None = None
    interval: float | None = None
    """Seconds; None: it is dialled on demand only."""
    stdio: bool = False

    @property
    def agent_id(self) -> str:
        """Its name."""
        return self.rules.agent_id

    @property
    def is_idle(self) -> bool:
        """Whether nothing is sent to it nor received from it."""
        return self.sender.policy_class is None and self.receiver.policy_class is None

    @property
    def only_marks(self) -> bool:
        """Whether what it has stored stays here, marked."""
        settings = self.sender.settings if isinstance(self.sender.settings, Mapping) else {}
        return settings.get("MarkAsDoneOnly") is True or list(self.sender.init_args or ()) == [True]


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """All of it."""

    state_directory: str
    runtime_directory: str
    peers: tuple[PeerPlan, ...]
    max_connections: int
    bandwidth_limit: int | None
    shutdown_time: float

    @property
    def storages(self) -> tuple[str, ...]:
        """The directories of all storages, each once."""
        return tuple(dict.fromkeys(peer.storage for peer in self.peers))

    @property
    def emptied_storages(self) -> frozenset[str]:
        """Those that something is sent from, so that they may be empty at any time."""
        return frozenset(peer.storage for peer in self.peers if peer.sender.policy_class is not None)

    @property
    def receiving_storages(self) -> tuple[str, ...]:
        """Those that something is received into."""
        return tuple(
            dict.fromkeys(peer.storage for peer in self.peers if peer.receiver.policy_class is not None)
        )

    def find(self, agent_id: str) -> PeerPlan | None:
        """The peer of that name."""
        return next((peer for peer in self.peers if peer.agent_id == agent_id), None)


def make_plan(values: Mapping[str, Any]) -> ServicePlan:
    """The plan of a checked configuration; ConfigError tells all that is wrong with it.

    Only what is missing is not looked for: GeneralPersistencyBaseDir and GeneralRuntimeDataDir must be set.
    """
    problems: list[str] = []
    runtime = str(values["GeneralRuntimeDataDir"])
    storage = next((values[key] for key in STORAGE_KEYS if values.get(key) is not None), None)
    try:
        settings = parse_peers(values.get(PEERS_KEY) or {})
    except ConfigError as error:
        problems += error.problems
        settings = {}
    peers = []
    if values.get("TransferSocket", True):
        peers.append(
            _plan_peer(values, PeerSettings(SOCKET_AGENT, listen=posixpath.join(runtime, SOCKET_NAME)))
        )
        if SOCKET_AGENT in settings:
            problems.append(
                f"{PEERS_KEY} has a peer {SOCKET_AGENT!r}, which is who comes through {SOCKET_NAME}: "
                "give it another name, or set TransferSocket = False"
            )
    peers += [_plan_peer(values, peer) for peer in settings.values()]
    problems += _find_problems(peers, storage, runtime)
    if problems:
        raise ConfigError(*problems)
    return ServicePlan(
        str(values["GeneralPersistencyBaseDir"]),
        runtime,
        tuple(peers),
        values.get("TransferMaxConnections", 32),
        values.get("TransferBandwidthLimit"),
        float(values.get("TransferShutdownTime", 10)),
    )


def describe_reach(peer: PeerPlan) -> str:
    """How there may be a connection with a peer."""
    ways = [] if peer.listen is None else [f"listens at {peer.listen}"]
    if peer.connect is not None:
        target = peer.connect if isinstance(peer.connect, str) else " ".join(peer.connect)
        often = "" if peer.interval is None else f" every {peer.interval:g} s"
        ways.append(f"dials {target}{often}")
    return ", ".join([*ways, "takes transfer stdio"] if peer.stdio else ways)


Choose = Callable[[Mapping[str, Any], ServicePlan], ServicePlan]
"""Leaves in a plan what is wanted of it; raises ConfigError."""


def choose_dials(names: Sequence[str], target: str | tuple[str, ...] | None) -> Choose:
    """Leaves the named peers or, with a target, the one that is named, which is dialled there."""

    def choose(values: Mapping[str, Any], plan: ServicePlan) -> ServicePlan:
        return plan_dials(plan, names) if target is None else plan_single(values, plan, names[0], target)

    return choose


def plan_dials(plan: ServicePlan, names: Sequence[str]) -> ServicePlan:
    """The plan with these peers alone, or with all that are dialled; ConfigError where one is not."""
    dialled = {peer.agent_id: peer for peer in plan.peers if peer.connect is not None}
    problems = find_dial_problems(names, dialled, [peer.agent_id for peer in plan.peers])
    if problems:
        raise ConfigError(*problems)
    if not dialled:
        raise ConfigError(f"no peer is dialled: {PEERS_KEY} has none with Connect")
    return replace(plan, peers=tuple(dialled[name] for name in dict.fromkeys(names or dialled)))


def find_dial_problems(names: Iterable[str], dialled: Container[str], known: Sequence[str]) -> list[str]:
    """Why those of the names that are not dialled cannot be."""
    problems = []
    for name in names:
        if name in known and name not in dialled:
            problems.append(f"peer {name} is not dialled: {PEERS_KEY} has no Connect of it")
        elif name not in known:
            meant = difflib.get_close_matches(name, [each for each in known if each != SOCKET_AGENT], 1)
            problems.append(f"there is no peer {name}" + (f"; is {meant[0]} meant?" if meant else ""))
    return problems


def plan_single(
    values: Mapping[str, Any], plan: ServicePlan, name: str, connect: str | tuple[str, ...]
) -> ServicePlan:
    """The plan with one peer alone, dialled there; what is said of it otherwise holds, if anything is."""
    known = next((peer for peer in plan.peers if peer.agent_id == name and name != SOCKET_AGENT), None)
    peer = known or _plan_peer(values, parse_peers({name: {"Connect": connect}})[name])
    return replace(plan, peers=(replace(peer, connect=connect, listen=None, stdio=False),))


def general_choice(values: Mapping[str, Any], direction: str) -> PolicyChoice:
    """The policy of those peers that say nothing of it; `direction` is SENDER or RECEIVER."""
    return PolicyChoice(
        values.get(f"Transfer{direction}PolicyClass"),
        values.get(f"Transfer{direction}PolicyInitArgs"),
        values.get(f"Transfer{direction}Settings"),
    )


def name_problems(error: GuerillaBackupError, values: Mapping[str, Any], peer: PeerPlan) -> list[str]:
    """Why something for a peer cannot be made; mistakes in settings of its own by its name."""
    if not isinstance(error, ConfigError):
        return [f"peer {peer.agent_id}: {error}"]
    named = list(error.problems)
    for direction, choice in ((SENDER, peer.sender), (RECEIVER, peer.receiver)):
        key = f"Transfer{direction}Settings"
        if choice.settings is not values.get(key):
            own = f"{PEERS_KEY} in {direction}Settings of {peer.agent_id!r}"
            named = [problem.replace(key, own) for problem in named]
    return named


def find_warnings(plan: ServicePlan) -> list[str]:
    """What is allowed, and cannot be meant."""
    idle = [peer.agent_id for peer in plan.peers if peer.is_idle]
    if not plan.peers:
        return ["the transfer service has nobody to talk to: TransferSocket is False, TransferPeers is empty"]
    if len(idle) == len(plan.peers):
        return [
            "the transfer service neither sends nor receives anything: "
            "set TransferSenderPolicyClass or TransferReceiverPolicyClass"
        ]
    return [*(f"nothing is sent to nor received from peer {name}" for name in idle), *_of_both_ways(plan)]


def _of_both_ways(plan: ServicePlan) -> Iterator[str]:
    for peer in plan.peers:
        goes = peer.sender.policy_class is not None and not peer.only_marks
        if not goes or peer.receiver.policy_class is None or peer.agent_id == SOCKET_AGENT:
            continue
        if _may_overlap(peer.rules.accepted_sources, peer.rules.offered_sources):
            yield (
                f"peer {peer.agent_id}: elements of the same sources are moved to it and taken from it, and "
                "may go to and fro: have AcceptSources and OfferSources name different ones, or set one of "
                "SenderPolicyClass and ReceiverPolicyClass to None"
            )


def _may_overlap(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether there may be a source that both mean, as far as how the patterns begin tells."""
    starts = [[re.split(r"[*?[]", pattern)[0] for pattern in patterns] for patterns in (some, others)]
    return any(one.startswith(other) or other.startswith(one) for one in starts[0] for other in starts[1])


def _find_problems(peers: Sequence[PeerPlan], storage: str | None, runtime: str) -> list[str]:
    problems = []
    if any(peer.storage == "" for peer in peers):
        problems.append(f"no storage is set: {' or '.join(STORAGE_KEYS)} names its directory")
    own = {
        posixpath.join(runtime, name) for name in (SOCKET_NAME, STDIO_SOCKET_NAME, "transfer-control.socket")
    }
    problems += [
        f"{PEERS_KEY} has for {peer.agent_id!r} Listen {peer.listen}, which is the service's own socket"
        for peer in peers
        if peer.agent_id != SOCKET_AGENT
        and peer.listen is not None
        and posixpath.normpath(peer.listen) in own
    ]
    return problems


def _plan_peer(values: Mapping[str, Any], peer: PeerSettings) -> PeerPlan:
    def choose(own: Any, key: str) -> Any:
        return values.get(key) if own is UNSET else own

    storage = peer.storage or next((values[key] for key in STORAGE_KEYS if values.get(key) is not None), "")
    return PeerPlan(
        PeerRules(
            peer.name,
            peer.accepted_sources,
            peer.offered_sources,
            peer.max_element_size,
            peer.accepts_bare_acknowledgement,
            peer.max_connections or values.get("TransferPeerMaxConnections"),
        ),
        posixpath.normpath(storage) if storage else "",
        PolicyChoice(
            choose(peer.sender_policy, "TransferSenderPolicyClass"),
            choose(peer.sender_init_args, "TransferSenderPolicyInitArgs"),
            choose(peer.sender_settings, "TransferSenderSettings"),
        ),
        PolicyChoice(
            choose(peer.receiver_policy, "TransferReceiverPolicyClass"),
            choose(peer.receiver_init_args, "TransferReceiverPolicyInitArgs"),
            choose(peer.receiver_settings, "TransferReceiverSettings"),
        ),
        peer.listen,
        AccessChoice(
            choose(peer.socket_mode, "TransferSocketMode") or 0o600,
            choose(peer.socket_owner, "TransferSocketOwner"),
            choose(peer.socket_group, "TransferSocketGroup"),
        ),
        peer.connect,
        peer.interval,
        peer.stdio,
    )
