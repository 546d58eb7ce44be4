"""Which of several ends of a source's chains is the last one: one rule for all that ask. No I/O.

Within a chain the Predecessor decides, which is not looked at here. Between separate chains arrival at the
storage and the elements' own timestamps are compared. Where they agree there is no question. Copying a
storage changes what arrived last; signed timestamps are as they were made, whoever had the elements since,
so they decide then. Others are no reason to believe anything.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar


class Placed(Protocol):
    """What the order of elements needs to know of one; arrival and timestamp in UTC seconds."""

    @property
    def element_id(self) -> Any: ...

    @property
    def timestamp(self) -> int | None: ...

    @property
    def arrival(self) -> float: ...


P = TypeVar("P", bound=Placed)


class Reason(enum.Enum):
    """Why an end is taken for the last one; in doubt none is."""

    AGREED = "arrival and timestamps agree"
    SIGNED = "they do not, and all timestamps are signed"
    DOUBT = "they do not, and not all are signed"


class LastEnd(NamedTuple, Generic[P]):
    """The end that arrived last, the one that is the latest by its own timestamp, and what that comes to."""

    arrived: P
    latest: P
    reason: Reason

    @property
    def best(self) -> P:
        """The last one; in doubt what arrived last, since that nobody can forge who makes elements."""
        return self.latest if self.reason is Reason.SIGNED else self.arrived


def find_last(ends: Sequence[P], is_genuine: Callable[[P], bool]) -> LastEnd[P]:
    """The last of one or more ends; `is_genuine` says whether what one claims is signed, asked if need be."""
    arrived = max(ends, key=lambda end: (end.arrival, end.timestamp or 0, end.element_id))
    latest = max(ends, key=lambda end: (end.timestamp or 0, end.arrival, end.element_id))
    if (latest.timestamp or 0) == (arrived.timestamp or 0):
        return LastEnd(arrived, arrived, Reason.AGREED)
    is_signed = all(is_genuine(end) for end in ends)
    return LastEnd(arrived, latest, Reason.SIGNED if is_signed else Reason.DOUBT)
