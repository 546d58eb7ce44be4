"""The directory that is restored into, and what merging leaves in it."""

import os
from pathlib import Path

import pytest

from guerillabackup.errors import ElementExistsError, StorageError
from guerillabackup.restore.target import STAGING_PREFIX, RestoreTarget, check_free, keep_only


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
