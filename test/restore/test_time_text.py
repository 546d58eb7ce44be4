"""The moments that texts mean."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import ConfigError
from guerillabackup.restore.time_text import describe_time, parse_time


@pytest.fixture
def in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(*parts):
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T14:03:05Z", utc(2026, 11, 20, 14, 3, 5)),
        ("2026-11-20 14:03:05Z", utc(2026, 11, 20, 14, 3, 5)),
        ("2026-11-20 14:03Z", utc(2026, 11, 20, 14, 3)),
        ("2026-11-20T14:03:05+02:00", utc(2026, 11, 20, 12, 3, 5)),
        ("2026-11-20T14:03:05-0130", utc(2026, 11, 20, 15, 33, 5)),
        ("20261120140305", utc(2026, 11, 20, 14, 3, 5)),
        ("@1700000000", 1700000000),
        ("@1700000000.5", 1700000000.5),
        (" @0 ", 0),
    ],
)
def test_a_text_with_a_zone_or_without_need_of_one_means_a_moment(text, moment):
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20 14:03", utc(2026, 11, 20, 13, 3)),
        ("2026-11-20 14:03:05", utc(2026, 11, 20, 13, 3, 5)),
        ("2026-07-20 14:03:05", utc(2026, 7, 20, 12, 3, 5)),
        ("2026-11-20", utc(2026, 11, 20, 22, 59, 59)),
        ("2026-03-29", utc(2026, 3, 29, 21, 59, 59)),
    ],
)
def test_what_names_no_zone_is_local_time_and_a_day_is_meant_to_its_end(text, moment, in_berlin):
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30 10:00",
        "10:00",
        "2026-11-20 25:00",
        "@-1",
        "@",
        "@9999999999999",
        "@999999999999",
        "99999999999999",
        "2026-11-20 14:03 CET",
        "9999-12-31",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError):
        parse_time(text)


@pytest.mark.parametrize("text", ["9999-12-31", "2026-01-01T00:00+99:99", "2026-13-01", "20261301000000"])
def test_a_time_that_does_not_exist_is_told_in_plain_words(text):
    with pytest.raises(ConfigError) as caught:
        parse_time(text)
    assert str(caught.value).startswith(f"time {text!r} does not exist: expected a time of the calendar")
    assert "timedelta" not in str(caught.value)


def test_a_moment_is_told_as_local_time_as_utc_and_as_a_number_that_is_understood(in_berlin):
    assert describe_time(1700003600.5) == "2023-11-15 00:13:20 +0100 (2023-11-14 23:13:20Z, @1700003600)"
    assert parse_time("@1700003600") == 1700003600
    assert describe_time(1e15) == "@1000000000000000"


@given(st.text(max_size=30))
def test_any_text_means_a_moment_or_is_refused(text):
    try:
        assert parse_time(text) >= -1e11
    except ConfigError:
        pass
