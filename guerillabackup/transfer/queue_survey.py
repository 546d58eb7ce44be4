"""What waits in a storage to be sent, and what is only claimed to be elsewhere. No I/O."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer.sender_marks import TRANSFERRED, list_claimed
from guerillabackup.transfer.sender_selection import ElementSelector


@dataclass(frozen=True, slots=True)
class Survey:
    """As JSON values: `queue` for each storage that is sent from, the others for each element."""

    queue: list[dict[str, Any]] = field(default_factory=list)
    claimed: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    broken_chains: list[dict[str, Any]] = field(default_factory=list)


def survey_storage(
    survey: Survey, directory: str, storage: StorageInterface, selectors: Collection[ElementSelector]
) -> None:
    """Add what is in a storage; waiting is what one of the selectors takes and nobody is known to have.

    What is of a source that none of them takes is counted apart: nobody gets it, whenever that may be.
    """
    marked = {element_id for element_id, _ in storage.list_attributes({TRANSFERRED})}
    elements = size = unoffered = 0
    oldest: float | None = None
    for facts in storage.list_facts():
        if facts.element_id in marked or facts.problem is not None:
            continue
        takers = [each for each in selectors if each.takes_source(facts.source_url)]
        if not any(each.takes(facts) for each in takers):
            unoffered += not takers
            continue
        elements += 1
        size += facts.size or 0
        oldest = facts.arrival if oldest is None else min(oldest, facts.arrival)
    survey.queue.append(
        {
            "storage": directory,
            "elements": elements,
            "bytes": size,
            "oldest": oldest,
            "offered_to_nobody": unoffered,
        }
    )
    survey.claimed.extend(
        {
            "element": str(each.element_id),
            "storage": directory,
            "claims": each.claims,
            "sent_to": sorted(each.sent),
        }
        for each in list_claimed(storage)
    )
