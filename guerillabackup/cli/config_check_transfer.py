"""Looks at what a configuration says of the transfer service. It joins plan and policies, opens nothing."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

from guerillabackup.config import Configuration
from guerillabackup.errors import ConfigError
from guerillabackup.generator.storage_place import find_storage_problem
from guerillabackup.original.receiving import make_receiver_policy
from guerillabackup.original.sending import make_sender_policy
from guerillabackup.osfile_socket import find_listen_problem
from guerillabackup.transfer.oddities import find_oddities
from guerillabackup.transfer.offer_gate import OfferGate
from guerillabackup.transfer.plan import PeerPlan, ServicePlan, find_warnings, name_problems
from guerillabackup.transfer.receiver_settings import SETTINGS_KEY as RECEIVER_SETTINGS
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy
from guerillabackup.transfer.sender_settings import SETTINGS_KEY as SENDER_SETTINGS
from guerillabackup.transfer.service import find_socket_access, plan_of

_WANTED = (
    "TransferPeers",
    "TransferReceiverPolicyClass",
    "TransferSenderPolicyClass",
    "TransferServiceStorageBaseDir",
)
"""Who says something of these has a transfer service, or will have one."""


def check_transfer(configuration: Configuration) -> tuple[list[str], list[str]]:
    """What is wrong with a configuration for the transfer service, and what is odd; changes nothing.

    A host that says nothing of transfers is not told that it has none.
    """
    if not any(configuration.get(key) for key in _WANTED):
        return [], []
    try:
        plan = plan_of(configuration)
    except ConfigError as error:
        return list(error.problems), []
    problems: list[str] = []
    for peer in plan.peers:
        try:
            find_socket_access(peer.access)
        except ConfigError as error:
            problems += [f"peer {peer.agent_id}: {problem}" for problem in error.problems]
        if peer.listen is not None and (problem := find_listen_problem(peer.listen)) is not None:
            problems.append(f"peer {peer.agent_id}: {problem}")
        problems += _policy_problems(configuration, peer)
    for directory in plan.storages:
        apart = configuration.own_directories
        problem = find_storage_problem(directory, plan.state_directory, elements_move_on=True, apart=apart)
        problems += [] if problem is None else [problem]
    return list(dict.fromkeys(problems)), [
        *find_warnings(plan),
        *find_oddities(plan, lambda program: shutil.which(program) is not None),
        *_signature_warnings(configuration, plan),
    ]


def receives(configuration: Configuration) -> bool:
    """Whether there is something to do here without a unit: fetching what others made."""
    try:
        plan = plan_of(configuration)
    except ConfigError:
        return False
    return any(peer.receiver.policy_class is not None for peer in plan.peers)


def _signature_warnings(configuration: Configuration, plan: ServicePlan) -> list[str]:
    """Who signs here, and receives from others, may not know that theirs have to be signed too."""
    is_asked_for = configuration.get("GeneralSigningKey") or configuration.get("GeneralTrustedSigningKeys")
    is_receiving = any(peer.receiver.policy_class is not None for peer in plan.peers)
    if not (is_asked_for and is_receiving and configuration.get("GeneralRequireSignatures") is None):
        return []
    return [
        "the transfer service refuses elements that are not signed by a key in keys/: "
        "GeneralRequireSignatures is not set; True says that this is meant, "
        "False takes unsigned ones and those by unknown keys"
    ]


def _policy_problems(configuration: Configuration, peer: PeerPlan) -> Iterator[str]:
    sender, receiver = peer.sender, peer.receiver
    makers: list[Callable[[], object]] = []
    if sender.policy_class is not None:
        values = {**configuration, SENDER_SETTINGS: sender.settings}
        makers.append(partial(make_sender_policy, sender.policy_class, values, sender.init_args, OfferGate()))
    if receiver.policy_class is not None:
        values = {**configuration, RECEIVER_SETTINGS: receiver.settings}
        make_ours = ReceiverStoreDataTransferPolicy
        makers.append(
            partial(make_receiver_policy, receiver.policy_class, values, receiver.init_args, make_ours)
        )
    for make in makers:
        try:
            make()
        except ConfigError as error:
            yield from name_problems(error, configuration, peer)
