"""The directory that is restored into, and what merging leaves in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guerillabackup.errors import ElementExistsError, StorageError
from guerillabackup.restore.staging import STAGING_PREFIX
from guerillabackup.restore.target import RestoreTarget, check_free, keep_only


@pytest.fixture
def occupied(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    return tmp_path / "out"


def test_a_target_that_is_not_there_is_made_and_unpacked_to_itself(tmp_path):
    check_free(str(tmp_path / "a" / "b"), into_existing=False)
    with RestoreTarget(str(tmp_path / "a" / "b"), into_existing=False) as target:
        assert target.unpack_path == str(tmp_path / "a" / "b")
        target.merge()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_target_that_is_occupied_is_refused(occupied):
    with pytest.raises(ElementExistsError):
        check_free(str(occupied), into_existing=False)
    with pytest.raises(ElementExistsError):
        RestoreTarget(str(occupied), into_existing=False)


@pytest.mark.parametrize("into_existing", [True, False])
def test_a_target_that_is_a_file_is_refused(occupied, into_existing):
    with pytest.raises(StorageError):
        check_free(str(occupied / "mine"), into_existing=into_existing)
    with pytest.raises(StorageError):
        RestoreTarget(str(occupied / "mine"), into_existing=into_existing)


def test_merging_keeps_links_holes_and_attributes(occupied):
    with RestoreTarget(str(occupied), into_existing=True) as target:
        staged = Path(target.unpack_path)
        (staged / "one").write_text("linked")
        os.link(staged / "one", staged / "two")
        with open(staged / "sparse", "wb") as stream:
            stream.truncate(10 << 20)
        (staged / "new" / "deep").mkdir(parents=True)
        target.merge()
    assert (occupied / "one").samefile(occupied / "two")
    assert (occupied / "sparse").stat().st_blocks == 0
    assert sorted(path.name for path in occupied.iterdir()) == ["mine", "new", "one", "sparse", "two"]


def test_merging_does_not_follow_links_of_the_target(occupied, tmp_path):
    (tmp_path / "outside").mkdir()
    (occupied / "directory").symlink_to(tmp_path / "outside")
    (occupied / "file").symlink_to(tmp_path / "outside" / "absent")
    with RestoreTarget(str(occupied), into_existing=True) as target:
        (Path(target.unpack_path) / "file").write_text("restored")
        target.merge()
    assert (occupied / "file").read_text() == "restored"
    with RestoreTarget(str(occupied), into_existing=True) as target:
        (Path(target.unpack_path) / "directory").mkdir()
        with pytest.raises(StorageError, match="'directory'"):
            target.merge()
    assert list((tmp_path / "outside").iterdir()) == []


MERGE = """
import os, subprocess, sys
from pathlib import Path
from guerillabackup.errors import StorageError
from guerillabackup.restore.target import RestoreTarget
out = Path(sys.argv[1])
{mount}
with RestoreTarget(str(out), into_existing=True) as target:
    for name in ("a", "d/a", "d/file", "d/z", "z"):
        path = Path(target.unpack_path) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("restored")
    try:
        target.merge()
    except StorageError as error:
        print(error)
files = [path for path in out.rglob("*") if path.is_file()]
print(sorted(str(path.relative_to(out)) for path in files if path.read_text() == "restored"))
"""
BIND = 'subprocess.run(["mount", "--bind", out / "mine", out / "d" / "file"], check=True)'
TMPFS = 'subprocess.run(["mount", "-t", "tmpfs", "-o", "{}", "tmpfs", out / "d"], check=True)'


@pytest.fixture
def merge(occupied):
    """Merges into a directory with something mounted, in a mount namespace of its own; what was said."""
    (occupied / "d").mkdir()
    (occupied / "d" / "file").write_text("old")
    tree = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join((tree, os.environ.get("PYTHONPATH", "")))

    def run(mount):
        namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        program = MERGE.format(mount=mount)
        result = subprocess.run(
            [*namespace, sys.executable, "-c", program, str(occupied)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert result.returncode == 0, result.stderr
        assert not [name for name in os.listdir(occupied) if name.startswith(STAGING_PREFIX)]
        return result.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("mount", "reason"),
    [(BIND, "'d/file' is a mount point itself"), (TMPFS.format("ro"), "'d' is mounted read-only")],
)
def test_a_mount_in_the_way_is_named_before_anything_is_moved(merge, mount, reason):
    error, restored = merge(mount)
    assert reason in error
    assert "nothing was changed" in error
    assert restored == "[]"


def test_a_file_system_that_is_mounted_in_the_target_is_merged_into(merge):
    assert merge(TMPFS.format("rw")) == ["['a', 'd/a', 'd/file', 'd/z', 'z']"]


def test_a_merge_that_stops_half_way_says_what_was_moved_and_what_was_not(merge):
    error, restored = merge(TMPFS.format("nr_inodes=2"))
    assert "2 names were moved, 'd/a' last, and 3 were not: 'd/file', 'd/z', 'z';" in error
    assert restored == "['a', 'd/a']"


def test_merged_directories_take_mode_and_time_of_the_restored_ones(occupied):
    (occupied / "d").mkdir(mode=0o700)
    with RestoreTarget(str(occupied), into_existing=True) as target:
        staged = Path(target.unpack_path) / "d"
        staged.mkdir()
        (staged / "file").write_text("x")
        staged.chmod(0o751)
        os.utime(staged, (1_000_000_000, 1_000_000_000))
        target.merge()
    status = (occupied / "d").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o751, 1_000_000_000)


def test_what_was_not_merged_is_removed(occupied):
    with RestoreTarget(str(occupied), into_existing=True) as target:
        (Path(target.unpack_path) / "file").write_text("x")
    assert [path.name for path in occupied.iterdir()] == ["mine"]


def test_what_a_crash_left_is_told_of(occupied):
    (occupied / f"{STAGING_PREFIX}left").mkdir()
    with RestoreTarget(str(occupied), into_existing=True) as target:
        assert f"{STAGING_PREFIX}left" in target.warnings[0]


def test_only_what_is_wanted_and_its_directories_are_kept(tmp_path):
    for name in ("a/wanted", "a/other", "b/other", "c/d/wanted"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "a", (1_000_000_000, 1_000_000_000))
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert keep_only(descriptor, lambda name: name.endswith(b"/wanted") or name == b"empty") == 3
    finally:
        os.close(descriptor)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["a", "a/wanted", "c", "c/d", "c/d/wanted", "empty"]
    assert (tmp_path / "a").stat().st_mtime == 1_000_000_000
