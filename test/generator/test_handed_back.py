"""What a unit of a site's own hands back is what the interface says, or an error of that unit."""

import math

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError, StorageError
from guerillabackup.generator.handed_back import (
    MAX_SECONDS,
    MAX_TEXT,
    bounded,
    check_outcomes,
    check_seconds,
    check_sources,
    check_states,
    describe_error,
)
from guerillabackup.generator.interface import SourceOutcome, SourceState

URL = SourceUrl("/host/a")


class SilentError(Exception):
    def __str__(self):
        raise RuntimeError("of its own")


def test_an_error_is_described_whatever_its_own_code_does():
    assert describe_error(ValueError("wrong")) == "ValueError: wrong"
    assert describe_error(SilentError()) == "SilentError, which does not say what it is about"
    assert len(describe_error(ValueError("x" * 10**6))) < MAX_TEXT + 100


def test_an_error_of_ours_is_the_same_unless_it_is_too_long():
    error = KeyUnusableError("expired")
    assert bounded(error) is error
    assert len(str(bounded(StorageError("x" * 10**6)))) < MAX_TEXT + 100


def test_outcomes_pass_with_texts_of_a_bounded_length():
    (outcome,) = check_outcomes([SourceOutcome(URL, None, StorageError("x" * 10**6), 60, ["y" * 10**6])])
    assert (outcome.source_url, outcome.retry_after) == (URL, 60)
    assert max(len(str(outcome.error)), len(outcome.remarks[0])) < MAX_TEXT + 100


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        [None],
        [SourceOutcome("/host/a", None)],
        [SourceOutcome(URL, "element")],
        [SourceOutcome(URL, None, "error")],
        [SourceOutcome(URL, None, None, "soon")],
        [SourceOutcome(URL, None, None, 0, None)],
    ],
)
def test_outcomes_of_another_form_are_refused(given):
    with pytest.raises(ConfigError, match=r"handed back a .* where .*SourceOutcome is wanted"):
        check_outcomes(given)


def test_states_pass_within_what_a_clock_has():
    assert check_states({URL: SourceState(math.inf, 1, None)}) == {URL: SourceState(MAX_SECONDS, True, None)}
    assert check_states(None) is None


@pytest.mark.parametrize("given", [5, {URL: None}, {"/host/a": SourceState()}, {URL: SourceState("soon")}])
def test_states_of_another_form_are_refused(given):
    with pytest.raises(ConfigError):
        check_states(given)


@pytest.mark.parametrize("given", [5, "/host/a", [None], [{}]])
def test_sources_of_another_form_are_refused(given):
    with pytest.raises(ConfigError, match="list_sources handed back a "):
        check_sources(given)


def test_sources_pass():
    assert check_sources([URL]) == (URL,)
    assert check_sources(None) is None


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(-1, 0), (7, 7), (math.inf, MAX_SECONDS), (10**400, MAX_SECONDS)],
)
def test_seconds_are_bounded(given, seconds):
    assert check_seconds(given) == seconds
