"""Runs a transfer service as its configuration says, with limits that a test sets.

    python transfer_peer.py CONFIG_DIRECTORY

TRANSFER_PACE is how many seconds a peer may be silent, take for a message, and take for 64 KiB of an element;
TRANSFER_RETRY the first pause after a connection that failed.
Touches: logging, os, random, signal, threading.
"""

import logging
import os
import random
import signal
import sys
import threading

from guerillabackup.config import Configuration, load_configuration
from guerillabackup.original.receiving import make_receiver_policy
from guerillabackup.original.sending import make_sender_policy
from guerillabackup.osfile_socket import listen
from guerillabackup.storage.registry import open_storage
from guerillabackup.transfer.agent import AgentLimits, DefaultTransferAgent
from guerillabackup.transfer.dial_command import CommandDialler
from guerillabackup.transfer.dial_connector import DialConnectorService
from guerillabackup.transfer.dial_schedule import DialSchedule
from guerillabackup.transfer.dial_socket import SocketDialler
from guerillabackup.transfer.interface import ConnectorService, PeerRules
from guerillabackup.transfer.offer_gate import OfferGate
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.peer_settings import PeerSettings, parse_peers
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy
from guerillabackup.transfer.sending import DefaultTransferAgentServerProtocolAdapter
from guerillabackup.transfer.socket_connector import SocketConnectorService


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    configuration = load_configuration(sys.argv[1])
    agent = DefaultTransferAgent(AgentLimits(connections=configuration["TransferMaxConnections"]))
    services = make_services(configuration, agent)
    threads = [threading.Thread(target=service.run) for service in services]
    for thread in threads:
        thread.start()
    signal.sigwait([signal.SIGTERM])
    for service in services:
        service.shutdown(configuration["TransferShutdownTime"])
    for thread in threads:
        thread.join()
    agent.join(30)
    os._exit(0)


def make_services(configuration: Configuration, agent: DefaultTransferAgent) -> list[ConnectorService]:
    storage = open_storage(
        configuration.get("TransferServiceStorageBaseDir") or configuration["DefaultFileSystemSinkBaseDir"],
        create=True,
        state_directory=configuration["GeneralPersistencyBaseDir"],
    )
    gate = OfferGate()
    sender_class = configuration["TransferSenderPolicyClass"]
    receiver_class = configuration["TransferReceiverPolicyClass"]
    sender = sender_class and make_sender_policy(
        sender_class, configuration, configuration["TransferSenderPolicyInitArgs"], gate
    )
    receiver = receiver_class and make_receiver_policy(
        receiver_class,
        configuration,
        configuration["TransferReceiverPolicyInitArgs"],
        lambda settings: ReceiverStoreDataTransferPolicy(
            settings, state_directory=configuration["GeneralPersistencyBaseDir"]
        ),
    )

    def profile(peer: PeerSettings | None) -> PeerProfile:
        rules = (
            PeerRules("default")
            if peer is None
            else PeerRules(peer.name, peer.accepted_sources, peer.offered_sources, peer.max_element_size)
        )
        return PeerProfile(
            rules, storage, sender, receiver, agent, DefaultTransferAgentServerProtocolAdapter, read_pace()
        )

    services: list[ConnectorService] = []
    if configuration["TransferSocket"]:
        path = os.path.join(configuration["GeneralRuntimeDataDir"], "transfer.socket")
        services.append(SocketConnectorService(listen(path), profile(None)))
    for peer in parse_peers(configuration["TransferPeers"]).values():
        schedule = DialSchedule(peer.interval, first_retry=float(os.environ.get("TRANSFER_RETRY", "10")))
        where = peer.connect
        dialler = SocketDialler(where) if isinstance(where, str) else CommandDialler(where or (), os.environ)
        services.append(DialConnectorService(dialler, profile(peer), schedule, random.random))
    return services


def read_pace() -> PaceLimits:
    text = os.environ.get("TRANSFER_PACE")
    return PaceLimits() if text is None else PaceLimits(*map(float, text.split(",")))


if __name__ == "__main__":
    main()
