"""Query data that both ends of ours know: elements of some sources, no older than a time. No I/O.

On the wire `["SourceUrl", [pattern, ...], since]`: patterns match whole source URLs as fnmatch does, `since`
is UTC seconds or null.
"""

from collections.abc import Sequence
from typing import Any

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.json_text import excerpt

SOURCE_QUERY = "SourceUrl"
MAX_PATTERNS = 200
MAX_PATTERN_LENGTH = 512
"""Characters. A peer chooses the patterns, and what they cost is the sender's time."""


def make_source_query(patterns: Sequence[str], since: int | None = None) -> list[Any]:
    """Query data for elements of matching sources, of `since` or later; no pattern: of all."""
    return [SOURCE_QUERY, list(patterns) or ["*"], since]


def parse_source_query(query_data: Sequence[Any]) -> tuple[tuple[str, ...], int | None]:
    """Patterns and time of such query data; RemoteProtocolError for any other."""
    kind, patterns, since = query_data if len(query_data) == 3 else (None, None, None)
    is_known = (
        kind == SOURCE_QUERY
        and isinstance(patterns, list | tuple)
        and 0 < len(patterns) <= MAX_PATTERNS
        and all(isinstance(one, str) and len(one) <= MAX_PATTERN_LENGTH for one in patterns)
        and (since is None or (isinstance(since, int) and not isinstance(since, bool)))
    )
    if not is_known or patterns is None:
        raise RemoteProtocolError(
            f"query data of {len(query_data)} items, which begin with {excerpt(query_data[:1])}, is not "
            f"understood; known is [{SOURCE_QUERY!r}, patterns, time]"
        )
    return tuple(patterns), since
