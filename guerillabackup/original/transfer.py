"""What the original's module Transfer offers to configuration files and to policies of a site's own.

It joins the adapters of both directions under one name.
"""

from collections.abc import Mapping
from typing import Any

from guerillabackup.original.sending import SenderMoveDataTransferPolicy as SenderMoveDataTransferPolicy
from guerillabackup.original.sending import SenderTransferPolicy as SenderTransferPolicy
from guerillabackup.original.transfer_context import TransferContext as TransferContext


class ReceiverTransferPolicy:
    """Base class of what decides which of a peer's elements are taken."""


class ReceiverStoreDataTransferPolicy(ReceiverTransferPolicy):
    """Stores every element that a sender who moves them offers."""

    def __init__(self, configContext: Mapping[str, Any]) -> None:
        self.configContext = configContext

    def isSenderPolicyCompatible(self, policyInfo: str) -> bool:
        return policyInfo == "SenderMoveDataTransferPolicy"
