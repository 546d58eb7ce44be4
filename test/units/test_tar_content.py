"""What is empty all of a sudden, as a mount point without its file system, is not backed up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tar_bench import SELDOM, URL, members
from unit_bench import ALWAYS

from guerillabackup.generator.interface import SourceRequest
from guerillabackup.units.tar_content import Place, dump_places, find_emptied, find_empty, parse_places

TOOLS = Path(__file__).parent.parent / "tools"

MOUNTED = """
import subprocess, sys
from pathlib import Path
from tar_bench import *
base = Path(sys.argv[1])
bench = TarBench(base)
def mount():
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(bench.tree)], check=True)
mount()
(bench.tree / "file").write_text("content")
assert bench.run().error is None
subprocess.run(["umount", str(bench.tree)], check=True)
print(bench.run().error)
(bench.tree / "stray").write_text("hidden below the mount")
print(bench.run().error)
mount()
(bench.tree / "file").write_text("content")
assert bench.run().error is None
print(bench.types())
"""


@pytest.fixture
def filled(bench):
    """A tree with two directories to include, after its first backup."""
    for name in ("first", "second"):
        (bench.tree / name).mkdir()
        (bench.tree / name / "file").write_text(name)
    assert bench.run(Include=["first", "second"]).error is None
    return bench


def ask(bench, request):
    bench.context["get_request"] = lambda url: request


def test_a_root_that_is_not_mounted_fails_also_where_the_mount_point_has_something_in_it(tmp_path):
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    result = subprocess.run(
        [*namespace, sys.executable, "-c", MOUNTED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TOOLS), str(TOOLS.parent.parent)])},
    )
    assert result.returncode == 0, result.stderr
    tree = tmp_path / "tree"
    empty, stray, types = result.stdout.splitlines()
    assert f"{tree} is empty, although the last backup had content there: is it mounted?" in empty
    assert f"{tree} is no mount point any more, as it was at the last backup: is it mounted?" in stray
    assert types == "['full', 'inc']"


@pytest.mark.parametrize("timing", [SELDOM, ALWAYS], ids=["inc", "full"])
def test_one_of_several_directories_that_is_empty_fails_whatever_type_is_due(filled, timing):
    (filled.tree / "second" / "file").unlink()
    error = str(filled.run(Include=["first", "second"], FullBackupTiming=timing).error)
    assert f"{filled.tree}/second is empty" in error
    assert f"{filled.tree}/first" not in error
    assert f"generator run --once --source {URL} --accept-empty --config-dir " in error
    assert len(filled.chain()) == 1


@pytest.mark.parametrize("request_", [SourceRequest.NOW, SourceRequest.FULL])
def test_what_cron_may_ask_for_accepts_nothing(filled, request_):
    (filled.tree / "second" / "file").unlink()
    ask(filled, request_)
    assert "second is empty" in str(filled.run(Include=["first", "second"]).error)


def test_what_is_accepted_once_is_backed_up_as_it_is_from_then_on(filled):
    (filled.tree / "second" / "file").unlink()
    ask(filled, SourceRequest.FULL_AS_IT_IS)
    assert filled.run(Include=["first", "second"]).error is None
    ask(filled, SourceRequest.WHEN_DUE)
    assert filled.run(Include=["first", "second"]).error is None
    assert filled.types() == ["full", "full", "inc"]
    assert members(filled.chain()[1]) == ["first/", "second/", "first/file"]
    assert filled.warnings() == []


def test_content_that_came_back_is_backed_up_and_missed_again_when_it_goes(filled):
    kept = filled.tree / "second" / "file"
    kept.unlink()
    assert filled.run(Include=["first", "second"]).error is not None
    kept.write_text("back")
    assert filled.run(Include=["first", "second"], wait=10**5).error is None
    kept.unlink()
    assert filled.run(Include=["first", "second"], wait=10**5).error is not None


def test_a_first_backup_of_an_empty_directory_is_made_with_a_warning(bench):
    assert bench.run().error is None
    assert bench.run().error is None
    assert bench.warnings() == [f"{bench.tree} is empty: is it mounted?"]


def test_what_pre_backup_command_mounts_counts_as_it_is_then(bench):
    place = str(bench.tree / "file")
    around = {"PreBackupCommand": ["touch", place], "PostBackupCommand": ["rm", place]}
    assert [bench.run(**around).error for _ in range(2)] == [None, None]
    bench.context["test_mode"] = True  # in which nothing is mounted
    assert bench.run(**around).error is None
    assert bench.warnings() == []


def test_a_file_to_include_may_be_empty(bench):
    (bench.tree / "file").write_text("text")
    assert bench.run(Include=["file"]).error is None
    (bench.tree / "file").write_text("")
    assert bench.run(Include=["file"]).error is None


def test_a_directory_that_was_empty_may_stay_so_and_one_that_is_not_known_is_told():
    empty, full = Place(False, False), Place(True, False)
    assert find_emptied({"/a": empty, "/b": full}, {"/a": empty, "/b": full, "/c": empty}) == []
    found = find_empty({"/a": empty}, {"/a": empty, "/b": full, "/c": empty})
    assert found == ["/c is empty: is it mounted?"]


def test_places_are_read_as_they_were_written():
    places = {"/a": Place(True, False), "/b": Place(False, True)}
    assert parse_places(dump_places(places)) == places
    assert parse_places(None) == {}


@pytest.mark.parametrize("value", [[], {"/a": 1}, {"/a": [True]}, {"/a": [1, 0]}, {"/a": [True, True, True]}])
def test_damaged_places_are_refused(value):
    with pytest.raises((TypeError, ValueError)):
        parse_places(value)
