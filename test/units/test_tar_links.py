"""Hard links of files in directories that move, or that come from elsewhere, stay what they are."""

import os
import time

import pytest
from trees import describe_tree

from guerillabackup.units.tar_links import SplitLinksError, check_links
from guerillabackup.units.tar_snapshot import WholeDirectory


@pytest.fixture
def tree(bench):
    for name in ("a/below", "b"):
        (bench.tree / name).mkdir(parents=True)
    for name in ("a/file", "a/below/file", "b/file"):
        (bench.tree / name).write_text(name)
    return bench.tree


def test_a_moved_directory_of_files_with_names_elsewhere_makes_a_full_backup(bench, tree):
    os.link(tree / "a/below/file", tree / "b/other")
    bench.run()
    os.rename(tree / "a", tree / "b/moved")
    assert bench.run().error is None
    assert bench.run().error is None
    assert bench.types() == ["full", "full", "inc"]
    (warning,) = bench.warnings()
    assert warning.startswith("a full backup is made in place of an incremental one: ")
    assert "b/moved/below/file is in a directory that moved" in warning
    assert describe_tree(bench.restore()) == describe_tree(tree)
    assert os.path.samefile(bench.restore() / "b/other", bench.restore("again") / "b/other") is False
    restored = bench.restore()
    assert os.path.samefile(restored / "b/other", restored / "b/moved/below/file")


def test_where_all_names_moved_the_backup_is_incremental(bench, tree):
    os.link(tree / "a/below/file", tree / "a/other")
    bench.run()
    (tree / "new").mkdir()
    os.rename(tree / "a", tree / "new/moved")
    bench.run()
    assert bench.types() == ["full", "inc"]
    restored = bench.restore()
    assert os.path.samefile(restored / "new/moved/other", restored / "new/moved/below/file")


def test_names_elsewhere_of_files_that_changed_are_archived_with_them(bench, tree):
    os.link(tree / "a/file", tree / "b/other")
    bench.run()
    os.rename(tree / "a", tree / "b/moved")
    (tree / "b/moved/file").write_text("changed")
    bench.run()
    assert bench.types() == ["full", "inc"]
    restored = bench.restore()
    assert os.path.samefile(restored / "b/other", restored / "b/moved/file")
    assert describe_tree(restored) == describe_tree(tree)


def test_links_in_directories_that_stayed_mean_nothing(bench, tree):
    os.link(tree / "a/below/file", tree / "b/other")
    bench.run()
    os.rename(tree / "b", tree / "a/gone")
    os.rename(tree / "a/gone", tree / "b")
    bench.run()
    assert bench.types() == ["full", "inc"]


@pytest.fixture
def outside(bench):
    """A directory beside the tree with a file that also has a name in it."""
    (bench.base / "outside" / "below").mkdir(parents=True)
    (bench.base / "outside" / "below" / "file").write_text("linked")
    return bench.base / "outside"


def test_a_directory_that_comes_from_elsewhere_with_files_that_have_names_in_the_tree(bench, tree, outside):
    os.link(outside / "below/file", tree / "b/other")
    bench.run()
    os.rename(outside, tree / "a/back")
    bench.run()
    bench.run()
    assert bench.types() == ["full", "full", "inc"]
    (warning,) = bench.warnings()
    assert "a/back/below/file is in a directory that moved or is new" in warning
    restored = bench.restore()
    assert os.path.samefile(restored / "b/other", restored / "a/back/below/file")


def test_a_directory_that_leaves_the_source_for_one_backup_parts_nothing(bench, tree, outside):
    os.rename(outside, tree / "a/back")
    os.link(tree / "a/back/below/file", tree / "b/other")
    bench.run()
    os.rename(tree / "a/back", outside)
    bench.run()
    os.rename(outside, tree / "a/back")
    bench.run()
    assert bench.types() == ["full", "inc", "full"]
    assert describe_tree(bench.restore()) == describe_tree(tree)


def test_a_directory_that_comes_with_all_names_of_its_files_is_backed_up_as_it_is(bench, tree, outside):
    os.link(outside / "below/file", outside / "other")
    bench.run()
    os.rename(outside, tree / "a/back")
    bench.run()
    assert bench.types() == ["full", "inc"]
    restored = bench.restore()
    assert os.path.samefile(restored / "a/back/other", restored / "a/back/below/file")


def test_what_is_excluded_or_new_or_has_a_time_to_come_is_no_reason_for_a_full_backup(bench, tree, outside):
    """A file of a time to come is archived each time, with all its names."""
    os.link(outside / "below/file", tree / "b/other")
    os.link(tree / "b/file", outside / "later")
    os.utime(outside / "later", (2**32, 2**32))
    bench.run(Exclude=["./a/back/below"])
    os.rename(outside, tree / "a/back")
    (tree / "a/new").mkdir()
    os.link(tree / "a/file", tree / "a/new/file")
    bench.run(Exclude=["./a/back/below"])
    assert bench.types() == ["full", "inc"]
    restored = bench.restore()
    assert os.path.samefile(restored / "a/file", restored / "a/new/file")
    assert os.path.samefile(restored / "b/file", restored / "a/back/later")


def test_a_directory_that_moves_just_before_tar_comes_is_no_recorded_move(bench, tree, monkeypatch):
    """A restore would do what is recorded, rightly or not; likewise where a bind mount shows it again."""
    bench.run()
    programs = bench.base / "programs"
    programs.mkdir()
    (programs / "tar").write_text(
        f'#!/bin/sh\nPATH="{os.environ["PATH"]}"\nmv {tree}/a {tree}/moved 2>/dev/null\nexec tar "$@"\n'
    )
    (programs / "tar").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        assert bench.run().error is None
    bench.run()
    assert bench.types() == ["full", "full", "inc"]
    (warning,) = bench.warnings()
    assert '"./moved": Directory has been renamed from' in warning
    assert describe_tree(bench.restore()) == describe_tree(tree)


def whole(*names, entries=None):
    """What was archived whole, as it is handed out: again each time."""
    return lambda: [WholeDirectory(name, entries) for name in names]


@pytest.fixture
def before_now(tree):
    """The files are older than what counts as changed."""
    return time.time_ns() + 10 * 10**9


def test_only_the_directories_that_are_named_are_looked_into(tree, before_now):
    os.link(tree / "a/below/file", tree / "b/other")
    check_links(str(tree), whole(b"a", b"not there"), before_now)
    check_links(str(tree), whole(b"./a/below", b"./b"), before_now)
    with pytest.raises(SplitLinksError, match="a/below/file"):
        check_links(str(tree), whole(b"./a/below"), before_now)


def test_of_the_entries_only_those_that_were_archived_count(tree, before_now):
    os.link(tree / "a/below/file", tree / "b/other")
    check_links(str(tree), whole(b"./b", entries=[b"file", b"gone"]), before_now)
    with pytest.raises(SplitLinksError):
        check_links(str(tree), whole(b"./b", entries=[b"other"]), before_now)


@pytest.mark.parametrize("held", [1, 3, 100])
def test_however_few_files_are_held_at_once_none_is_overlooked(tree, before_now, monkeypatch, held):
    monkeypatch.setattr("guerillabackup.units.tar_links.MAX_HELD_FILES", held)
    for number in range(20):
        (tree / f"a/{number}").write_text("")
        os.link(tree / f"a/{number}", tree / f"b/{number}")
    check_links(str(tree), whole(b"a", b"b"), before_now)
    (tree / "b/13").unlink()
    os.link(tree / "a/13", tree / "a/below/13")
    with pytest.raises(SplitLinksError, match="a/13"):
        check_links(str(tree), whole(b"a", b"b"), before_now)
