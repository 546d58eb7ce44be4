"""The settings that sources of every unit have."""

from dataclasses import dataclass

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.units.settings import (
    find_unencrypted,
    parse_absolute_path,
    parse_command,
    parse_flag,
    parse_key,
    parse_policy,
    parse_settings,
    parse_texts,
    parse_urls,
    split_by_source,
)

PARSERS = {"Policy": ("policy", parse_policy), "Flag": ("flag", parse_flag)}


@dataclass(frozen=True)
class Source:
    source_url: SourceUrl
    encryption_key: str | tuple[str, ...] | None = None


def test_every_setting_that_is_wrong_is_told_of():
    values, problems = parse_settings({"Policy": "a b", "Flag": 1, "Polcy": "x", "Else": 2}, PARSERS)
    assert values == {"policy": "a b"}
    assert problems == [
        "unknown setting 'Polcy'; is Policy meant?",
        "unknown setting 'Else'; there are Policy, Flag",
        "Flag: 1 is neither True nor False",
    ]


def test_a_setting_of_none_is_not_set():
    assert parse_settings({"Policy": None}, PARSERS) == ({}, [])


def test_every_key_that_is_no_source_is_told_of():
    urls, problems = parse_urls({"/host/a": 1, "host": 2, "/host/a/": 3, 5: 4})
    assert urls == [SourceUrl("/host/a")]
    assert len(problems) == 3
    assert "'/host/a/' has the component ''" in problems[1]


WRONG_KEYS = ["/host/a/", "host", 5, "/host/" + "x" * 231, None, ""]


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_that_is_no_source_keeps_no_other_from_being_used(key):
    listed = split_by_source({"/host/a": {}, key: {}}, "List", lambda url, settings: Source(url))
    assert listed.sources == (Source(SourceUrl("/host/a")),)
    assert listed.list_urls() == [SourceUrl("/host/a")]
    ((label, error),) = listed.refusals("unit").items()
    assert label == SourceUrl("/unit")
    with pytest.raises(ConfigError) as caught:
        listed.check()
    assert caught.value.problems == error.problems


def test_a_unit_of_wrong_keys_only_is_none_without_sources():
    listed = split_by_source({"host": {}}, "List", lambda url, settings: Source(url))
    assert listed.list_urls() is None
    assert split_by_source({}, "List", lambda url, settings: Source(url)).list_urls() == []


def test_wrong_keys_are_told_under_no_name_that_a_source_has():
    listed = split_by_source({"/unit": {}, "unit": {}}, "List", lambda url, settings: Source(url))
    assert [url.text for url in listed.refusals("unit")] == ["/unit-"]


def test_a_source_with_the_name_of_a_list_of_members_is_refused():
    listed = split_by_source({"/a.members": {}, "/a": {}}, "List", lambda url, settings: Source(url))
    assert [url.text for url in listed.refused] == ["/a.members"]
    assert listed.list_urls() == [SourceUrl("/a"), SourceUrl("/a.members")]


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (parse_texts, "one"),
        (parse_texts, ["one", 2]),
        (parse_texts, ["NUL \0"]),
        (parse_command, []),
        (parse_command, [""]),
        (parse_absolute_path, "relative"),
        (parse_absolute_path, "/with\0"),
        (parse_flag, 0),
        (parse_policy, "with_underscore"),
        (parse_policy, 7),
        (parse_key, ""),
        (parse_key, ["one", ""]),
        (parse_key, []),
    ],
)
def test_what_a_value_cannot_be_is_refused(parse, value):
    with pytest.raises(ConfigError):
        parse(value)


def test_values_are_kept_in_a_form_that_cannot_change():
    assert parse_command(["cat", "-v"]) == ("cat", "-v")
    assert parse_key(["one", "two"]) == ("one", "two")
    assert parse_key("one") == "one"


def test_sources_that_are_not_encrypted_are_named():
    sources = [Source(SourceUrl(f"/host/{number}")) for number in range(5)]
    sources.append(Source(SourceUrl("/host/own"), "mine"))
    assert "elements of /host/0, /host/1, /host/2 and 2 more are not" in find_unencrypted(sources, {})
    assert find_unencrypted(sources, {"GeneralDefaultEncryptionElement": object()}) is None
    assert find_unencrypted(sources[5:], {}) is None
