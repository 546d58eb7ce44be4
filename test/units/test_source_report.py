"""What a unit tells of its sources, and how long a failed one waits."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, StorageError
from guerillabackup.events import SourceFailed, SourceWarning
from guerillabackup.generator.interface import UnitContext
from guerillabackup.generator.retry import Retries
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.units.source_report import MAX_LINES, SourceReport

URL = SourceUrl("/host/a")


@pytest.fixture
def events():
    return []


@pytest.fixture
def make_report(tmp_path, events):
    def make(**changes):
        context = UnitContext(
            "unit",
            {},
            str(tmp_path),
            str(tmp_path),
            MemoryStorage(),
            lambda: 0.0,
            listen=events.append,
            **changes,
        )
        return SourceReport(context, Retries(lambda: 0.0))

    return make


def test_a_failed_source_waits_longer_each_time_until_it_went_well(make_report):
    report = make_report()
    assert [report.fail(URL, StorageError("full")).retry_after for _ in range(3)] == [60, 120, 240]
    assert (report.pause(URL, 40), report.pause(SourceUrl("/host/b"), 40)) == (200, 0)
    report.went_well(URL)
    assert report.pause(URL, 40) == 0
    assert report.fail(URL, StorageError("full")).retry_after == 60


def test_a_failure_is_logged_and_told(make_report, events, caplog):
    error = StorageError("full")
    assert make_report().fail(URL, error).error is error
    assert caplog.messages == ["source /host/a: no backup: full"]
    assert events == [SourceFailed("unit", URL, "full", 60)]


def test_what_the_end_of_the_generator_interrupts_is_no_failure(make_report, events):
    report = make_report(cancelled=lambda: True)
    outcome = report.fail(URL, StorageError("tar was killed"))
    assert isinstance(outcome.error, CancelledError)
    assert str(outcome.error) == "cancelled: tar was killed"
    assert (outcome.retry_after, report.pause(URL, 0), events) == (0, 0, [])


def test_what_was_given_up_is_not_promised_for_the_next_start(make_report, caplog):
    make_report(cancelled=lambda: True).fail(URL, StorageError("tar was killed"))
    assert "after the next start it is made when it is due" in caplog.messages[0]


def test_what_the_end_cannot_be_the_cause_of_is_a_failure_then_too(make_report):
    assert make_report(cancelled=lambda: True).note_failure(URL, StorageError("full")).retry_after == 60


@pytest.mark.parametrize(("count", "last"), [(MAX_LINES, "line 19"), (MAX_LINES + 3, "and 3 more lines")])
def test_of_many_lines_the_rest_is_counted(make_report, events, count, last):
    make_report().warn_of_lines(URL, [f"line {number}" for number in range(count)])
    assert events[MAX_LINES - 1] == SourceWarning("unit", URL, "line 19")
    assert events[-1].message == last
