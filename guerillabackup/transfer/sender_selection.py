"""Which elements are offered to a peer: by the policy, by what it may have, by what it asked for. No I/O."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import RemoteProtocolError, SourceUrlError
from guerillabackup.storage.interface import ALL_ELEMENTS, ElementFacts, ElementSelection
from guerillabackup.transfer.interface import QueryData
from guerillabackup.transfer.query import parse_source_query
from guerillabackup.transfer.sender_settings import SenderSettings

ANY = ("*",)


@dataclass(frozen=True, slots=True)
class SenderQuery:
    """What a peer asked for: elements of sources that match one of the patterns, not older than `since`."""

    sources: tuple[str, ...] = ANY
    since: int | None = None


def parse_query_data(query_data: QueryData) -> SenderQuery:
    """What a peer asked for; RemoteProtocolError for what this policy does not know."""
    if query_data is None:
        return SenderQuery()
    if not isinstance(query_data, list | tuple):
        raise RemoteProtocolError(f"query data is a {type(query_data).__name__}, not a list")
    return SenderQuery(*parse_source_query(query_data))


class ElementSelector:
    """Tells what is offered; used for one listing, since it remembers every source it was asked about."""

    def __init__(
        self, settings: SenderSettings, offered_sources: tuple[str, ...], query: SenderQuery, now: float
    ) -> None:
        self._groups = (settings.sources, offered_sources, query.sources)
        self._matchers = [_matcher(group) for group in self._groups if "*" not in group]
        self._sources: dict[str, bool] = {}
        self._type = None if settings.backup_type is None else settings.backup_type.value
        self._since = _latest(query.since, None if settings.max_age is None else now - settings.max_age)
        self._until = None if settings.min_age is None else now - settings.min_age
        self._arrival_since = None if settings.max_arrival_age is None else now - settings.max_arrival_age
        self._arrival_until = None if settings.min_arrival_age is None else now - settings.min_arrival_age

    def listing(self) -> ElementSelection:
        """What the storage has to list: all that may be taken, and as little else as it can tell apart."""
        for group in self._groups:
            if len(group) == 1 and group != ANY:
                (pattern,) = group
                return ElementSelection(pattern[:-2] if _is_all_below(pattern) else pattern)
        return ALL_ELEMENTS

    def takes_source(self, source_url: str) -> bool:
        """Whether elements of the source are offered at all."""
        try:
            return self._sources[source_url]
        except KeyError:
            taken = all(matches(source_url) for matches in self._matchers)
            self._sources[source_url] = taken
            return taken

    def takes(self, facts: ElementFacts) -> bool:
        """Whether the element is offered, as far as its facts tell."""
        return (
            self._type in (None, facts.backup_type)
            and _is_within(facts.timestamp, self._since, self._until)
            and _is_within(facts.arrival, self._arrival_since, self._arrival_until)
        )


def takes_handling(settings: SenderSettings, metainfo: BackupElementMetainfo) -> bool:
    """Whether the element's HandlingPolicy is one that is offered."""
    if not settings.handling_has and not settings.handling_lacks:
        return True
    own = set(metainfo.handling_policy)
    has = not settings.handling_has or not own.isdisjoint(settings.handling_has)
    return has and own.isdisjoint(settings.handling_lacks)


def matches_any(patterns: Iterable[str], source_url: str) -> bool:
    """Whether a source URL is one of those that the patterns mean."""
    return any(fnmatch.fnmatchcase(source_url, pattern) for pattern in patterns)


def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    compiled = [re.compile(fnmatch.translate(pattern)) for pattern in patterns]
    return lambda source_url: any(each.match(source_url) is not None for each in compiled)


def _is_within(time: float | None, since: float | None, until: float | None) -> bool:
    if since is None and until is None:
        return True
    return time is not None and (since is None or time >= since) and (until is None or time <= until)


def _latest(*times: float | None) -> float | None:
    return max((time for time in times if time is not None), default=None)


def _is_all_below(pattern: str) -> bool:
    """Whether the pattern is a source's URL and `/*`."""
    try:
        return pattern.endswith("/*") and bool(SourceUrl(pattern[:-2]))
    except SourceUrlError:
        return False
