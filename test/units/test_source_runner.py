"""Which sources of a unit are run, when, and what one that fails does to the others."""

from dataclasses import dataclass

import pytest

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.generator.interface import SourceOutcome, SourceRequest, UnitContext
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.timing import ClockAnchor, Due
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.units.settings import SourceList
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.source_runner import (
    IDLE_SECONDS,
    EncryptionWarner,
    SourceRunner,
    is_asked_for,
    was_set_back,
)

A, B, C = (SourceUrl(f"/host/{name}") for name in "abc")


@dataclass(frozen=True)
class Source:
    source_url: SourceUrl
    encryption_key: str | None = None


class Bench:
    """A runner of the sources a and b; c is refused. `due` has the seconds, `errors` what fails."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.now = 1000.0
        self.due = {A: 0.0, B: 0.0}
        self.errors = {}
        self.made = []
        self.context = {}

    def open(self):
        context = self.make_context(**self.context)
        listed = SourceList((Source(A), Source(B)), {C: ConfigError("it is wrong")})
        report = SourceReport(context, Retries(lambda: 0.0))
        return SourceRunner(context, report, listed, self.find_due, self.back_up)

    def make_context(self, **changes):
        return UnitContext(
            "unit", {}, self.directory, self.directory, MemoryStorage(), lambda: self.now, **changes
        )

    def find_due(self, source, now):
        return Due(self.due[source.source_url], BackupType.FULL, "it is due")

    def back_up(self, source, due):
        self.made.append(source.source_url)
        if source.source_url in self.errors:
            raise self.errors[source.source_url]
        return SourceOutcome(source.source_url, None)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def errors(outcomes):
    return {str(outcome.source_url): outcome.error and str(outcome.error) for outcome in outcomes}


def test_what_is_due_is_run_whatever_another_one_does(bench):
    bench.errors[A] = StorageError("full")
    assert errors(bench.open().run()) == {"/host/c": "it is wrong", "/host/a": "full", "/host/b": None}


def test_an_error_of_the_system_is_one_of_its_source(bench):
    bench.errors[A] = PermissionError(13, "Permission denied", "/etc/shadow")
    assert "the backup failed: Permission denied" in errors(bench.open().run())["/host/a"]


def test_what_is_no_error_of_ours_stops_the_unit(bench):
    bench.errors[A] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        bench.open().run()


def test_a_source_that_needs_no_element_has_no_outcome(bench):
    bench.back_up = lambda source, due: None
    assert errors(bench.open().run()) == {"/host/c": "it is wrong"}


def test_the_next_time_is_that_of_the_first_source_due(bench):
    bench.due = {A: 500.0, B: 30.0}
    runner = bench.open()
    runner.run()
    assert bench.made == []
    assert runner.seconds_until_due() == 30
    bench.due[B] = 400.0
    assert runner.seconds_until_due() == 60  # what is refused is told again


def test_what_failed_waits_and_is_tried_again(bench):
    runner = bench.open()
    bench.errors[A] = StorageError("full")
    runner.run()
    bench.due[B] = 400.0
    assert runner.seconds_until_due() == 60
    bench.now += 59
    assert runner.run() == []
    bench.now += 1
    bench.errors.clear()
    assert errors(runner.run()) == {"/host/c": "it is wrong", "/host/a": None}


def test_what_is_asked_for_does_not_wait_after_a_failure(bench):
    runner = bench.open()
    bench.errors[A] = StorageError("full")
    runner.run()
    bench.context["get_request"] = lambda url: SourceRequest.NOW
    assert bench.open().seconds_until_due() == 0


def test_what_is_not_wanted_is_not_run_and_not_waited_for(bench):
    wanted = SourceRequest.NOT_NOW
    bench.context["get_request"] = lambda url: wanted
    runner = bench.open()
    assert (runner.run(), bench.made, runner.seconds_until_due()) == ([], [], IDLE_SECONDS)


def test_a_source_of_another_unit_is_refused(bench):
    bench.context["foreign_sources"] = {B: "Other"}
    told = errors(bench.open().run())["/host/b"]
    assert told == "source /host/b is one of unit Other and one of unit unit: take it from one of them"
    assert bench.made == [A]


def test_nothing_is_begun_when_the_generator_ends(bench):
    bench.context["cancelled"] = lambda: B in bench.made or A in bench.made
    assert "/host/b" not in errors(bench.open().run())
    assert bench.made == [A]


def test_what_is_not_encrypted_is_said_once_as_long_as_it_is_the_same(bench, caplog):
    warner = EncryptionWarner(bench.make_context())
    for sources in ([Source(A)], [Source(A)], [Source(A), Source(B)], [Source(A, "key")]):
        warner.warn(sources)
    assert [message.split(" are not ")[0] for message in caplog.messages] == [
        "unit unit: elements of /host/a",
        "unit unit: elements of /host/a, /host/b",
    ]


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (SourceRequest.NOW, True),
        (SourceRequest.FULL, True),
        (SourceRequest.WHEN_DUE, False),
        (SourceRequest.NOT_NOW, False),
    ],
)
def test_who_names_a_source_asks_for_it(bench, request_, asked):
    assert is_asked_for(bench.make_context(get_request=lambda url: request_), A) is asked


def test_the_clock_was_set_back_only_if_both_its_states_are_known(bench):
    before, after = ClockAnchor("boot", 5000.0), ClockAnchor("boot", 100.0)
    context = bench.make_context(read_anchor=lambda: after)
    assert was_set_back(context, before) is True
    assert was_set_back(context, after) is False
    assert was_set_back(context, None) is False
    assert was_set_back(bench.make_context(), before) is False
