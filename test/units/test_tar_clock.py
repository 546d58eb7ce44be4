"""A clock that is set back during a backup, or before the machine is started again, hides no change."""

import json
import math
import os
import time

import pytest
from tar_bench import TarBench

from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.units.tar_clock import ClockReading, RunClock, small_fall, was_set_back
from guerillabackup.units.tar_index import set_time_back

NOON = 1_800_000_000


class LiveBench(TarBench):
    """The clock is the machine's."""

    now = property(lambda self: time.time(), lambda self, seconds: None)


def test_a_clock_set_back_during_a_backup_makes_the_next_one_full(bench):
    readings = iter([1000.0, 1000.0, 1000.0, -2600.0])
    offset = 1000.0

    def read():
        nonlocal offset
        offset = next(readings, offset)
        return ClockAnchor("boot", offset)

    bench.context["read_anchor"] = read
    bench.run()
    assert offset == -2600.0
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 1000.0)  # it was put right again
    bench.run()
    bench.run()
    assert bench.types() == ["full", "full", "inc"]


def test_a_clock_that_is_set_back_before_tar_ends_is_noticed_though_nothing_else_changes(bench):
    """The anchor is that from before tar: the next run finds the clock behind it."""
    bench.run(PreBackupCommand=["/bin/true"])
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 1000.0)
    bench.run()
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 990.0)
    bench.run()
    assert bench.types() == ["full", "inc", "full"]


@pytest.mark.parametrize(
    ("boot", "types"),
    [(NOON - 3000, ["full", "full", "inc"]), (NOON + 60, ["full", "inc", "inc"])],
    ids=["set back before", "only started again"],
)
def test_after_another_start_a_start_before_the_last_backup_tells_of_a_clock_set_back(bench, boot, types):
    bench.context["read_anchor"] = lambda: ClockAnchor("first", 1000.0)
    bench.run()
    bench.context["read_anchor"] = lambda: ClockAnchor("second", float(boot))
    bench.run(wait=100)
    bench.run()
    assert bench.types() == types


def test_what_is_changed_after_a_snapshot_and_before_its_reading_counts_as_changed(tmp_path):
    """PreBackupCommand may make its snapshot at once, and then take its time; it is read after that."""
    bench = LiveBench(tmp_path)
    began = time.time()
    bench.run(PreBackupCommand=["/bin/sleep", "0.1"])
    assert read_time(bench.state / "host-tree.index") < began
    began = time.time()
    bench.run()
    assert read_time(bench.state / "host-tree.index") >= began - 0.02


@pytest.mark.parametrize(
    ("last", "ended", "now", "expected"),
    [
        (ClockAnchor("a", 1000.0), 5000, ClockAnchor("a", 999.0), False),
        (ClockAnchor("a", 1000.0), 5000, ClockAnchor("a", 900.0), True),
        (ClockAnchor("a", 1000.0), 5000, ClockAnchor("b", 5001.0), False),
        (ClockAnchor("a", 1000.0), 5000, ClockAnchor("b", 4000.0), True),
        (ClockAnchor("a", 1000.0), None, ClockAnchor("b", 4000.0), False),
        (None, 5000, ClockAnchor("b", 4000.0), False),
        (ClockAnchor("a", 1000.0), 5000, None, False),
    ],
)
def test_what_is_known_tells_whether_the_clock_was_set_back(last, ended, now, expected):
    assert was_set_back(last, ended, now) is expected


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (ClockAnchor("a", 1000.0), 0),
        (ClockAnchor("a", 999.99), 0),
        (ClockAnchor("a", 999.5), 1),
        (ClockAnchor("a", 998.5), 2),
        (ClockAnchor("a", 1001.0), 0),
        (ClockAnchor("b", 999.0), 0),
        (None, 0),
    ],
)
def test_a_small_fall_is_whole_seconds(now, seconds):
    assert small_fall(ClockAnchor("a", 1000.0), now) == seconds


def test_without_anchors_the_time_itself_tells_of_a_setting_back():
    assert RunClock(ClockReading(100.0, None), 101.0, ClockReading(90.0, None)).went_back
    assert not RunClock(ClockReading(100.0, None), 101.0, ClockReading(99.0, None)).went_back


def test_a_change_within_a_small_fall_of_the_clock_is_in_the_next_backup(bench):
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 1000.0)
    (bench.tree / "file").write_text("first")
    bench.run()
    # The clock falls behind by a second and a half: the next change looks older than the index.
    set_time(bench.state / "host-tree.index", math.floor(time.time()) + 1)
    forget_mark(bench)
    (bench.tree / "file").write_text("changed")
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 998.5)
    bench.run()
    assert bench.types() == ["full", "inc"]
    assert (bench.restore() / "file").read_text() == "changed"


def read_time(path):
    seconds, nanoseconds, *_ = path.read_bytes().split(b"\n", 1)[1].split(b"\0", 2)
    return int(seconds) + int(nanoseconds) / 1e9


def forget_mark(bench):
    """Let the index that a test has changed pass for the one of the last element."""
    path = bench.state / "extras.current"
    extras = json.loads(path.read_text())
    extras["/host/tree"]["Index"] = None
    path.write_text(json.dumps(extras))


def set_time(path, seconds):
    version, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(b"%s\n%d\0" % (version, seconds) + rest.split(b"\0", 1)[1])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"GNU tar-1.34-2\n1700000000\x005\x00rest", b"GNU tar-1.34-2\n1699999990\x005\x00rest"),
        (b"GNU tar-1.34-2\n1000000000\x005\x00rest", b"GNU tar-1.34-2\n0999999990\x005\x00rest"),
        (b"GNU tar-1.34-2\n0\x000\x00", b"GNU tar-1.34-2\n0\x000\x00"),
        (b"1700000000 0\n", b"1700000000 0\n"),
        (b"", b""),
    ],
)
def test_the_time_of_an_index_is_set_back_in_its_place(tmp_path, before, after):
    (tmp_path / "index").write_bytes(before)
    set_time_back(str(tmp_path / "index"), 10)
    assert (tmp_path / "index").read_bytes() == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1700000000\x00123456789\x00", b"1700000000\x00113456789\x00"),
        (b"1700000000\x0010000000\x00", b"1700000000\x0000000000\x00"),
        (b"1700000000\x009999999\x00", b"1699999999\x00999999999\x00"),
        (b"1700000000\x005\x00", b"1699999999\x00990000005\x00"),
    ],
)
def test_the_time_of_an_index_is_set_back_by_parts_of_a_second(tmp_path, before, after):
    header = b"GNU tar-1.34-2\n"
    (tmp_path / "index").write_bytes(header + before + b"rest" * 100)
    set_time_back(str(tmp_path / "index"), 0.01)
    assert (tmp_path / "index").read_bytes() == header + after + b"rest" * 100
    assert os.listdir(tmp_path) == ["index"]


@pytest.mark.parametrize(("is_coarse", "seconds"), [(False, 0.01), (True, 2)])
def test_what_is_changed_right_after_it_was_archived_counts_as_changed(
    bench, monkeypatch, is_coarse, seconds
):
    """The time of a change is that of the last tick, or of less where a file system keeps less."""
    monkeypatch.setattr("guerillabackup.units.tar_element.has_coarse_times", lambda source: is_coarse)
    (bench.tree / "file").write_text("first")
    log = bench.base / "log"
    programs = bench.base / "programs"
    programs.mkdir()
    (programs / "tar").write_text(
        f'#!/bin/sh\nPATH="{os.environ["PATH"]}"\ndate +%s.%N >{log}\nexec tar "$@"\n'
    )
    (programs / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    bench.run()
    started = float(log.read_text())
    assert started - seconds <= read_time(bench.state / "host-tree.index") < time.time() - seconds
