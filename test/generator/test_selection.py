"""Which units are run for which sources."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.interface import SourceRequest
from guerillabackup.generator.selection import (
    LoadedUnit,
    NothingToRunError,
    choose_units,
    find_foreign_sources,
    make_request,
)

ONE, TWO = SourceUrl("/host/one"), SourceUrl("/host/two")


def unit(name, *sources, **values):
    return LoadedUnit(name, sources=sources, **values)


def names(units):
    return [each.name for each in units]


def test_a_source_of_two_units_is_the_first_ones():
    assert find_foreign_sources([unit("A", ONE), unit("B", TWO, ONE)]) == {"A": {}, "B": {ONE: "A"}}


def test_only_the_units_that_have_the_sources_are_chosen():
    units = [unit("A", ONE), unit("B", TWO), LoadedUnit("C")]
    assert names(choose_units(units, (), ())) == ["A", "B", "C"]
    assert names(choose_units(units, (), (TWO,))) == ["B"]
    assert names(choose_units(units, ("A",), (ONE,))) == ["A"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/host/twoo", "there is no source '/host/twoo'; is /host/two"),
        ("/xyz", "there is no source '/xyz'; there are: /host/one, /host/two"),
    ],
)
def test_an_unknown_source_is_told_with_near_ones(text, message):
    with pytest.raises(ConfigError) as error:
        choose_units([unit("A", ONE, TWO)], (), (SourceUrl(text),))
    assert message in str(error.value)


def test_an_unknown_source_is_told_with_the_units_that_could_not_be_loaded():
    with pytest.raises(ConfigError, match="unit B: why"):
        choose_units([unit("A", ONE), LoadedUnit("B", error=ConfigError("why"))], (), (SourceUrl("/x/y"),))


def test_units_without_any_source_are_nothing_to_run():
    with pytest.raises(NothingToRunError, match="unit A has no source"):
        choose_units([unit("A")], (), ())
    assert names(choose_units([unit("A"), LoadedUnit("B")], (), ())) == ["A", "B"]


@pytest.mark.parametrize(
    ("urls", "full", "expected"),
    [
        ((), False, [SourceRequest.WHEN_DUE, SourceRequest.WHEN_DUE]),
        ((), True, [SourceRequest.FULL, SourceRequest.FULL]),
        ((ONE,), False, [SourceRequest.NOW, SourceRequest.NOT_NOW]),
        ((ONE,), True, [SourceRequest.FULL, SourceRequest.NOT_NOW]),
    ],
)
def test_what_is_asked_for_each_source(urls, full, expected):
    request = make_request(urls, full=full)
    assert [request(ONE), request(TWO)] == expected
