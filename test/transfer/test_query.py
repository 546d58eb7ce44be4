"""Query data comes back as it was meant, and nothing else is understood."""

import json

import pytest

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.query import MAX_PATTERNS, make_source_query, parse_source_query


@pytest.mark.parametrize(("patterns", "since"), [(("/a/*", "/b"), 7), (("/a",), None)])
def test_a_query_is_read_as_it_was_made(patterns, since):
    assert parse_source_query(json.loads(json.dumps(make_source_query(patterns, since)))) == (patterns, since)


def test_no_pattern_means_every_source():
    assert parse_source_query(make_source_query((), 5)) == (("*",), 5)


@pytest.mark.parametrize(
    "data",
    [
        [],
        ["SourceUrl"],
        ["SourceUrl", [], None],
        ["SourceUrl", "/a", None],
        ["SourceUrl", [1], None],
        ["SourceUrl", ["/a"], "1"],
        ["SourceUrl", ["/a"], True],
        ["SourceUrl", ["/a"], 1.5],
        ["SourceUrl", ["/a"], 1, 2],
        ["Other", ["/a"], None],
        ["SourceUrl", ["/a"] * (MAX_PATTERNS + 1), None],
        ["SourceUrl", ["a" * 3000], None],
        [None, None, None],
        [[], {}, []],
    ],
)
def test_other_query_data_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="not understood"):
        parse_source_query(data)
