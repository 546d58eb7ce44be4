"""One end of a transfer as a process of its own, for scenarios and benchmarks: our agent and policies.

    python transfer_host.py listen SOCKET STORAGE [--send] [--receive]
    python transfer_host.py dial SOCKET STORAGE [--send] [--receive]

`listen` says "ready" and serves until SIGTERM; `dial` connects once, and its exit status says whether both
sides agreed to the end. With --usage the last line says what it took. Touches: argparse, resource, signal.
"""

import argparse
import logging
import resource
import signal
import sys
import threading

from guerillabackup.osfile_socket import listen
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.transfer.agent import DefaultTransferAgent
from guerillabackup.transfer.dial_connector import DialConnectorService
from guerillabackup.transfer.dial_schedule import DialSchedule
from guerillabackup.transfer.dial_socket import SocketDialler
from guerillabackup.transfer.interface import PeerRules
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy
from guerillabackup.transfer.sender_policy import SenderMoveDataTransferPolicy
from guerillabackup.transfer.sending import DefaultTransferAgentServerProtocolAdapter
from guerillabackup.transfer.socket_connector import SocketConnectorService

ON_DEMAND = DialSchedule(interval=None, at_start=False)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["listen", "dial"])
    parser.add_argument("socket")
    parser.add_argument("storage")
    for flag in ("--send", "--receive", "--usage"):
        parser.add_argument(flag, action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    agent = DefaultTransferAgent()
    profile = PeerProfile(
        PeerRules("peer"),
        DefaultFileStorage(arguments.storage),
        SenderMoveDataTransferPolicy() if arguments.send else None,
        ReceiverStoreDataTransferPolicy() if arguments.receive else None,
        agent,
        DefaultTransferAgentServerProtocolAdapter,
    )
    status = (
        _listen(arguments.socket, profile) if arguments.role == "listen" else _dial(arguments.socket, profile)
    )
    agent.shutdown(10)
    agent.join(30)
    if arguments.usage:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(f"{usage.ru_utime + usage.ru_stime:.2f} {usage.ru_maxrss / 1024:.1f}", flush=True)
    return status


def _listen(path: str, profile: PeerProfile) -> int:
    service = SocketConnectorService(listen(path), profile)
    thread = threading.Thread(target=service.run)
    thread.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
    service.shutdown(10)
    thread.join()
    return 0


def _dial(path: str, profile: PeerProfile) -> int:
    service = DialConnectorService(SocketDialler(path), profile, ON_DEMAND, lambda: 0.0)
    thread = threading.Thread(target=service.run)
    thread.start()
    service.wait_for_attempt(service.demand())
    service.shutdown(10)
    thread.join()
    return 0 if service.last_error is None else 1


if __name__ == "__main__":
    sys.exit(main())
