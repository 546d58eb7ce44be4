"""Who a peer is and what stands for it here, and the context each of its connections gets. Joins them."""

import time
from dataclasses import dataclass, field

from guerillabackup.log_limit import LogLimit
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.interface import (
    PeerRules,
    ReceiverTransferPolicy,
    SenderTransferPolicy,
    TransferAgent,
    TransferContext,
)
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.session import ServerMaker, connect


@dataclass(frozen=True, slots=True)
class PeerProfile:
    """What a connector makes connections with: one peer, or all that come through one socket."""

    rules: PeerRules
    storage: StorageInterface
    sender_policy: SenderTransferPolicy | None
    receiver_policy: ReceiverTransferPolicy | None
    agent: TransferAgent
    """Runs its connections."""
    make_server: ServerMaker
    limits: PaceLimits = field(default_factory=PaceLimits)
    send_limit: BandwidthLimit | None = None
    """Which all data that is sent goes by; shared with others."""
    instance: str = ""
    """Names this process, so that a connection to itself is noticed."""
    lines: LogLimit = field(default_factory=LogLimit, compare=False)
    """Writes to the log what the peer causes, on whichever connection."""

    @property
    def agent_id(self) -> str:
        """Who the peer is."""
        return self.rules.agent_id

    def make_context(self) -> TransferContext:
        """A context that is not connected."""
        return TransferContext(
            self.rules,
            self.storage,
            self.sender_policy,
            self.receiver_policy,
            instance=self.instance,
            now=time.time,
            lines=self.lines,
        )

    def connect(self, channel: Channel) -> TransferContext:
        """A context that is connected over a channel, for the agent to run."""
        context = self.make_context()
        channel.send_limit = self.send_limit
        try:
            connect(context, channel, self.make_server, self.limits)
        except BaseException:
            channel.close()
            raise
        return context
