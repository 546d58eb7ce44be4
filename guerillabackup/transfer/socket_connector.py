"""Peers that come through a listening UNIX socket. Joins sockets with profile and agent."""

import logging
import socket
import threading

from guerillabackup.errors import StorageError
from guerillabackup.osfile_socket import ListeningSocket, peer_credentials
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.interface import ConnectorService
from guerillabackup.transfer.profile import PeerProfile

PAUSE_SECONDS = 1.0
"""After a failure to accept: whoever connects goes on waiting, and the loop must not spin."""

UNACCEPTED = "unaccepted"
"""The topic of lines that tell of connections which could not even be taken."""
CONNECTED = "connected"
"""The topic of lines that tell of connections which begin."""

log = logging.getLogger(__name__)


class SocketConnectorService(ConnectorService):
    """Hands every connection to the profile's agent. Owns the socket, whose file says who may connect."""

    def __init__(self, listener: ListeningSocket, profile: PeerProfile) -> None:
        self._listener = listener
        self._profile = profile
        self._is_ending = threading.Event()

    def run(self) -> None:
        """Accept until `shutdown`; then the socket is gone."""
        try:
            while not self._is_ending.is_set():
                try:
                    connection = self._listener.accept()
                except StorageError as error:
                    text = f"{error}; trying again each {PAUSE_SECONDS:g} s"
                    self._profile.lines.say(log, logging.ERROR, text, UNACCEPTED)
                    self._is_ending.wait(PAUSE_SECONDS)
                    continue
                if connection is not None:
                    self._profile.lines.over(
                        f"connections at {self._listener.path} are taken again", UNACCEPTED
                    )
                    self._add(connection)
        finally:
            self._listener.close()

    def shutdown(self, force_shutdown_time: float = -1) -> None:
        if not self._is_ending.is_set():
            self._is_ending.set()
            self._listener.interrupt()
        self._profile.agent.shutdown(force_shutdown_time)

    def _add(self, connection: socket.socket) -> None:
        agent_id, path = self._profile.agent_id, self._listener.path
        try:
            who = peer_credentials(connection)
            channel = Channel.of_socket(connection)
        except OSError as error:
            connection.close()
            text = f"peer {agent_id}: a connection at {path} cannot be used: {error.strerror}"
            self._profile.lines.say(log, logging.ERROR, text, "unusable")
            return
        text = f"peer {agent_id}: connected at {path} by user {who.user_id}, process {who.process_id}"
        self._profile.lines.say(log, logging.DEBUG, text, CONNECTED, repeats=True)
        self._profile.agent.add_connection(self._profile.connect(channel))
