"""What this program says of itself to a peer, and how a peer's words become what policies see. No I/O."""

from guerillabackup.transfer.interface import EMPTY_ELEMENTS, RemotePolicyInfo
from guerillabackup.transfer.messages import Announcement

PROGRAM = "guerillabackup"
OWN_ANNOUNCEMENT = Announcement(PROGRAM, features=frozenset((EMPTY_ELEMENTS,)))


def describe_peer(policy: str | None, announcement: Announcement | None) -> RemotePolicyInfo:
    """What a peer is, by what it said."""
    if announcement is None:
        return RemotePolicyInfo(policy)
    return RemotePolicyInfo(policy, True, announcement.features)
