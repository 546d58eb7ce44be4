"""What is remembered, outside of a storage, of the elements that must be the last ones in it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from guerillabackup.element import ElementId, SourceUrl


@dataclass(frozen=True, slots=True)
class LastElements:
    """The DataUuid that the last element of each source has: one of several, where it is not known which.

    `ids` are what they are called in the storage, as far as that is known. With `move_on` they may be gone
    from there, moved on to another host; so may those that are in `deleted`, which somebody did on purpose.
    """

    uuids: Mapping[SourceUrl, frozenset[bytes]] = field(default_factory=dict)
    ids: Mapping[bytes, ElementId] = field(default_factory=dict)
    move_on: bool = False
    deleted: frozenset[bytes] = frozenset()

    def id_of(self, source_url: SourceUrl) -> ElementId | None:
        """The last one's id; None where it is not known."""
        known = [self.ids[uuid] for uuid in self.uuids.get(source_url, ()) if uuid in self.ids]
        return max(known, default=None)

    def is_deleted(self, source_url: SourceUrl) -> bool:
        """Whether the last element of a source was deleted on purpose."""
        return not self.deleted.isdisjoint(self.uuids.get(source_url, ()))

    def may_be_gone(self, source_url: SourceUrl) -> bool:
        """Whether it is no wonder that the last element of a source is not in the storage."""
        return self.move_on or self.is_deleted(source_url)

    def describe_lost(self, source_url: SourceUrl) -> str:
        """That the last element of a source is not in the storage, as a sentence."""
        name = self.id_of(source_url)
        named = "the last element" if name is None else f"{name}, the last element"
        how = "it was moved on, or was deleted" if self.move_on else "it was deleted"
        if self.is_deleted(source_url):
            return f"{named} that was stored of {source_url} was deleted with element delete"
        return (
            f"{named} that was stored of {source_url}, as this host's generator remembers, is not in the "
            f"storage: {how} or lost, or is damaged"
        )
