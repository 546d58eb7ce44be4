"""How values look to a reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.cli.format import (
    align,
    count_of,
    fit,
    human_rate,
    human_size,
    human_span,
    human_time,
    plain,
    printable,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102 * 1024, "102 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_sizes_have_a_binary_unit(size, text):
    assert human_size(size) == text


def test_a_long_cell_widens_no_other_line_beyond_a_limit():
    rows = [("a", "b", "c"), ("aa", "b" * 9, "c")]
    assert align(rows, 4) == ["a   b     c", "aa  bbbbbbbbb  c"]
    assert align(rows)[0] == "a   b          c"


def test_rates_are_sizes_a_second():
    assert human_rate(2 * 1024**2) == "2.0 MiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (100 * 60, "1 h 40 min"),
        (86400 + 7200, "1 d 2 h"),
    ],
)
def test_spans_have_their_two_largest_units(seconds, text):
    assert human_span(seconds) == text


def test_times_are_utc():
    assert human_time(1_700_000_000) == "2023-11-14 22:13:20Z"


@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (b"\x01\xff", "01ff"),
        ([], "-"),
        (["a", 1], "a, 1"),
        ({"a": None}, "a=-"),
        ("\x1b", "\\x1b"),
    ],
)
def test_values_are_plain_words(value, text):
    assert plain(value) == text


def test_columns_stand_below_one_another_without_blanks_at_the_end():
    assert align([("a", "bb", "c"), ("aaa", "b", ""), ("a",)]) == ["a    bb  c", "aaa  b", "a"]
    assert align([]) == []


def test_one_thing_is_counted_in_the_singular():
    assert [count_of(count, "finding") for count in (0, 1, 2)] == ["0 findings", "1 finding", "2 findings"]


def test_a_table_fits_by_parting_the_widest_cells_at_spaces():
    rows = [("NAME", "ABOUT"), ("one", "a text of several words"), ("two", "x" * 14)]
    assert fit(rows, 20) == [
        "NAME  ABOUT",
        "one   a text of",
        "      several words",
        "two   " + "x" * 14,
    ]
    assert fit(rows, 80) == align(rows)
    assert fit([("A", "B"), ("x" * 14, "y z")], 1) == ["A               B", f"{'x' * 14}  y", " " * 16 + "z"]
    assert fit([("A", "B", "C"), ("", "", "")], 1) == ["A  B  C", ""]
