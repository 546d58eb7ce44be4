"""Directories before an incremental is unpacked: renamed as it says, never through a link."""

import os
from contextlib import closing

import pytest

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import TEMPORARY, Rename
from guerillabackup.restore.prepare import apply_renames, check_plain, make_way


class Root:
    """A directory of small trees: `make("a/b")` is a file that holds its own first name."""

    def __init__(self, path):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self):
        os.close(self.descriptor)

    def make(self, *names):
        for name in names:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(name)

    def rename(self, *pairs, **unchanged):
        renames = [Rename(*pair) for pair in pairs]
        kept = {name.replace("_", "/").encode(): set(names) for name, names in unchanged.items()}
        return apply_renames(self.descriptor, renames, kept)

    def contents(self):
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.path)): path.read_text() for path in files}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    with closing(Root(tmp_path / "root")) as root:
        yield root


def test_a_directory_is_renamed_and_its_new_parent_made(root):
    root.make("a/f")
    assert root.rename((b"a", b"new/b"), new_b={b"f"}) == []
    assert root.contents() == {"new/b/f": "a/f"}


def test_what_a_renamed_directory_takes_the_place_of_goes(root):
    root.make("a/f", "b/other")
    assert root.rename((b"a", b"b"), b={b"f"}) == []
    assert root.contents() == {"b/f": "a/f"}


def test_a_chain_of_renames_is_done_whatever_its_order(root):
    root.make("log.0/zero", "log.1/one")
    for pairs in ([(b"log.1", b"log.2"), (b"log.0", b"log.1")], [(b"log.1", b"log.2"), (b"log.2", b"log.3")]):
        assert root.rename(*pairs) == []
    assert root.contents() == {"log.2/zero": "log.0/zero", "log.3/one": "log.1/one"}


def test_directories_that_change_places_do(root):
    root.make("a/one", "b/two")
    circle = [(b"b", TEMPORARY), (b"a", b"b"), (TEMPORARY, b"a")]
    assert root.rename(*circle, a={b"two"}, b={b"one"}) == []
    assert root.contents() == {"b/one": "a/one", "a/two": "b/two"}


def test_no_file_is_in_the_way_of_a_rename_or_lost_by_it(root):
    kept = {f".guerillabackup-{name}": "kept" for name in ("renaming", "circle")}
    for name in kept:
        (root.path / name).write_text("kept")
    root.make("a/one", "b/two")
    assert root.rename((b"b", TEMPORARY), (b"a", b"b"), (TEMPORARY, b"a"), a={b"two"}, b={b"one"}) == []
    assert root.contents() == {"b/one": "a/one", "a/two": "b/two", **kept}


def test_a_circle_that_tar_recorded_once_more_is_not_done_again(root):
    root.make("b/one", "a/two")
    circle = [(b"b", TEMPORARY), (b"a", b"b"), (TEMPORARY, b"a")]
    assert root.rename(*circle, a={b"two"}, b={b"one"}) == []
    assert root.contents() == {"b/one": "b/one", "a/two": "a/two"}


def test_a_rename_that_can_mean_two_directories_is_told_of(root):
    root.make("a/same", "b/same")
    circle = [(b"b", TEMPORARY), (b"a", b"b"), (TEMPORARY, b"a")]
    (doubt,) = root.rename(*circle, a={b"same"}, b={b"same"})
    assert "cannot be told for sure" in doubt


def test_a_rename_below_one_that_was_recorded_later_is_done_after_it(root):
    root.make("g/b/f", "g/other")
    assert root.rename((b"f/b", b"c"), (b"g", b"f"), c={b"f"}, f={b"other"}) == []
    assert root.contents() == {"c/f": "g/b/f", "f/other": "g/other"}


def test_a_directory_that_replaces_the_one_it_was_in_does(root):
    root.make("d/inner/f", "d/rest")
    assert root.rename((b"d/inner", b"d"), d={b"f"}) == []
    assert root.contents() == {"d/f": "d/inner/f"}


def test_a_rename_of_nothing_and_one_into_itself_are_told_of(root):
    root.make("a/f")
    assert len(root.rename((b"gone", b"b"), (b"a", b"a/b"))) == 2
    assert root.contents() == {"a/f": "a/f"}


def test_no_rename_leads_over_a_link(root, tmp_path):
    (tmp_path / "outside" / "d").mkdir(parents=True)
    (root.path / "x").symlink_to(tmp_path / "outside")
    root.make("a/f")
    assert len(root.rename((b"x/d", b"stolen"))) == 1
    assert root.rename((b"a", b"x/d")) == []
    assert root.contents() == {"x/d/f": "a/f"}
    assert list((tmp_path / "outside" / "d").iterdir()) == []
    assert not (root.path / "x").is_symlink()


def test_way_is_made_where_a_link_or_a_file_is(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (root.path / "link").symlink_to(tmp_path / "outside")
    root.make("file", "directory/kept")
    make_way(root.descriptor, [b".", b"link", b"file", b"directory", b"absent/below"])
    assert root.contents() == {"directory/kept": "directory/kept"}
    assert (tmp_path / "outside").is_dir()


@pytest.mark.parametrize("name", [b"link", b"link/below", b"directory/link", b"file/below"])
def test_a_path_over_anything_but_directories_is_refused(root, tmp_path, name):
    root.make("file", "directory/kept")
    (root.path / "link").symlink_to(tmp_path)
    (root.path / "directory" / "link").symlink_to("..")
    with pytest.raises(IntegrityError):
        check_plain(root.descriptor, [name])


def test_a_path_of_directories_or_of_nothing_is_plain(root):
    root.make("directory/kept")
    check_plain(root.descriptor, [b"directory", b"directory/absent", b"absent/a/b"])
