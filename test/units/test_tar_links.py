"""Hard links of files in directories that move stay what they are."""

import os
import time

import pytest
from trees import describe_tree

from guerillabackup.units.tar_links import SplitLinksError, check_links


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


def test_only_the_directories_that_are_named_are_looked_into(tree):
    os.link(tree / "a/below/file", tree / "b/other")
    later = time.time() + 10
    check_links(str(tree), [b"a", b"not there"], later)
    check_links(str(tree), [b"./a/below", b"./b"], later)
    with pytest.raises(SplitLinksError, match="a/below/file"):
        check_links(str(tree), [b"./a/below"], later)
