"""Whole runs of a LogfileBackupUnit: what is stored, what is removed, what is left and why."""

import bz2
import gzip
import json
import lzma
import os
import subprocess

import pytest
from log_bench import OLD, ROTATED, LogBench, errors

from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, ConfigError, StateError
from guerillabackup.events import ElementStored, PipelineProgress, SourceFailed, SourceStarted
from guerillabackup.generator.interface import SourceRequest
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.units.logfile import LogfileBackupUnit


@pytest.fixture
def bench(tmp_path):
    return LogBench(tmp_path)


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, check=True, capture_output=True).stdout


# What is stored.


def test_rotated_files_become_elements_the_oldest_first_and_are_removed(bench):
    bench.log("app.log", "live")
    for number in (1, 2, 9, 10):
        bench.log(f"app.log.{number}", f"{number}", age=-number)
    outcomes = bench.run()
    assert bench.contents() == [b"10", b"9", b"2", b"1"]
    assert [str(outcome.element_id) for outcome in outcomes] == [str(item["id"]) for item in bench.chain()]
    assert bench.names() == ["app.log"]
    assert not os.listdir(bench.base / "spool").count(".partial")


def test_an_element_is_full_and_has_the_time_and_kind_of_its_file(bench):
    bench.log("app.log.1", "one", age=5)
    bench.run([(*bench.entry(url=None)[:3], "keep", None)])
    (element,) = bench.chain()
    assert element["BackupType"] == "full"
    assert element["Timestamp"] == OLD + 5
    assert element["ContentType"] == "log-file"
    assert element["HandlingPolicy"] == ["keep"]


def test_a_chain_goes_on_from_run_to_run(bench):
    for number in range(3):
        bench.log("app.log.1", f"{number}", age=number)
        bench.run()
    assert bench.contents() == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)],
)
def test_compressed_files_are_stored_plain(bench, suffix, compress):
    bench.log(f"app.log.1.{suffix}", compress(b"plain" * 1000))
    bench.run()
    assert bench.contents() == [b"plain" * 1000]
    assert bench.names() == []


def test_what_the_configuration_says_is_done_with_the_plain_log(bench):
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("bzip2")
    bench.configuration["GeneralDefaultEncryptionElement"] = OSProcessPipelineElement("tr", ["tr", "x", "x"])
    bench.log("app.log.1.gz", gzip.compress(b"plain"))
    bench.run()
    assert [bz2.decompress(content) for content in bench.contents()] == [b"plain"]
    (stored,) = (event for event in bench.events if isinstance(event, ElementStored))
    assert stored.content_size == 5
    kinds = {type(event) for event in bench.events}
    assert kinds >= {SourceStarted, PipelineProgress}


def test_an_empty_log_is_an_element_like_others(bench):
    bench.log("app.log.1", "")
    bench.run()
    assert bench.contents() == [b""]
    assert bench.names() == []


def test_more_files_than_a_group_holds_make_one_chain(bench):
    for number in range(50):
        bench.log(f"app.log.{number}", f"{number}")
        bench.log(f"web.log.{number}", f"web {number}")
    assert len(bench.run()) == 100
    assert bench.contents() == [b"%d" % number for number in reversed(range(50))]
    assert len(bench.contents("web.log")) == 50
    assert bench.names() == []


def test_dates_sort_as_serials_and_several_entries_are_taken(bench):
    for date in ("2024-01-10", "2024-01-09", "2023-12-31"):
        bench.log(f"catalina.{date}.log", date)
    bench.log("catalina.out.1", "out")
    entries = [
        bench.entry(r"^(catalina\.out)\.(?P<oldserial>[0-9]+)$", None),
        bench.entry(r"^(catalina)\.(?P<serial>[0-9-]{10})\.log$", "catalina.log"),
    ]
    bench.run(entries)
    assert bench.contents("catalina.log") == [b"2023-12-31", b"2024-01-09", b"2024-01-10"]
    assert bench.contents("catalina.out") == [b"out"]


def test_a_source_of_two_entries_is_one_chain(bench):
    bench.log("a.1", "a")
    bench.log("b.1", "b")
    bench.run([bench.entry(r"^a\.(?P<serial>\d)", "app.log"), bench.entry(r"^b\.(?P<serial>\d)", "app.log")])
    assert bench.contents() == [b"a", b"b"]


# When it runs.


def test_it_runs_at_each_full_hour_and_once_only(bench):
    bench.now = 1_800_000_000.0
    unit = bench.open()
    assert unit.get_next_invocation_time() == 0
    bench.now += 100.5
    unit.invoke_unit()
    assert unit.get_next_invocation_time() == pytest.approx(3600 - 100.5)
    bench.now = 1_800_003_600.0
    assert unit.get_next_invocation_time() == 0
    unit.invoke_unit()
    assert unit.get_next_invocation_time() == 3600
    bench.now -= 1000
    assert unit.get_next_invocation_time() == 0
    unit.close()


def test_an_hour_after_the_last_run_it_is_due_whatever_happened(bench):
    bench.run([])
    bench.now += 86400
    unit = bench.open([])
    assert unit.get_next_invocation_time() == 0
    unit.close()


def test_one_source_that_is_asked_for_is_stored_at_once_and_the_others_stay_due(bench):
    bench.run()
    bench.log("app.log.1", "app")
    bench.log("web.log.1", "web")
    wanted = SourceUrl(bench.url("app.log"))
    bench.context["get_request"] = lambda url: SourceRequest.NOW if url == wanted else SourceRequest.NOT_NOW
    (outcome,) = bench.run(wait=1)
    assert outcome.source_url == wanted
    assert bench.names() == ["web.log.1"]
    assert json.loads((bench.state / "state.current").read_text())[0] == 1_800_003_600


def test_files_of_a_source_that_is_new_are_stored_at_once_and_those_that_cannot_be_wait(bench):
    bench.log("app.log.1", "app")
    bench.run()
    bench.log("app.log.1", "again")
    assert bench.run(wait=1) == []
    bench.log("web.log.1", "web")
    bench.log("bad.log.1.gz", "no gzip")
    bench.now += 1
    unit = bench.open()
    assert unit.get_next_invocation_time() == 0
    assert len(errors(unit.invoke_unit())) == 1
    assert unit.get_next_invocation_time() > 30
    unit.close()
    assert bench.contents("web.log") == [b"web"]


def test_a_run_for_one_source_leaves_the_pauses_of_others_that_failed(bench):
    bench.run()
    bench.log("app.log.1", "app")
    bench.log("web.log.1.gz", "no gzip")
    wanted = SourceUrl(bench.url("app.log"))
    requests = {}
    bench.context["get_request"] = lambda url: (
        requests.get("all") or (SourceRequest.NOW if url == wanted else SourceRequest.NOT_NOW)
    )
    bench.now += 60 * 30
    unit = bench.open()
    requests["all"] = SourceRequest.WHEN_DUE
    assert len(errors(unit.invoke_unit())) == 1
    wait = unit.get_next_invocation_time()
    requests.clear()
    unit.invoke_unit()
    requests["all"] = SourceRequest.WHEN_DUE
    assert 0 < unit.get_next_invocation_time() == wait < 120
    unit.close()


def test_its_sources_are_those_named_and_those_that_are_there(bench):
    bench.log("app.log.1")
    listed = LogfileBackupUnit.list_sources(
        {"LogBackupUnitInputList": [bench.entry(url=None), bench.entry("x", "/host/named")]}
    )
    assert [str(url) for url in listed] == sorted(["/host/named", bench.url("app.log")])
    assert LogfileBackupUnit.list_sources({"LogBackupUnitInputList": []}) == ()


def test_without_files_its_sources_cannot_be_told(bench):
    assert LogfileBackupUnit.list_sources({"LogBackupUnitInputList": [bench.entry(url=None)]}) is None
    assert LogfileBackupUnit.list_sources({"LogBackupUnitInputList": ["wrong"]}) is None
    with pytest.raises(ConfigError):
        LogfileBackupUnit.list_sources({})


def test_what_fails_is_tried_again_after_a_minute_and_then_less_often(bench):
    bench.log("app.log.1.gz", b"no gzip")
    unit = bench.open()
    delays = []
    for _ in range(8):
        (outcome,) = unit.invoke_unit()
        assert outcome.error is not None
        delays.append(unit.get_next_invocation_time())
        bench.now += delays[-1]
    assert delays[0] <= 60
    assert delays[1] > 60
    assert max(delays) <= 3600
    (bench.logs / "app.log.1.gz").unlink()
    assert unit.invoke_unit() == []
    unit.close()


def test_what_failed_is_due_at_the_next_start(bench):
    bench.log("app.log.1.gz", b"no gzip")
    bench.run()
    unit = bench.open()
    assert unit.get_next_invocation_time() == 0
    (bench.logs / "app.log.1.gz").unlink()
    unit.invoke_unit()
    unit.close()
    unit = bench.open()
    assert unit.get_next_invocation_time() > 0
    unit.close()


def test_a_generator_that_ends_stops_before_the_next_file_and_the_run_stays_due(bench):
    for number in range(3):
        bench.log(f"app.log.{number}", f"{number}")
    bench.run([])
    is_ending = False

    def end():
        nonlocal is_ending
        is_ending = True

    while_reading(bench, end)
    bench.context["cancelled"] = lambda: is_ending
    outcomes = bench.run()
    assert [outcome for outcome in outcomes if not isinstance(outcome.error, CancelledError)] == []
    assert bench.chain() == []
    assert len(bench.names()) == 3
    is_ending = False
    while_reading(bench, lambda: None)
    bench.run(wait=1)
    assert bench.contents() == [b"2", b"1", b"0"]


# What is left.


def test_a_file_that_is_written_to_stops_its_source_and_no_other(bench):
    for number in (1, 2, 3):
        bench.log(f"app.log.{number}", f"{number}")
    bench.log("web.log.1", "web")
    unit = bench.open()
    with open(bench.logs / "app.log.2", "a"):
        outcomes = unit.invoke_unit()
    assert errors(outcomes) == []
    assert bench.contents() == [b"3"]
    assert bench.names() == ["app.log.1", "app.log.2"]
    (state,) = unit.describe_sources().values()
    assert f"app.log.2 is still open for writing by process {os.getpid()}" in state.waits_for
    unit.close()
    bench.run()
    assert bench.contents() == [b"3", b"2", b"1"]


def test_an_open_file_is_warned_of_when_newer_ones_have_been_there_for_a_day(bench):
    held = bench.log("app.log.2", "2")
    bench.log("app.log.1", "1")
    now = int(bench.now)
    for newer, warnings in ((now - 80_000, 0), (now - 90_000, 1)):
        os.utime(held, (now - 10, now - 10))  # a program that goes on writing to what was rotated
        os.utime(bench.logs / "app.log.1", (newer, newer))
        with open(held, "a"):
            bench.run(wait=1)
        assert len(bench.warnings()) == warnings
    assert "app.log.2 is still open for writing by process" in bench.warnings()[0]
    (bench.logs / "app.log.1").unlink()
    with open(held, "a"):
        bench.run(wait=90_000)
    assert len(bench.warnings()) == 1


@pytest.mark.parametrize(
    "data",
    [b"no gzip", gzip.compress(b"plain" * 1000, mtime=0)[:-9], b""],
    ids=["other", "truncated", "empty"],
)
def test_a_damaged_compressed_file_is_an_error_of_its_source_and_stays(bench, data):
    bench.log("app.log.3", "3")
    bench.log("app.log.2.gz", data)
    bench.log("app.log.1", "1")
    bench.log("web.log.1", "web")
    (error,) = errors(bench.run())
    assert f"{bench.logs}/app.log.2.gz: stage" in error
    assert bench.contents() == [b"3"]
    assert bench.contents("web.log") == [b"web"]
    assert bench.names() == ["app.log.1", "app.log.2.gz"]
    assert [event for event in bench.events if isinstance(event, SourceFailed)]


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)])
@pytest.mark.parametrize("tail", ["damaged", "appended"])
def test_a_file_with_bytes_behind_its_last_stream_is_an_error_and_stays(bench, suffix, compress, tail):
    second = compress(b"two" * 1000)
    tails = {"damaged": bytes([second[0] ^ 1]) + second[1:], "appended": b"a line\n"}
    bench.log(f"app.log.1.{suffix}", compress(b"one" * 1000) + tails[tail])
    (error,) = errors(bench.run())
    assert f"{bench.logs}/app.log.1.{suffix}: stage" in error
    assert "trailing garbage" in error
    assert bench.names() == [f"app.log.1.{suffix}"]
    assert bench.contents() == []


@pytest.fixture
def _swallowing_zstd(tmp_path, monkeypatch):
    """First on PATH: a zstd that reads all, writes nothing, and ends well."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "zstd").write_text("#!/bin/sh\ncat > /dev/null\n")
    (tmp_path / "programs" / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:{os.environ['PATH']}")


@pytest.mark.usefixtures("_swallowing_zstd")
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_file_of_which_compression_makes_nothing_stays(bench, is_encrypted):
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement()
    if is_encrypted:
        bench.configuration["GeneralDefaultEncryptionElement"] = OSProcessPipelineElement(
            "sh", ["sh", "-c", "cat; echo end"]
        )
    bench.log("app.log.1", "one")
    (error,) = errors(bench.run())
    assert "stage zstd ended well, but wrote nothing" in error
    assert bench.names() == ["app.log.1"]
    assert bench.contents() == []


@pytest.mark.usefixtures("_swallowing_zstd")
def test_a_compressed_file_of_which_decompression_makes_nothing_stays(bench):
    bench.log("app.log.1.zst", zstd(os.urandom(2000)) or os.urandom(2000))
    (error,) = errors(bench.run())
    assert "stage zstd ended well, but wrote nothing" in error
    assert bench.names() == ["app.log.1.zst"]


@pytest.mark.parametrize("compression", [None, CompressionPipelineElement("gzip")])
def test_an_empty_log_that_was_compressed_is_an_element_like_others(bench, compression):
    bench.configuration["GeneralDefaultCompressionElement"] = compression
    bench.log("app.log.1.gz", gzip.compress(b""))
    assert errors(bench.run()) == []
    (content,) = bench.contents()
    assert (content if compression is None else gzip.decompress(content)) == b""
    assert bench.names() == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling link", "unknown compression"])
def test_what_is_no_log_file_is_an_error_of_its_source(bench, kind):
    name = bench.logs / ("app.log.2.Z" if kind == "unknown compression" else "app.log.2")
    target = bench.base / "precious"
    target.write_text("precious")
    if kind == "directory":
        name.mkdir()
    elif kind == "fifo":
        os.mkfifo(name)
    elif kind == "unknown compression":
        name.write_text("x")
    else:
        name.symlink_to(target if kind == "link" else bench.base / "nothing")
    bench.log("web.log.1", "web")
    (error,) = errors(bench.run([bench.entry(ROTATED.replace("a-z0", "A-Za-z0"), None)]))
    assert bench.url("app.log") in error
    assert "app.log.2" in error
    assert target.read_text() == "precious"
    assert bench.contents("web.log") == [b"web"]
    assert os.path.lexists(name)


def test_a_link_in_the_way_to_the_directory_is_not_followed(bench):
    bench.log("app.log.1", "one")
    (bench.base / "link").symlink_to(bench.logs)
    (error,) = errors(bench.run([bench.entry(directory=bench.base / "link", url=None)]))
    assert f"write {bench.logs}" in error
    assert bench.names() == ["app.log.1"]


def test_names_that_make_no_source_are_one_error_and_the_others_go_on(bench):
    for name in (b"a b.1", b"a\nb.1", b"\xff.1", b"good.1"):
        bench.log(name, "x")
    (error,) = errors(bench.run([bench.entry(r"(?s)^(.*)\.(?P<oldserial>[0-9]+)$", None)]))
    assert "(and 2 more files)" in error
    assert "\n" not in error
    assert error.isascii()
    assert bench.contents("good") == [b"x"]
    assert len(bench.names()) == 3


def test_any_name_will_do_where_a_transformation_names_the_source(bench):
    bench.log(b"a b\n\xff.2", "2")
    bench.log(b"a b\n\xff.1", "1")
    assert errors(bench.run([bench.entry(r"(?s)^.*\.(?P<oldserial>[0-9]+)$", "app.log")])) == []
    assert bench.contents() == [b"2", b"1"]
    assert bench.names() == []


def test_two_files_of_one_serial_are_left_until_one_is_gone(bench):
    bench.log("app.log.1", "one")
    bench.log("app.log.1.gz", gzip.compress(b"one"))
    bench.log("web.log.1", "web")
    (error,) = errors(bench.run())
    assert "have the same serial '1'" in error
    assert bench.names() == ["app.log.1", "app.log.1.gz"]


def test_what_is_wrong_with_an_entry_or_a_directory_is_told_and_the_others_go_on(bench):
    bench.log("app.log.1", "one")
    entries = [
        ("/var/log", "([", None, None, None),
        bench.entry(directory=bench.base / "missing"),
        bench.entry(url=None),
        7,
    ]
    told = errors(bench.run(entries))
    assert len(told) == 3
    assert any("file regex" in error for error in told)
    assert any(f"directory {bench.base}/missing is not there" in error for error in told)
    assert any(error.startswith("/unit: entry 4") for error in told)
    assert bench.contents() == [b"one"]


def test_a_source_of_another_unit_is_refused(bench):
    bench.log("app.log.1", "one")
    bench.log("web.log.1", "web")
    bench.context["foreign_sources"] = {SourceUrl(bench.url("app.log")): "other"}
    (error,) = errors(bench.run())
    assert "is one of unit other" in error
    assert bench.names() == ["app.log.1"]


def test_a_key_that_cannot_be_used_fails_its_entry_only(bench):
    def refuse(name):
        raise ConfigError(f"key {name!r} expired")

    bench.context["find_encryption_key"] = refuse
    bench.log("app.log.1", "one")
    bench.log("web.log.1", "web")
    entries = [
        (*bench.entry(r"^(app\.log)\.(?P<oldserial>\d)$", None)[:4], "old"),
        bench.entry(r"^(web\.log)\.(?P<oldserial>\d)$", None),
    ]
    assert errors(bench.run(entries)) == [f"{bench.url('app.log')}: key 'old' expired"]
    assert bench.contents("web.log") == [b"web"]


def test_test_mode_runs_everything_and_changes_nothing(bench):
    bench.context["test_mode"] = True
    bench.log("app.log.2", "two")
    bench.log("app.log.1.gz", b"no gzip")
    outcomes = bench.run()
    assert [(str(outcome.element_id), outcome.error is None) for outcome in outcomes] == [
        ("None", False),
        ("None", True),
    ]
    assert bench.chain() == []
    assert bench.names() == ["app.log.1.gz", "app.log.2"]
    assert os.listdir(bench.state) == []
    assert [files for _, _, files in os.walk(bench.spool) if files] == []


# What happens meanwhile.


class During(CompressionPipelineElement):
    """Does something while a file is being read."""

    def __init__(self, action):
        super().__init__()
        self._action = action

    def get_execution_instance(self, upstream_process_output):
        self._action()
        return OSProcessPipelineElement("cat", ["cat"]).get_execution_instance(upstream_process_output)


def while_reading(bench, action):
    bench.configuration["GeneralDefaultCompressionElement"] = During(action)


def test_a_file_that_changes_while_it_is_read_is_neither_stored_nor_removed(bench):
    path = bench.log("app.log.1", "one")
    bench.log("web.log.1", "web")
    while_reading(bench, lambda: path.write_text("other"))
    assert errors(bench.run()) == []
    assert bench.chain() == []
    assert bench.names() == ["app.log.1"]
    assert "changed while it was read" in bench.warnings()[0]


def test_a_file_that_is_replaced_while_it_is_read_is_stored_and_the_new_one_stays(bench):
    path = bench.log("app.log.1", "one")

    def replace():
        path.rename(bench.base / "elsewhere")
        path.write_text("new")

    while_reading(bench, replace)
    bench.run()
    assert bench.contents() == [b"one"]
    assert path.read_text() == "new"


def test_a_file_that_vanishes_while_it_is_read_is_stored(bench):
    path = bench.log("app.log.1", "one")
    while_reading(bench, path.unlink)
    assert errors(bench.run()) == []
    assert bench.contents() == [b"one"]


def test_a_file_that_vanishes_before_it_is_read_is_left(bench):
    bench.log("app.log.2", "two")
    path = bench.log("app.log.1", "one")
    while_reading(bench, lambda: path.unlink(missing_ok=True))
    assert errors(bench.run()) == []
    assert "app.log.1 is gone" in bench.warnings()[0]
    assert bench.contents() == [b"two"]


def test_files_that_are_rotated_while_they_are_read_are_removed_under_their_new_names(bench):
    paths = [bench.log(f"app.log.{number}", f"{number}") for number in (3, 2, 1)]

    def rotate():
        if not (bench.logs / "app.log.4").exists():
            for path, new in zip(paths, ["app.log.4", "app.log.3", "app.log.2"], strict=True):
                path.rename(bench.logs / new)
            bench.log("app.log.1", "0")
            while_reading(bench, lambda: None)

    while_reading(bench, rotate)
    bench.run()
    while_reading(bench, lambda: None)
    bench.run()
    contents = bench.contents()
    assert sorted(contents) == [b"0", b"1", b"2", b"3"]
    assert bench.names() == []


def test_a_file_that_is_compressed_while_it_is_read_is_left_for_the_next_run(bench):
    path = bench.log("app.log.1", "one")

    def compress():
        if path.exists():
            bench.log("app.log.1.gz", gzip.compress(b"one"))
            path.unlink()

    while_reading(bench, compress)
    bench.run()
    assert bench.chain() == []
    assert "app.log.1.gz just appeared" in bench.warnings()[0]
    while_reading(bench, lambda: None)
    bench.run()
    assert bench.contents() == [b"one"]


# What is remembered.


def test_its_state_is_the_originals(bench):
    bench.log("app.log.1", "one")
    bench.run()
    state = json.loads((bench.state / "state.current").read_text())
    assert state == [int(bench.now), {bench.url("app.log"): bench.chain()[-1]["DataUuid"]}]
    assert os.listdir(bench.state) == ["state.current"]


def test_it_goes_on_from_the_originals_state_and_keeps_what_it_does_not_know(bench):
    bench.state.mkdir(parents=True)
    uuid, other = "QUJD", "REVG"
    state = [1_700_000_000, {bench.url("app.log"): uuid, "/an other": other}]
    (bench.state / "state.current").write_text(json.dumps(state))
    bench.log("app.log.1", "one")
    bench.run()
    (element,) = list(bench.storage.query_backup_data_elements())
    assert element.get_metadata().predecessor == b"ABC"
    assert json.loads((bench.state / "state.current").read_text())[1]["/an other"] == other


@pytest.mark.parametrize(
    "text", ["{", "[]", "[1]", '["x", {}]', "[1, []]", '[1, {"/a": 1}]', '[1, {"/a": "="}]']
)
def test_a_damaged_state_is_told_with_what_to_do(bench, text):
    bench.state.mkdir(parents=True)
    (bench.state / "state.current").write_text(text)
    with pytest.raises(StateError, match=r"is damaged .*remove it"):
        bench.open()


@pytest.fixture
def unremovable(monkeypatch):
    """As an immutable file: a function that lets it be removed again."""
    unlink = os.unlink

    def refuse(path, *, dir_fd=None):
        if path == "app.log.1":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    return monkeypatch.undo


def test_files_that_cannot_be_removed_are_not_stored_again(bench, unremovable):
    bench.log("app.log.1", "one")
    for _ in range(3):
        (error,) = errors(bench.run())
        assert "app.log.1 is stored, but cannot be removed: Operation not permitted" in error
    assert bench.contents() == [b"one"]
    unremovable()
    assert errors(bench.run()) == []
    assert bench.names() == []
    assert bench.contents() == [b"one"]
    assert not (bench.state / "extras.current").exists()


def test_a_file_that_could_not_be_removed_and_was_written_to_since_is_stored_again(bench, unremovable):
    path = bench.log("app.log.1", "one")
    bench.run()
    unremovable()
    path.write_text("one and more")
    assert errors(bench.run()) == []
    assert bench.contents() == [b"one", b"one and more"]
    assert bench.names() == []


def test_files_of_a_directory_that_went_away_are_removed_when_it_is_back(bench, unremovable):
    bench.log("app.log.1", "one")
    bench.run()
    unremovable()
    away = bench.base / "away"
    bench.logs.rename(away)
    assert len(errors(bench.run())) == 1
    assert "is not there" in errors(bench.run())[0]
    away.rename(bench.logs)
    assert errors(bench.run()) == []
    assert bench.names() == []
    assert bench.contents() == [b"one"]


def test_a_damaged_list_of_what_could_not_be_removed_is_moved_aside(bench):
    bench.state.mkdir(parents=True)
    (bench.state / "extras.current").write_text('{"Unremoved": [1]}')
    bench.log("app.log.1", "one")
    assert errors(bench.run()) == []
    assert (bench.state / "extras.current.damaged").exists()


def test_what_fails_for_one_source_of_a_group_fails_for_it_alone(bench):
    for name in ("app.log", "bad.log", "web.log"):
        bench.log(f"{name}.1", name)

    def sign(metainfo, url):
        if url.name == "bad.log":
            raise ConfigError("no signature for this one")
        return metainfo

    bench.context["sign"] = sign
    assert errors(bench.run()) == [f"{bench.url('bad.log')}: no signature for this one"]
    assert bench.contents() == [b"app.log"]
    assert bench.contents("web.log") == [b"web.log"]
    assert bench.names() == ["bad.log.1"]
