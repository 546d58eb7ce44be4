"""What a receiving connection notes on its way, to be told at its end. Touches: random."""

import random
from collections import Counter
from dataclasses import dataclass, field

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.transfer.broken_chains import breaks_chain
from guerillabackup.transfer.chain_memory import ChainStep

MAX_LOGGED = 50
"""Refusals of one connection that have a log line each."""
MAX_ALIKE = 3
"""Those of them for one reason, as a key that is missing."""

MAX_GAPS = 1000
"""Oddities of chains that are looked into at the end of one connection."""
MAX_FOLLOWED = 100_000

MAX_UUID_SIZE = 1024
"""Bytes of a DataUuid that is noted: a peer may make one up that fills its metadata."""


@dataclass(slots=True)
class Tally:
    """What one connection did."""

    logged: int = 0
    """Refusals with a log line each."""
    unlogged: int = 0
    """Further refusals."""
    alike: Counter[str] = field(default_factory=Counter)
    """Refusals of each reason that has lines."""
    locked: set[bytes] = field(default_factory=set)
    """Keys of elements that are here and were locked each time."""
    gaps: list[tuple[ElementId, bytes, bool]] = field(default_factory=list)
    """Elements, their predecessors, which may be missing, and whether they are worth nothing then."""

    beginnings: list[tuple[SourceUrl, ElementId, bytes]] = field(default_factory=list)
    """Elements, with their DataUuid, without a predecessor that came after others of their source."""
    followed: set[bytes] = field(default_factory=set)
    """Predecessors that were named: what follows may come first."""

    def note_step(
        self, step: ChainStep, source_url: SourceUrl, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> None:
        """How an element continues its chain, as far as only the end tells more."""
        predecessor, uuid = _if_small(metainfo.predecessor), _if_small(metainfo.data_uuid)
        if predecessor is not None and len(self.followed) < MAX_FOLLOWED:
            self.followed.add(predecessor)
        if step.lacks_predecessor and predecessor is not None and len(self.gaps) < MAX_GAPS:
            self.gaps.append((element_id, predecessor, breaks_chain(source_url, metainfo)))
        if step.begins_anew and uuid is not None and len(self.beginnings) < MAX_GAPS:
            self.beginnings.append((source_url, element_id, uuid))

    def new_chains(self) -> list[tuple[SourceUrl, ElementId]]:
        """The beginnings that nothing followed which came before them."""
        return [(source, element) for source, element, uuid in self.beginnings if uuid not in self.followed]

    def goes_again(self) -> bool:
        """Whether to go through the list once more in this connection.

        Two that offer each other the same elements go in step, and each finds its copies locked: until one of
        them, by chance, has done, and the other has not.
        """
        return not self.locked or random.random() < 0.5

    def has_room_for_line(self, reason: str) -> bool:
        """Whether one more refusal gets its line; counts it."""
        if self.logged >= MAX_LOGGED and reason not in self.alike:
            self.unlogged += 1
            return False
        self.alike[reason] += 1
        if self.alike[reason] > MAX_ALIKE:
            return False
        if self.logged >= MAX_LOGGED:
            self.alike[reason] -= 1
            self.unlogged += 1
            return False
        self.logged += 1
        return True


def _if_small(uuid: bytes | None) -> bytes | None:
    return uuid if uuid is not None and len(uuid) <= MAX_UUID_SIZE else None
