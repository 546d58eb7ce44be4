"""Walking below a directory, whatever is there."""

import os

import pytest
from trees import make_deep

from guerillabackup.restore.below import Cursor, is_there, remove


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    descriptor = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_tree_is_removed_whatever_its_depth_and_no_link_is_followed(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "outside")
    make_deep(tmp_path / "root" / "a", 3000)
    remove(root, b"a")
    remove(root, b"absent")
    assert os.listdir(root) == []
    assert os.listdir(tmp_path / "outside") == ["kept"]


def test_a_directory_that_is_moved_away_meanwhile_is_not_left_for_elsewhere(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with Cursor(root) as cursor:
        cursor.enter(b"a")
        cursor.enter(b"b")
        (tmp_path / "root" / "a" / "b").rename(tmp_path / "elsewhere" / "b")
        with pytest.raises(OSError, match="moved"):
            cursor.leave()


def test_something_is_there_only_when_no_link_leads_to_it(root, tmp_path):
    (tmp_path / "root" / "link").symlink_to("a")
    there = {name: is_there(root, name) for name in (b"a/b", b"link", b"link/b", b"a/c", b"c/d")}
    assert there == {b"a/b": True, b"link": True, b"link/b": False, b"a/c": False, b"c/d": False}
