"""A connection as policies written for the original see it. Joins our context with the storage's adapter."""

from typing import Any

from guerillabackup.original.storage import Storage
from guerillabackup.transfer import interface


class TransferContext:
    """Who the peer is and where elements are. `ours` is the context itself."""

    def __init__(self, context: interface.TransferContext) -> None:
        self.ours = context
        self.agentId = context.agent_id
        self.localStorage = Storage(context.local_storage)
        self.receiverTransferPolicy: Any = context.receiver_policy
        self.senderTransferPolicy: Any = context.sender_policy
        self.clientProtocolAdapter: Any = None
        self.serverProtocolAdapter: Any = None
