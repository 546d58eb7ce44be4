"""What the original's module Transfer offers to configuration files and to policies of a site's own. No I/O.

So that they can be named and derived from: elements are not moved by this version, and a configuration that
sets such a policy is told so.
"""

from collections.abc import Mapping
from typing import Any


class SenderTransferPolicy:
    """Base class of what decides which elements are offered to a peer, and what becomes of them after."""


class ReceiverTransferPolicy:
    """Base class of what decides which of a peer's elements are taken."""


class SenderMoveDataTransferPolicy(SenderTransferPolicy):
    """Moves elements: what a peer has stored is deleted, or only marked as done."""

    def __init__(self, configContext: Mapping[str, Any], markAsDoneOnlyFlag: bool = False) -> None:
        self.configContext = configContext
        self.markAsDoneOnlyFlag = markAsDoneOnlyFlag

    def getPolicyInfo(self) -> str:
        return "SenderMoveDataTransferPolicy"


class ReceiverStoreDataTransferPolicy(ReceiverTransferPolicy):
    """Stores every element that a sender who moves them offers."""

    def __init__(self, configContext: Mapping[str, Any]) -> None:
        self.configContext = configContext

    def isSenderPolicyCompatible(self, policyInfo: str) -> bool:
        return policyInfo == "SenderMoveDataTransferPolicy"
