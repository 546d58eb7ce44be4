"""What happens on one connection, from its start to its end. Joins channel, adapters and policies."""

import logging
from collections.abc import Callable

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.client import JsonStreamClientProtocolAdapter
from guerillabackup.transfer.connection import PeerConnection
from guerillabackup.transfer.interface import (
    ClientProtocolInterface,
    ServerProtocolInterface,
    TransferContext,
)
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.server import JsonStreamServerProtocolRequestHandler

ServerMaker = Callable[[TransferContext], ServerProtocolInterface]
"""Makes the server side of a connection, from its context."""

log = logging.getLogger(__name__)


def connect(
    context: TransferContext, channel: Channel, make_server: ServerMaker, limits: PaceLimits | None = None
) -> None:
    """Give a context its client and server, over a channel that the client now owns."""
    context.server = make_server(context)
    handler = JsonStreamServerProtocolRequestHandler(context.server, context)
    connection = PeerConnection(channel, handler, limits or PaceLimits())
    context.client = JsonStreamClientProtocolAdapter(connection, context, handler)


def run_session(context: TransferContext) -> None:
    """Fetch what the receiver policy wants, serve the peer, agree on the end; else raises what ended it."""
    client = client_of(context)
    context.fetches = is_policy_compliant(context)
    if context.fetches:
        assert context.receiver_policy is not None
        context.receiver_policy.apply_policy(context)
    client.offer_shutdown()
    client.wait_for_shutdown()


def end_session(context: TransferContext) -> None:
    """Release what a connection holds, whatever it ended by, and settle what it left open."""
    client = client_of(context)
    client.force_shutdown()
    client.close()
    if context.server is not None:
        context.server.end()
    context.counters.current = ""


def is_policy_compliant(context: TransferContext) -> bool:
    """Whether there is something to fetch for our policy from the peer's. (ensurePolicyCompliance)

    The peer is asked in any case: so it learns who asks.
    """
    remote = client_of(context).get_remote_policy_info()
    if context.receiver_policy is None or remote is None:
        return False
    if context.receiver_policy.is_sender_policy_compatible(remote.policy_name):
        return True
    text = f"nothing is fetched: its sender policy {remote.policy_name} is none that ours knows"
    context.lines.say(log, logging.WARNING, f"peer {context.agent_id}: {text}", "policy")
    return False


def client_of(context: TransferContext) -> ClientProtocolInterface:
    """The client of a context that was connected."""
    if context.client is None:
        raise RemoteProtocolError(f"peer {context.agent_id} is not connected")
    return context.client
