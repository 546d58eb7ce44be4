"""What is offered: by the policy's settings, the peer's rules, and what the peer asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.element import BackupElementMetainfo, BackupType
from guerillabackup.errors import RemoteProtocolError
from guerillabackup.storage.interface import ElementFacts
from guerillabackup.transfer.query import make_source_query
from guerillabackup.transfer.sender_selection import (
    ElementSelector,
    SenderQuery,
    parse_query_data,
    takes_handling,
)
from guerillabackup.transfer.sender_settings import SenderSettings

NOW = 1_700_000_000


def facts(
    source: str = "/host/etc", kind: str = "full", age: float = 100, arrived: float = 50
) -> ElementFacts:
    time = int(NOW - age)
    return ElementFacts(f"{source}-x", source, "full", time, b"", None, b"", False, NOW - arrived, 1)


def selector(
    query: SenderQuery | None = None, offered: tuple[str, ...] = ("*",), **settings: object
) -> ElementSelector:
    return ElementSelector(SenderSettings(**settings), offered, query or SenderQuery(), NOW)


def takes(one: ElementSelector, facts: ElementFacts) -> bool:
    return one.takes_source(facts.source_url) and one.takes(facts)


@pytest.mark.parametrize(
    ("settings", "is_taken"),
    [
        ({}, True),
        ({"sources": ("/host/*",)}, True),
        ({"sources": ("/host/etc",)}, True),
        ({"sources": ("/other", "/h*tc")}, True),
        ({"sources": ("/host",)}, False),
        ({"backup_type": BackupType.FULL}, True),
        ({"backup_type": BackupType.INC}, False),
        ({"min_age": 100}, True),
        ({"min_age": 101}, False),
        ({"max_age": 100}, True),
        ({"max_age": 99}, False),
        ({"min_arrival_age": 50}, True),
        ({"min_arrival_age": 51}, False),
        ({"max_arrival_age": 50}, True),
        ({"max_arrival_age": 49}, False),
    ],
)
def test_each_setting_selects(settings, is_taken):
    assert takes(selector(**settings), facts()) is is_taken


def test_what_the_peer_may_have_and_what_it_asks_for_both_hold():
    asked = SenderQuery(("/host/e*", "/x"), NOW - 100)
    assert takes(selector(asked, ("/host/*",)), facts())
    assert not takes(selector(asked, ("/other/*",)), facts())
    assert not takes(selector(SenderQuery(("/x",))), facts())
    assert not takes(selector(SenderQuery(since=NOW - 99)), facts())


@pytest.mark.parametrize(
    ("sources", "listed"),
    [
        (("/host/a/*",), ["/host/a/b", "/host/a/b/c"]),
        (("/host/a",), ["/host/a"]),
        (("/host/?",), ["/host/a", "/host/b"]),
        (("/host/*", "/x"), ["/host/a"]),
        (("*",), ["/x/y"]),
    ],
)
def test_the_listing_is_of_no_fewer_than_are_taken(sources, listed):
    one = selector(sources=sources)
    for source in listed:
        assert one.listing().takes_source(source)


@pytest.mark.parametrize(
    ("has", "lacks", "is_taken"),
    [
        ((), (), True),
        (("offsite", "x"), (), True),
        (("x",), (), False),
        ((), ("x",), True),
        ((), ("offsite",), False),
        (("offsite",), ("encrypted",), False),
    ],
)
def test_handling_policies_select(has, lacks, is_taken):
    values = {"BackupType": "full", "Timestamp": 1, "HandlingPolicy": ["offsite", "encrypted"]}
    settings = SenderSettings(handling_has=frozenset(has), handling_lacks=frozenset(lacks))
    assert takes_handling(settings, BackupElementMetainfo(values)) is is_taken


def test_a_query_names_sources_and_a_time():
    assert parse_query_data(None) == SenderQuery(("*",), None)
    assert parse_query_data(make_source_query(["/host/*", "/x"], 5)) == SenderQuery(("/host/*", "/x"), 5)
    assert parse_query_data(make_source_query([])) == SenderQuery(("*",), None)


@pytest.mark.parametrize("query", [[], 5, "abc", {"a": 1, "b": 2, "c": 3}, ["Colour", ["red"], None]])
def test_any_other_query_is_the_peers_fault(query):
    with pytest.raises(RemoteProtocolError, match="query data"):
        parse_query_data(query)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON | st.lists(st.sampled_from(["SourceUrl", ["/a"], 5, None]), max_size=3))
def test_no_query_raises_anything_else(query):
    error = None
    try:
        parse_query_data(query)
    except RemoteProtocolError as caught:
        error = caught
    assert len(str(error)) < 250


@given(st.text(min_size=1, max_size=40))
def test_no_pattern_of_a_peer_breaks_the_selection(pattern):
    one = selector(parse_query_data(make_source_query([pattern])))
    assert one.takes_source("/host/etc") in (True, False)
    one.listing().starts()


def test_a_pattern_made_to_be_slow_is_not():
    one = selector(parse_query_data(make_source_query(["*a" * 200 + "*b"] * 200)))
    assert not one.takes_source("/" + "a" * 2000)
