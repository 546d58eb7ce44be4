"""What a terminal shows of the work, from the events it reports."""

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from guerillabackup.cli.progress import ProgressReporter, RateMeter, show_progress
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.events import (
    ElementStored,
    PipelineProgress,
    RestoreProgress,
    SourceFailed,
    StageProgress,
    TransferEnded,
    TransferProgress,
    VerifyProgress,
    ignore_events,
)

SOURCE = SourceUrl("/host/root")
ELEMENT = ElementId.parse("/host/20231114221320-root-full")
MIB = 1 << 20


@pytest.fixture
def display():
    """A display of our lines that is drawn only when asked."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=4)]
    columns += [TextColumn(f"{{task.fields[{name}]}}") for name in ("amount", "rate", "left")]
    return Progress(*columns, console=console, auto_refresh=False)


def lines(display):
    display.console.file = io.StringIO()
    display.console.print(display.make_tasks_table(display.tasks))
    return [" ".join(line.split()) for line in display.console.file.getvalue().splitlines()]


def progress(seconds, done, expected=100 * MIB):
    stages = (
        StageProgress("tar", -1, done),
        StageProgress("zstd", done, done // 2),
        StageProgress("gpg", done // 2, done // 2),
    )
    return PipelineProgress(SOURCE, seconds, stages, expected)


def test_a_rate_is_that_of_the_last_seconds():
    meter = RateMeter()
    assert meter.rate is None
    for second, count in enumerate([0, 1000, 1000, *range(1000, 3000, 100)]):
        meter.add(float(second), count)
    assert meter.rate == pytest.approx(100)
    assert meter.seconds_left(3400) == pytest.approx(5)
    assert meter.seconds_left(None) is None


def test_a_standstill_has_no_end():
    meter = RateMeter()
    meter.add(0, 5)
    meter.add(1, 5)
    assert (meter.rate, meter.seconds_left(10)) == (0, None)


def test_a_pipeline_shows_rate_and_time_left_for_itself_and_each_stage(display):
    report = ProgressReporter(display)
    report(progress(0.0, 0))
    report(progress(2.0, 20 * MIB))
    shown = lines(display)
    assert [line.split()[0] for line in shown] == ["/host/root", "tar", "zstd", "gpg"]
    assert all(line.endswith("8 s left") for line in shown)
    assert "10.0 MiB/s" in shown[0]
    assert "5.0 MiB/s" in shown[3]


def test_a_transfer_has_one_line_with_what_moves_until_its_end(display):
    now = iter((0.0, 2.0, 4.0))
    report = ProgressReporter(display, lambda: next(now))
    for count, size in enumerate((0, 10 * MIB, 20 * MIB)):
        report(TransferProgress("alpha", count, size, 0, 0, f"/host/element-{count}"))
    (shown,) = lines(display)
    assert shown.startswith("peer alpha: 2 elements, /host/element-2 ")
    assert shown.endswith("20.0 MiB 5.0 MiB/s")
    report(TransferEnded("alpha", None))
    assert lines(display) == []


def test_a_pipeline_of_unknown_length_shows_no_time_left(display):
    report = ProgressReporter(display)
    report(progress(0.0, 0, None))
    report(progress(1.0, 5 * MIB, None))
    assert not any("left" in line for line in lines(display))


@pytest.mark.parametrize(
    "end",
    [ElementStored("unit", ELEMENT, 1, 1, 1.0), SourceFailed("unit", SOURCE, "no", 60)],
)
def test_a_source_that_has_ended_is_shown_no_more(display, end):
    report = ProgressReporter(display)
    report(progress(0.0, 0))
    report(end)
    assert display.tasks == []


@pytest.mark.parametrize("kind", [VerifyProgress, RestoreProgress])
def test_verifying_and_restoring_show_how_far_they_are(display, kind):
    times = iter([0.0, 1.0, 2.0])
    report = ProgressReporter(display, clock=lambda: next(times))
    report(kind(ELEMENT, 0, 4 * MIB))
    report(kind(ELEMENT, MIB, 4 * MIB))
    (line,) = lines(display)
    assert str(ELEMENT) in line
    assert line.endswith("1.0 MiB 1.0 MiB/s 3 s left")
    report(kind(ELEMENT, 4 * MIB, 4 * MIB))
    assert display.tasks == []


def test_more_than_was_expected_is_no_error(display):
    report = ProgressReporter(display)
    report(progress(0.0, 0, MIB))
    report(progress(1.0, 2 * MIB, MIB))
    report(progress(2.0, 0, 0))
    assert display.tasks


def test_without_a_terminal_nobody_listens():
    with show_progress(False) as listen:
        assert listen is ignore_events


def test_on_a_terminal_nothing_is_left_when_the_work_is_done():
    with show_progress(True) as listen:
        listen(progress(0.0, 0))
        assert isinstance(listen, ProgressReporter)
