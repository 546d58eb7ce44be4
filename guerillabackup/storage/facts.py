"""What a listing of a storage tells of elements, and which it is about; the interface hands it on. No I/O."""

import fnmatch
from typing import NamedTuple

from guerillabackup.element import MEMBERS_SUFFIX, BackupType, SourceUrl
from guerillabackup.errors import SourceUrlError


class ElementFacts(NamedTuple):
    """What a listing tells of an element, as plain values: there may be a hundred thousand.

    Where the metadata cannot be read, `problem` says why, `backup_type` is what the name says, and what only
    the metadata knows is None. Times are UTC seconds.
    """

    element_id: str
    source_url: str
    backup_type: str
    timestamp: int | None
    data_uuid: bytes | None
    predecessor: bytes | None
    checksum: bytes | None
    is_signed: bool | None
    arrival: float
    size: int
    problem: str | None = None


class ElementSelection(NamedTuple):
    """Which elements a listing is about: those that meet every condition that is not None.

    `pattern` is a source, stands for all below it, or matches sources (`*` goes over slashes too).
    `since` and `until` are about the Timestamp, both ends included. What cannot be read meets no condition
    about metadata.
    """

    pattern: str | None = None
    with_members: bool = True
    """The lists of members too, which are sources of their own."""
    since: float | None = None
    until: float | None = None
    backup_type: BackupType | None = None
    data_uuids: frozenset[bytes] | None = None
    is_exact: bool = False
    """The pattern is that one source and nothing else."""

    @classmethod
    def of_source(cls, source_url: SourceUrl) -> "ElementSelection":
        """The elements of exactly one source."""
        return cls(source_url.text, is_exact=True)

    @property
    def asks_metadata(self) -> bool:
        """Whether names alone do not tell."""
        conditions = (self.since, self.until, self.backup_type, self.data_uuids)
        return any(each is not None for each in conditions)

    def takes_source(self, source_url: str) -> bool:
        """Whether elements of that source are meant."""
        name = source_url.rsplit("/", 1)[1]
        if not self.with_members and name.endswith(MEMBERS_SUFFIX) and name != MEMBERS_SUFFIX:
            return False
        if self.pattern is None or source_url == self.pattern:
            return True
        return not self.is_exact and (
            source_url.startswith(self.pattern.rstrip("/") + "/")
            or fnmatch.fnmatchcase(source_url, self.pattern)
        )

    def takes(self, facts: ElementFacts) -> bool:
        """Whether an element of such a source meets the conditions about its metadata."""
        if not self.asks_metadata:
            return True
        time = facts.timestamp
        return (
            time is not None
            and (self.since is None or time >= self.since)
            and (self.until is None or time <= self.until)
            and (self.backup_type is None or facts.backup_type == self.backup_type.value)
            and (self.data_uuids is None or facts.data_uuid in self.data_uuids)
        )

    def starts(self) -> list[tuple[tuple[str, ...], bool]]:
        """The folders to look at, and whether also at all below each."""
        try:
            components = SourceUrl((self.pattern or "").rstrip("/")).components
        except SourceUrlError:
            return [((), True)]
        own = [(components[:-1], False)]
        return own if self.is_exact else [*own, (components, True)]


ALL_ELEMENTS = ElementSelection()
