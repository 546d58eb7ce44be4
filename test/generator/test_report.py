"""What the service says of itself: the last results, what failed since when, and one line for systemd."""

import pytest

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.events import PipelineProgress, SourceStarted, StageProgress
from guerillabackup.generator.activity import Activity
from guerillabackup.generator.interface import SourceOutcome, SourceState
from guerillabackup.generator.outcome import RunOutcome, UnitOutcome, describe_outcome
from guerillabackup.generator.report import Reporter
from guerillabackup.generator.schedule import EndKind, Schedule, UnitPlan
from guerillabackup.generator.selection import LoadedUnit

GOOD, BAD, LATE = (SourceUrl(f"/host/{name}") for name in ("good", "bad", "late"))
ELEMENT = ElementId.parse("/host/20261121155214-good-full")


def outcome(*errors, error=None, skipped=None):
    sources = (SourceOutcome(GOOD, ELEMENT), *(SourceOutcome(BAD, None, item, 60) for item in errors))
    return UnitOutcome("A", () if error or skipped else sources, error, skipped, not (error or skipped))


@pytest.fixture
def schedule():
    made = Schedule(2)
    made.load({"A": UnitPlan(None, 100.0), "B": UnitPlan("its file is wrong", 100.0)}, 0.0)
    return made


def loaded():
    return {"A": LoadedUnit("A", sources=(GOOD, BAD)), "B": LoadedUnit("B", error=ConfigError("wrong"))}


def status(reporter, schedule, activities=None, now=0.0):
    return reporter.describe_status(schedule.views(now), activities or {}, 1000.0 + now)


def test_a_source_has_failed_since_the_first_failure_until_it_goes_well(schedule):
    reporter = Reporter()
    reporter.note(outcome(StorageError("first")), 1000.0)
    reporter.note(outcome(StorageError("second")), 2000.0)
    failed = {"unit": "A", "source": "/host/bad", "error": "second", "since": 1000.0}
    assert failed in status(reporter, schedule)["failed"]
    unit = reporter.list_units(schedule.views(0.0), loaded(), 3000.0)[0]
    assert [source["source"] for source in unit["sources"]] == ["/host/bad", "/host/good"]
    assert unit["sources"][1]["element"] == str(ELEMENT)
    assert (unit["sources"][1]["stored_at"], unit["last_run"], unit["next"]) == (2000.0, 2000.0, 3000.0)
    well = UnitOutcome("A", (SourceOutcome(BAD, ELEMENT),), was_invoked=True)
    reporter.note(well, 3000.0)
    assert [problem["unit"] for problem in status(reporter, schedule)["failed"]] == ["B"]


def test_a_source_is_due_as_its_unit_says_but_not_before_that_is_looked_at(schedule):
    reporter = Reporter()
    states = {GOOD: SourceState(5000.0), BAD: SourceState(0.0, has_failed=True)}
    run = UnitOutcome("A", (SourceOutcome(GOOD, ELEMENT),), was_invoked=True, next_in=600.0, states=states)
    schedule.next_start(0.0)
    schedule.end("A", EndKind.DONE, 600.0, 0.0, 0.0)
    reporter.note(run, 1000.0)
    unit = reporter.list_units(schedule.views(0.0), loaded(), 1000.0)[0]
    assert {source["source"]: source["next"] for source in unit["sources"]} == {
        "/host/good": 6000.0,
        "/host/bad": 1600.0,
    }
    assert unit["next"] == 1600.0
    assert status(reporter, schedule)["next"] == {"unit": "A", "at": 1600.0}
    schedule.next_start(600.0)  # while it runs, what is due now has no time
    unit = reporter.list_units(schedule.views(600.0), loaded(), 1600.0)[0]
    assert [source["next"] for source in unit["sources"]] == [None, 6000.0]


def test_what_is_broken_has_no_next_time(schedule):
    reporter = Reporter()
    reporter.note(UnitOutcome("A", was_invoked=True, states={GOOD: SourceState(5000.0)}), 1000.0)
    schedule.load({"A": UnitPlan("its file is wrong", 100.0)}, 0.0)
    (unit,) = reporter.list_units(schedule.views(0.0), loaded(), 1000.0)
    assert [source["next"] for source in (unit, *unit["sources"])] == [None, None, None]


def test_a_failure_goes_when_its_unit_says_that_nothing_fails_any_more(schedule):
    reporter = Reporter()
    reporter.note(outcome(StorageError("damaged")), 1000.0)
    fails_on, gone = {BAD: SourceState(has_failed=True)}, {GOOD: SourceState()}
    for states, only, failing in ((fails_on, (), 1), (gone, (GOOD,), 1), (gone, (BAD,), 0)):
        reporter.note(UnitOutcome("A", was_invoked=True, states=states), 2000.0, only=only)
        failed = [problem for problem in status(reporter, schedule)["failed"] if problem["unit"] == "A"]
        assert len(failed) == failing
    named = {"A": LoadedUnit("A", sources=(GOOD,))}
    unit = reporter.list_units(schedule.views(0.0), named, 3000.0)[0]
    assert [source["source"] for source in unit["sources"]] == ["/host/good"]


def test_what_waits_is_told_with_the_reason_and_since_when(schedule):
    reporter = Reporter()
    for now in (1000.0, 2000.0):
        states = {GOOD: SourceState(waits_for=f"open by process {now:.0f}")}
        reporter.note(UnitOutcome("A", was_invoked=True, states=states), now)
    reporter.note(outcome(skipped="the load is 9"), 3000.0)
    reporter.note(outcome(skipped="the load is 8"), 4000.0)
    told = status(reporter, schedule)
    assert told["waiting"] == [
        {"unit": "A", "source": "/host/good", "reason": "open by process 2000", "since": 1000.0}
    ]
    assert told["skipped"] == [{"unit": "A", "reason": "the load is 8", "since": 3000.0}]
    reporter.note(UnitOutcome("A", was_invoked=True, states={}), 5000.0)
    told = status(reporter, schedule)
    assert (told["waiting"], told["skipped"]) == ([], [])


@pytest.mark.parametrize("is_stored_first", [True, False])
def test_a_source_of_which_one_file_failed_has_failed_whatever_else_was_stored(schedule, is_stored_first):
    reporter = Reporter()
    stored, failed = SourceOutcome(BAD, ELEMENT), SourceOutcome(BAD, None, StorageError("unreadable"), 60)
    for now in (1000.0, 2000.0):
        sources = (stored, failed) if is_stored_first else (failed, stored)
        reporter.note(UnitOutcome("A", sources, was_invoked=True), now)
    problem = {"unit": "A", "source": "/host/bad", "error": "unreadable", "since": 1000.0}
    assert problem in status(reporter, schedule)["failed"]
    source = reporter.list_units(schedule.views(0.0), loaded(), 3000.0)[0]["sources"][0]
    assert (source["element"], source["stored_at"]) == (str(ELEMENT), 2000.0)


def test_a_unit_that_fails_as_a_whole_has_failed_since_the_first_time(schedule):
    reporter = Reporter()
    for now in (1000.0, 2000.0):
        reporter.note(outcome(error=StorageError("full")), now)
    assert status(reporter, schedule)["failed"] == [
        {"unit": "A", "source": None, "error": "full", "since": 1000.0},
        {"unit": "B", "source": None, "error": "its file is wrong", "since": None},
    ]
    assert reporter.summarize(schedule.views(0.0)) == "2 units; failed: A, B"


def test_what_was_not_due_is_no_run_and_what_was_skipped_says_why(schedule):
    reporter = Reporter()
    reporter.note(outcome(skipped="the load is 9"), 1000.0)
    reporter.note(UnitOutcome("A", next_in=77.0), 2000.0)
    unit = reporter.list_units(schedule.views(0.0), loaded(), 3000.0)[0]
    assert (unit["last_run"], unit["skipped"]) == (1000.0, "the load is 9")


def test_what_runs_is_shown_with_how_far_it_is(schedule):
    schedule.ask("A", (), False, 0.0)
    assert schedule.next_start(10.0).unit_name == "A"
    activity = Activity(10.0)
    activity.note(SourceStarted("A", GOOD, "full"), 11.0)
    stages = (StageProgress("tar", -1, 500), StageProgress("zstd", 500, 100))
    activity.note(PipelineProgress(GOOD, 1.0, stages, 2000), 12.0)
    assert activity.alive_at == 12.0
    (run,) = status(Reporter(), schedule, {"A": activity}, 15.0)["running"]
    assert (run["unit"], run["source"], run["seconds"]) == ("A", "/host/good", 5.0)
    assert (run["bytes"], run["expected"], len(run["stages"])) == (500, 2000, 2)
    activity.note(SourceStarted("A", LATE, "full"), 16.0)
    assert activity.describe()["bytes"] is None


def test_a_source_that_was_not_known_before_is_known_after_its_first_run(schedule):
    reporter = Reporter()
    unit = LoadedUnit("A", sources=None)
    assert reporter.with_known_sources(unit) is unit
    reporter.note(outcome(), 1000.0)
    assert list(reporter.with_known_sources(unit).sources) == [GOOD]
    assert [
        item["source"] for item in reporter.list_units(schedule.views(0.0), {"A": unit}, 0.0)[0]["sources"]
    ]


def test_after_the_files_were_read_anew_nothing_of_a_unit_that_is_gone_is_remembered(schedule):
    reporter = Reporter()
    reporter.note(outcome(StorageError("full")), 1000.0)
    reporter.keep_only({}, loaded())
    assert reporter.list_units(schedule.views(0.0), {}, 0.0)[0]["last_run"] is None
    assert [problem["unit"] for problem in status(reporter, schedule)["failed"]] == ["B"]


def test_what_failed_has_failed_until_it_was_tried_also_when_the_files_were_read_anew(schedule):
    reporter = Reporter()
    reporter.note(outcome(StorageError("full")), 1000.0)
    failed = {"unit": "A", "source": "/host/bad", "error": "full", "since": 1000.0}
    reporter.keep_only(loaded(), loaded())
    assert failed in status(reporter, schedule)["failed"]
    reporter.note(UnitOutcome("A", (SourceOutcome(GOOD, ELEMENT),), was_invoked=True), 2000.0, only=(GOOD,))
    reporter.note(UnitOutcome("A", next_in=7.0), 2000.0)
    reporter.note(outcome(error=StorageError("not mounted")), 2500.0)
    reporter.note(outcome(StorageError("full")), 3000.0)
    assert failed in status(reporter, schedule)["failed"]
    reporter.keep_only(loaded(), loaded())
    reporter.note(UnitOutcome("A", was_invoked=True), 4000.0)
    assert failed["source"] not in [problem["source"] for problem in status(reporter, schedule)["failed"]]


def test_sources_that_the_settings_do_not_name_any_more_are_forgotten(schedule):
    reporter = Reporter()
    reporter.note(outcome(StorageError("full")), 1000.0)
    found, again, changed = (
        {"A": LoadedUnit("A", configuration={"Key": key, "Condition": object()}, sources=(GOOD,))}
        for key in (1, 1, 2)
    )

    def shown(units):
        return [item["source"] for item in reporter.list_units(schedule.views(0.0), units, 0.0)[0]["sources"]]

    reporter.keep_only(again, found)
    assert shown(again) == ["/host/bad", "/host/good"]
    reporter.keep_only(changed, again)
    assert shown(changed) == ["/host/good"]
    assert [problem["unit"] for problem in status(reporter, schedule)["failed"]] == ["B"]
    reporter.note(outcome(), 2000.0)


def test_why_a_unit_was_skipped_is_forgotten_when_the_files_were_read_anew(schedule):
    reporter = Reporter()
    reporter.note(outcome(skipped="the load is 9"), 1000.0)
    reporter.keep_only(loaded(), loaded())
    assert reporter.list_units(schedule.views(0.0), loaded(), 0.0)[0]["skipped"] is None


def test_hung_units_and_what_is_next_are_told(schedule):
    schedule.next_start(0.0)
    schedule.find_stalled(100.0)
    reporter = Reporter()
    assert status(reporter, schedule, now=100.0)["hung"] == ["A"]
    assert status(reporter, schedule, now=100.0)["next"] is None
    assert reporter.summarize(schedule.views(100.0)) == "2 units; hung: A; failed: B"
    schedule.end("A", EndKind.NOT_DUE, 50.0, 100.0, 0.0)
    assert status(reporter, schedule, now=110.0)["next"] == {"unit": "A", "at": 1150.0}


def test_an_outcome_says_whether_only_keys_were_the_reason():
    described = describe_outcome(outcome(StorageError("full")))
    assert [source["error"] for source in described["sources"]] == [None, "full"]
    assert described["only_keys_failed"] is False
    assert RunOutcome((outcome(StorageError("full")),), ()).errors[0].args == ("full",)
