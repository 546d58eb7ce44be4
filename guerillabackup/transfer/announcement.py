"""What this program says of itself to a peer, and how a peer's words become what policies see. No I/O."""

from guerillabackup.transfer.announcement_json import Announcement
from guerillabackup.transfer.interface import EMPTY_ELEMENTS, GROUPS, RemotePolicyInfo, TransferContext

PROGRAM = "guerillabackup"


def own_announcement(context: TransferContext) -> Announcement:
    """What is said on that connection."""
    return Announcement(
        PROGRAM,
        features=frozenset((EMPTY_ELEMENTS, GROUPS)),
        instance=context.instance,
        storage=context.local_storage.get_place_id(),
    )


def find_loop(context: TransferContext, announcement: Announcement | None) -> str | None:
    """Why there is nothing to move between the two ends of a connection; None when there may be."""
    if announcement is None:
        return None
    if announcement.instance and announcement.instance == context.instance:
        return "it is this service itself: the connection leads back to where it began"
    if announcement.storage and announcement.storage == context.local_storage.get_place_id():
        return "it works on the same storage: there is nothing to move between the two"
    return None


def describe_peer(policy: str | None, announcement: Announcement | None) -> RemotePolicyInfo:
    """What a peer is, by what it said."""
    if announcement is None:
        return RemotePolicyInfo(policy)
    return RemotePolicyInfo(policy, True, announcement.features)
