"""The transfer service: reads the configuration, builds storages, policies and connectors, and runs them.

It joins the parts.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from guerillabackup.config import MAIN_FILE, Configuration, load_configuration
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import EventListener, ignore_events
from guerillabackup.generator.storage_place import find_storage_problem, remember_storage
from guerillabackup.observe.activation import inherited_sockets
from guerillabackup.observe.control_server import ControlServer
from guerillabackup.observe.control_socket import ServiceSocket
from guerillabackup.observe.signals import SignalPipe
from guerillabackup.observe.systemd import ServiceManager
from guerillabackup.original.receiving import make_receiver_policy
from guerillabackup.original.sending import make_sender_policy
from guerillabackup.osfile import Ownership
from guerillabackup.osfile_socket import SocketAccess, listen
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.storage.registry import catalogue_path, make_ownership, open_storage
from guerillabackup.transfer.agent import AgentLimits
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.checks import NO_SIGNATURES, SignatureRules
from guerillabackup.transfer.connectors import ConnectorMaker
from guerillabackup.transfer.control_messages import TRANSFER, Request
from guerillabackup.transfer.dialling import DialOutcome, follow_dials
from guerillabackup.transfer.interface import (
    ReceiverTransferPolicy,
    SenderTransferPolicy,
    TransferAgent,
    TransferCounters,
)
from guerillabackup.transfer.kept import Kept
from guerillabackup.transfer.key_shelf import KeyShelf
from guerillabackup.transfer.lock import StorageLocks, TransferLock
from guerillabackup.transfer.loop import TransferLoop, Wake
from guerillabackup.transfer.offer_gate import OfferGate
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.plan import (
    RECEIVER,
    STDIO_SOCKET_NAME,
    AccessChoice,
    Choose,
    PeerPlan,
    PolicyChoice,
    ServicePlan,
    choose_dials,
    find_warnings,
    general_choice,
    make_plan,
    name_problems,
)
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.receiver_settings import SETTINGS_KEY as RECEIVER_SETTINGS
from guerillabackup.transfer.receiver_settings import ReceiverSettings
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy
from guerillabackup.transfer.sender_settings import SETTINGS_KEY as SENDER_SETTINGS
from guerillabackup.transfer.sending import DefaultTransferAgentServerProtocolAdapter
from guerillabackup.transfer.stdio_connector import StdioConnectorService
from guerillabackup.transfer.storage_share import StorageShares
from guerillabackup.transfer.storage_shelf import StorageShelf
from guerillabackup.transfer.works import Line, Works

FIRST_SECONDS = 60.0
"""Until a peer that is dialled without a service has said anything."""
INTERRUPTED_SECONDS = 0.5
REQUIRED = ("GeneralPersistencyBaseDir", "GeneralRuntimeDataDir")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from."""

    directory: str
    main_file: str = MAIN_FILE
    presets: Mapping[str, Any] | None = None

    def load(self) -> Configuration:
        """As the files say now; raises ConfigError."""
        return load_configuration(self.directory, self.presets, main_file=self.main_file)


def plan_of(configuration: Configuration) -> ServicePlan:
    """What a configuration says of the transfer service; ConfigError with all that is wrong with it."""
    problems: list[str] = []
    try:
        configuration.require(*REQUIRED)
    except ConfigError as error:
        problems += error.problems
    try:
        # With the default places, so that all problems are found at once.
        missing = {key: "/" for key in REQUIRED if configuration.get(key) is None}
        plan = make_plan({**configuration, **missing})
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from error
    if problems:
        raise ConfigError(*problems)
    return plan


class Stock:
    """Storages, policies and keys: what outlives a reload where nothing about it has changed."""

    def __init__(self, state_directory: str, listen: EventListener, limits: PaceLimits) -> None:
        self._listen = listen
        self._limits = limits
        self._keys = KeyShelf()
        self.receive_limit = BandwidthLimit()
        self.send_limit = BandwidthLimit()
        self._state_directory = state_directory
        self._storages = StorageShelf(self._open_storage)
        self.find_problem = self._storages.find_problem
        self.shares = StorageShares()
        self._gates: dict[int, OfferGate] = {}
        self._senders: Kept[SenderTransferPolicy] = Kept()
        self._receivers: Kept[ReceiverTransferPolicy] = Kept()
        self._ours: list[tuple[str, ReceiverStoreDataTransferPolicy]] = []
        self._stack = ExitStack()
        self.locks = self._stack.enter_context(closing(StorageLocks()))

    def make_lines(
        self, configuration: Configuration, plan: ServicePlan, agent: TransferAgent
    ) -> dict[str, Line]:
        """The peers of a plan, with what their connections are made with; ConfigError with all problems."""
        problems: list[str] = []
        try:
            rules = self._keys.read(
                configuration.keys_directory,
                configuration.get("GeneralTrustedSigningKeys"),
                requires_signatures=configuration.get("GeneralRequireSignatures"),
                signs_here=configuration.get("GeneralSigningKey") is not None,
            )
        except ConfigError as error:
            problems += error.problems
            rules = NO_SIGNATURES
        lines: dict[str, Line] = {}
        moving = plan.storages if configuration.get("GeneralElementsMoveOn") else plan.emptied_storages
        for peer in plan.peers:
            try:
                profile = self._make_profile(configuration, peer, agent, rules, peer.storage in moving)
                lines[peer.agent_id] = Line(peer, profile)
            except GuerillaBackupError as error:
                problems += name_problems(error, configuration, peer)
        if problems:
            raise ConfigError(*dict.fromkeys(problems))
        return lines

    def describe(self) -> list[dict[str, Any]]:
        """What the receiving policies say of themselves."""
        latest = dict(self._ours)
        return [{"policy": name, **policy.status()} for name, policy in sorted(latest.items())]

    def remember(self) -> None:
        """Note which storages have elements: those must not be empty the next time."""
        for directory in self._storages.directories:
            remember_storage(directory, self._state_directory)

    def close(self) -> None:
        """When no connection runs any more."""
        for _, policy in self._ours:
            policy.close()
        self._stack.close()
        self._keys.close()

    def _make_profile(
        self,
        configuration: Configuration,
        peer: PeerPlan,
        agent: TransferAgent,
        rules: SignatureRules,
        moves_on: bool,
    ) -> PeerProfile:
        storage = self._open(configuration, peer.storage, moves_on)
        return PeerProfile(
            peer.rules,
            storage,
            self._find_sender(configuration, peer.sender, storage),
            self._find_receiver(configuration, peer, storage, rules),
            agent,
            DefaultTransferAgentServerProtocolAdapter,
            self._limits,
            send_limit=self.send_limit,
            instance=self.shares.instance,
        )

    def _open(self, configuration: Configuration, directory: str, moves_on: bool) -> StorageInterface:
        ownership = make_ownership(
            configuration["StorageDirectoryMode"],
            configuration["StorageFileMode"],
            configuration.get("StorageOwner"),
            configuration.get("StorageGroup"),
        )
        state = self._state_directory
        apart = configuration.own_directories
        if problem := find_storage_problem(directory, state, elements_move_on=moves_on, apart=apart):
            raise ConfigError(problem)
        return self._storages.get(directory, ownership)

    def _open_storage(self, directory: str, ownership: Ownership) -> StorageInterface:
        storage = open_storage(directory, ownership, state_directory=self._state_directory)
        return self._stack.enter_context(closing(storage))

    def _find_sender(
        self, configuration: Configuration, choice: PolicyChoice, storage: StorageInterface
    ) -> SenderTransferPolicy | None:
        if choice.policy_class is None:
            return None
        gate = self._gates.setdefault(id(storage), OfferGate(self._listen, self.shares.of(storage).origins))
        values = {**configuration, SENDER_SETTINGS: choice.settings}
        make = partial(make_sender_policy, choice.policy_class, values, choice.init_args, gate)
        return self._senders.get((choice, id(storage)), make)

    def _find_receiver(
        self, configuration: Configuration, peer: PeerPlan, storage: StorageInterface, rules: SignatureRules
    ) -> ReceiverTransferPolicy | None:
        choice = peer.receiver
        if choice.policy_class is None:
            return None
        state = configuration["GeneralPersistencyBaseDir"]
        name = os.path.basename(catalogue_path(state, peer.storage)).removesuffix(".sqlite")
        if choice != general_choice(configuration, RECEIVER):
            name += f"-{peer.agent_id}"

        def make_ours(settings: ReceiverSettings) -> ReceiverStoreDataTransferPolicy:
            ours = ReceiverStoreDataTransferPolicy(
                settings,
                state_directory=state,
                name=name,
                signatures=rules,
                bandwidth=self.receive_limit,
                shares=self.shares,
                listen=self._listen,
            )
            self._ours.append((name, ours))
            return ours

        values = {**configuration, RECEIVER_SETTINGS: choice.settings}
        make = partial(make_receiver_policy, choice.policy_class, values, choice.init_args, make_ours)
        return self._receivers.get((choice, id(storage), rules), make)


class TransferService:
    """What runs, and what the configuration has a part in; made and used by the main thread."""

    def __init__(
        self,
        source: Source,
        listen: EventListener = ignore_events,
        on_change: Callable[[], None] = lambda: None,
        choose: Choose = lambda values, plan: plan,
        limits: PaceLimits | None = None,
    ) -> None:
        self._source = source
        configuration = source.load()
        self.plan = choose(configuration, plan_of(configuration))
        self._stock = Stock(self.plan.state_directory, listen, limits or PaceLimits())
        _warn(self.plan)
        self.works = Works(AgentLimits.of(self.plan.max_connections), on_change, self._stock.find_problem)
        self._lines = self._stock.make_lines(configuration, self.plan, self.works.shared_agent)
        self.set_limit(self.plan.bandwidth_limit)
        self._connectors = ConnectorMaker(os.environ, find_socket_access)

    @property
    def shutdown_time(self) -> float:
        return self.plan.shutdown_time

    @property
    def bandwidth_limit(self) -> int | None:
        return self._stock.receive_limit.bytes_per_second

    def set_limit(self, rate: int | None) -> None:
        """For what is received, and for what is sent."""
        self._stock.receive_limit.set_limit(rate)
        self._stock.send_limit.set_limit(rate)

    def start(self, inherited: Mapping[str, socket.socket]) -> None:
        """Listen and dial; raises ConfigError with all that cannot be, and TransferBusyError."""
        self._stock.locks.take(self.plan.receiving_storages, is_service=True)
        self._stock.remember()
        self._connectors.inherit(inherited, self._lines.values())
        self.works.begin(self._lines, self._connectors.make)
        path = os.path.join(self.plan.runtime_directory, STDIO_SOCKET_NAME)
        relays = StdioConnectorService(listen(path), self.works.find_profile, lambda seconds: None)
        self.works.add(relays, "stdio")

    def start_dialling(self) -> None:
        """Be ready to dial, and do nothing else: for who has no service. Raises TransferBusyError."""
        self._stock.locks.take(self.plan.receiving_storages, is_service=False)
        self._stock.remember()
        self.works.use(self._lines, self._connectors.make_once)

    def reload(self) -> None:
        """Read the configuration anew; raises ConfigError, and then all goes on as before."""
        configuration = self._source.load()
        plan = plan_of(configuration)
        for before, now in (
            (self.plan.state_directory, plan.state_directory),
            (self.plan.runtime_directory, plan.runtime_directory),
        ):
            if before != now:
                raise ConfigError(f"{now} is to be used in place of {before}, which takes a restart")
        lines = self._stock.make_lines(configuration, plan, self.works.shared_agent)
        # What can still fail comes before all that then is in effect.
        self._stock.locks.take(plan.receiving_storages, is_service=True)
        self.works.use(lines, self._connectors.make)
        _warn(plan)
        self.plan = plan
        self.works.set_limits(AgentLimits.of(plan.max_connections))
        self.set_limit(plan.bandwidth_limit)
        self._stock.shares.try_again()

    def try_again(self, agent_ids: Collection[str]) -> None:
        """Have also that tried which was refused lately of these peers."""
        self._stock.shares.try_again(agent_ids)

    def describe(self) -> dict[str, Any]:
        """What receiving policies say, for the status."""
        return {"max_connections": self.plan.max_connections, "receiving": self._stock.describe()}

    def close(self) -> None:
        """End what still runs, and let go of everything."""
        self.works.stop(0)
        self.works.join()
        self._stock.remember()
        self._stock.close()


def run_service(source: Source) -> None:
    """Run until SIGTERM or SIGINT, in the main thread; SIGHUP has the configuration read anew.

    Raises ConfigError and StateBusyError where it cannot begin.
    """
    with ExitStack() as stack:
        # First, so that a signal is answered in order from here on.
        signals = stack.enter_context(SignalPipe())
        wake = stack.enter_context(closing(Wake()))
        manager = stack.enter_context(closing(ServiceManager(os.environ)))
        service = TransferService(source, wake.listen, wake)
        stack.enter_context(closing(service))
        stack.enter_context(TransferLock(service.plan.state_directory, is_service=True))
        directory = service.plan.runtime_directory
        control = stack.enter_context(closing(ServiceSocket(directory, TRANSFER.socket_name)))
        service.start(inherited_sockets(os.environ))
        clients = ControlServer(control, time.monotonic, Request.parse)
        TransferLoop(service.works, service, clients, manager, wake).run(signals)


def dial_once(
    source: Source,
    names: Sequence[str] = (),
    target: str | tuple[str, ...] | None = None,
    *,
    listen: EventListener = ignore_events,
    tick: Callable[[str, TransferCounters], None] = lambda name, counters: None,
    tries_all: bool = False,
) -> list[DialOutcome]:
    """Dial the named peers, or all, once and at the same time, without a service; what came of each.

    With a `target` the one that is named, configured or not, is dialled there. `tick` hears how far each is.
    `tries_all`: also what was refused lately is tried.
    Raises ConfigError, and TransferBusyError where a service runs.
    """
    limits = PaceLimits(first_seconds=FIRST_SECONDS)
    service = TransferService(source, listen, choose=choose_dials(names, target), limits=limits)
    with closing(service), TransferLock(service.plan.state_directory, is_service=False):
        service.start_dialling()
        if tries_all:
            service.try_again(tuple(service.works.dialled()))
        try:
            return follow_dials(service.works, tick)
        except BaseException:
            # Interrupted: what is being said has a moment, and whoever waits in front of this no long time.
            seconds = min(service.shutdown_time, INTERRUPTED_SECONDS)
            service.works.stop(seconds)
            service.works.wait(seconds)
            raise


def find_socket_access(choice: AccessChoice) -> SocketAccess:
    """With the ids of names; raises ConfigError."""
    ownership = make_ownership(owner=choice.owner, group=choice.group, what="a peer's socket")
    return SocketAccess(choice.mode, ownership.user_id, ownership.group_id)


def _warn(plan: ServicePlan) -> None:
    for warning in find_warnings(plan):
        log.warning("%s", warning)
