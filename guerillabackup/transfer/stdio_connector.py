"""Peers whose descriptors a `transfer stdio` process hands over, named by it. Joins sockets, profiles, agent.

The socket is this user's own: whoever may start `transfer stdio` as this user may name any agent. In an ssh
forced command the name stands in authorized_keys, out of the peer's reach.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable

from guerillabackup.errors import GuerillaBackupError, RemoteProtocolError, StorageError
from guerillabackup.log_limit import LogLimit
from guerillabackup.osfile_socket import ListeningSocket, is_trusted
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.interface import ConnectorService, TransferContext
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.stdio_messages import MAX_LINE, StdioEnd, parse_request

REQUEST_SECONDS = 10.0
PAUSE_SECONDS = 1.0
MAX_RELAYS = 64
THREAD_NAME = "transfer-stdio"

log = logging.getLogger(__name__)


class StdioConnectorService(ConnectorService):
    """Takes descriptors at a private socket, which it owns. Each relay has a thread, which only waits.

    `find_profile` gives the profile of an agent by its name, None for none; it may raise ConfigError.
    """

    def __init__(
        self,
        listener: ListeningSocket,
        find_profile: Callable[[str], PeerProfile | None],
        end_all: Callable[[float], None],
    ) -> None:
        self._listener = listener
        self._find_profile = find_profile
        self._end_all = end_all
        """Ends the connections of every agent that profiles name."""
        self._is_ending = threading.Event()
        self._lines = LogLimit()
        """Of relays that are nobody's yet."""
        self._relays: set[threading.Thread] = set()

    def run(self) -> None:
        """Take connections until `shutdown`, and wait until each relay was told of its end."""
        try:
            while not self._is_ending.is_set():
                try:
                    relay = self._listener.accept()
                except StorageError as error:
                    text = f"{error}; trying again each {PAUSE_SECONDS:g} s"
                    self._lines.say(log, logging.ERROR, text, "unaccepted")
                    self._is_ending.wait(PAUSE_SECONDS)
                    continue
                if relay is not None:
                    self._begin(relay)
        finally:
            self._listener.close()
        for thread in self._relays:
            thread.join()

    def shutdown(self, force_shutdown_time: float = -1) -> None:
        if not self._is_ending.is_set():
            self._is_ending.set()
            self._listener.interrupt()
        self._end_all(force_shutdown_time)

    def _begin(self, relay: socket.socket) -> None:
        self._relays = {thread for thread in self._relays if thread.is_alive()}
        if len(self._relays) >= MAX_RELAYS or not is_trusted(relay):
            text = f"a relay is refused at {self._listener.path}: {len(self._relays)} run"
            self._lines.say(log, logging.WARNING, text, "refused", loosely=True)
            relay.close()
            return
        thread = threading.Thread(target=self._serve, args=(relay,), name=THREAD_NAME, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # Whoever comes later may find one: to end here would be to listen no more.
            self._lines.say(
                log, logging.ERROR, f"transfer stdio: a relay has no thread: {error}", "no thread"
            )
            relay.close()
            return
        self._relays.add(thread)

    def _serve(self, relay: socket.socket) -> None:
        """Run the connection of one relay to its end, and tell it."""
        with relay:
            try:
                context, profile = self._receive(relay)
            except (GuerillaBackupError, OSError) as error:
                text = f"transfer stdio: no connection was made: {error}"
                self._lines.say(log, logging.WARNING, text, "unmade")
                end = StdioEnd(str(error))
            else:
                end = self._run(relay, context, profile)
            with contextlib.suppress(OSError):
                relay.sendall(end.encode())

    def _receive(self, relay: socket.socket) -> tuple[TransferContext, PeerProfile]:
        relay.settimeout(REQUEST_SECONDS)
        line, descriptors, _, _ = socket.recv_fds(relay, MAX_LINE, 2)
        try:
            if len(descriptors) != 2 or not line.endswith(b"\n"):
                raise RemoteProtocolError("a request without a whole line and two descriptors")
            agent_id = parse_request(line).agent_id
            profile = self._find_profile(agent_id)
            if profile is None:
                raise RemoteProtocolError(
                    f"no agent is named {agent_id} here: TransferPeers has to name it, with 'Stdio': True"
                )
            channel = Channel(descriptors[0], descriptors[1])
            descriptors = []
            return profile.connect(channel), profile
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _run(self, relay: socket.socket, context: TransferContext, profile: PeerProfile) -> StdioEnd:
        ends: list[Exception | None] = []

        def on_end(error: Exception | None) -> None:
            ends.append(error)
            # Ends the wait below, which may be for bytes.
            with contextlib.suppress(OSError):
                relay.shutdown(socket.SHUT_RD)

        text = f"peer {context.agent_id}: connected by transfer stdio"
        profile.lines.say(log, logging.DEBUG, text, "connected", repeats=True)
        profile.agent.add_connection(context, on_end)
        relay.settimeout(None)
        with contextlib.suppress(OSError):
            while relay.recv(1):
                pass
        if not ends:
            # The relay has gone, and with it whoever was at the other end of its descriptors.
            if context.client is not None:
                context.client.force_shutdown()
            return StdioEnd("the relay ended")
        return StdioEnd(None if ends[0] is None else str(ends[0]))
