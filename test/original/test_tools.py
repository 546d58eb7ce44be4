"""JSON with comments, and spans of time as text."""

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.original.tools import jsonLoadWithComments, parseTimeDef


def test_lines_that_begin_with_a_hash_are_no_part_of_the_value(tmp_path):
    (tmp_path / "file").write_text('# a comment\n{"a":\n#1,\n2}\n')
    assert jsonLoadWithComments(str(tmp_path / "file")) == {"a": 2}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6d20H", 590400), ("1m", 2592000), ("2w", 1209600), ("90", 90), ("1M30", 90), ("5s", 5)],
)
def test_a_span_of_time_is_so_many_seconds(text, seconds):
    assert parseTimeDef(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "1x", "1d1d", "1d 2H", "-1d"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(ConfigError, match="is no span of time"):
        parseTimeDef(text)
