"""What is left of an index of GNU tar when directories moved, and what tar makes of that."""

import os
import random
import shutil
import subprocess

import pytest
from trees import ChangingTree, archive, describe_tree

from guerillabackup.errors import StateError
from guerillabackup.restore.tar_stream import TarStream
from guerillabackup.units.tar_snapshot import (
    WholeDirectory,
    find_whole_directories,
    forget_moved_directories,
)


def renames_in(path):
    found = []

    def look(member):
        found.extend(member.record.renames if member.record is not None else ())
        return False

    TarStream(look).feed(path.read_bytes())
    return found


def unpack(path, directory):
    argv = [
        "tar",
        "--extract",
        "--listed-incremental=/dev/null",
        f"--file={path}",
        f"--directory={directory}",
    ]
    subprocess.run([*argv, "--preserve-permissions", "--xattrs"], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    for name in ("a/below", "b", "with\nnewline"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_text(name)
    archive(tmp_path / "tree", tmp_path / "index", tmp_path / "full.tar")
    return tmp_path / "tree"


def test_an_index_of_directories_that_stayed_is_left_as_it_is(tree, tmp_path):
    index = tmp_path / "index"
    before = index.read_bytes(), index.stat()
    time = forget_moved_directories(str(index), str(tree))
    assert (index.read_bytes(), index.stat()) == before
    seconds, nanoseconds = before[0].split(b"\n", 1)[1].split(b"\0")[:2]
    assert time == int(seconds) * 10**9 + int(nanoseconds)


def test_moved_and_deleted_directories_are_forgotten_with_all_below_them(tree, tmp_path):
    (tree / "a").rename(tree / "c")
    shutil.rmtree(tree / "b")
    forget_moved_directories(str(tmp_path / "index"), str(tree))
    names = (tmp_path / "index").read_bytes().split(b"\0")
    assert b"./with\nnewline" in names
    assert names.count(b".") == 1
    assert not {b"./a", b"./a/below", b"./b"} & set(names)


def test_a_moved_directory_is_archived_whole_and_no_move_recorded(tree, tmp_path):
    (tree / "a").rename(tree / "x")
    (tree / "b").rename(tree / "a")
    (tree / "x").rename(tree / "b")
    forget_moved_directories(str(tmp_path / "index"), str(tree))
    archive(tree, tmp_path / "index", tmp_path / "inc.tar")
    assert renames_in(tmp_path / "inc.tar") == []
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "full.tar", tmp_path / "out")
    unpack(tmp_path / "inc.tar", tmp_path / "out")
    assert describe_tree(tmp_path / "out") == describe_tree(tree)


def test_unchanged_files_stay_out_of_the_next_archive(tree, tmp_path):
    forget_moved_directories(str(tmp_path / "index"), str(tree))
    archive(tree, tmp_path / "index", tmp_path / "inc.tar")
    members = []
    TarStream(lambda member: members.append(member.type.value) or False).feed(
        (tmp_path / "inc.tar").read_bytes()
    )
    assert set(members) == {"directory"}


@pytest.mark.parametrize("seed", range(12))
def test_any_changes_and_moves_are_restored_by_tar_itself(seed, tmp_path):
    changing = ChangingTree(tmp_path / "tree", random.Random(seed))
    changing.root.mkdir()
    (tmp_path / "out").mkdir()
    for run in range(5):
        changing.change(20 if run == 0 else changing.random.randrange(12))
        if run > 0:
            forget_moved_directories(str(tmp_path / "index"), str(changing.root))
        unpack(archive(changing.root, tmp_path / "index", tmp_path / "archive.tar"), tmp_path / "out")
    assert describe_tree(tmp_path / "out", links=False) == describe_tree(changing.root, links=False)


def test_the_index_tells_which_directories_were_archived_whole(tree, tmp_path):
    (tree / "b" / "new").write_text("new")
    (tree / "with\nnewline" / "file").write_text("changed")
    (tree / "a").rename(tree / "moved")
    (tree / "new/empty").mkdir(parents=True)
    (tree / "new/file").symlink_to("file")
    forget_moved_directories(str(tmp_path / "index"), str(tree))
    archive(tree, tmp_path / "index", tmp_path / "inc.tar")
    assert sorted(find_whole_directories(str(tmp_path / "index"))) == [
        WholeDirectory(b"./moved/below", [b"file"]),
        WholeDirectory(b"./new", [b"file"]),
        WholeDirectory(b"./with\nnewline", [b"file"]),
    ]


def test_an_index_of_another_format_is_left_as_it_is(tmp_path):
    (tmp_path / "index").write_bytes(b"1700000000 0\n+64769 12 ./a\n")
    assert forget_moved_directories(str(tmp_path / "index"), str(tmp_path)) is None
    assert list(find_whole_directories(str(tmp_path / "index"))) == []
    assert (tmp_path / "index").read_bytes().startswith(b"1700000000")


def test_an_index_that_is_cut_off_is_refused_and_unchanged(tree, tmp_path):
    whole = (tmp_path / "index").read_bytes()
    for cut in (len(whole) - 1, len(whole) - 2, len(whole) // 2):
        (tmp_path / "index").write_bytes(whole[:cut])
        with pytest.raises(StateError):
            forget_moved_directories(str(tmp_path / "index"), str(tree))
        assert (tmp_path / "index").read_bytes() == whole[:cut]


def test_an_index_of_many_directories_is_read_in_pieces(tmp_path):
    record = b"\0".join([b"0", b"1", b"2", b"3", b"4", b"./gone" + b"x" * 200, b"Yentry" * 30]) + b"\0\0\0"
    data = b"GNU tar-1.34-2\n1700000000\x000\0" + record * 20_000
    (tmp_path / "index").write_bytes(data)
    assert forget_moved_directories(str(tmp_path / "index"), str(tmp_path)) == 1_700_000_000 * 10**9
    assert (tmp_path / "index").read_bytes() == b"GNU tar-1.34-2\n1700000000\x000\0"
    assert not os.path.exists(tmp_path / "index.tmp")


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("held_size", [40, 200, 1 << 20])
def test_whatever_is_held_in_memory_the_index_comes_out_the_same(
    tmp_path, monkeypatch, block_size, held_size
):
    header = b"GNU tar-1.34-2\n1700000000\x00123\x00"
    kept, dropped = b"", b""
    whole = []
    for number in range(12):
        directory = tmp_path / f"d{number}"
        directory.mkdir()
        is_moved = number % 3 == 1
        inode = directory.stat().st_ino + is_moved
        names = [b"entry%d" % entry for entry in range(number * 9)]
        entries = b"".join(b"Y%s\x00" % name for name in names)
        if number % 3 == 2:
            entries += b"Nentry\x00"
        elif names:
            whole.append((b"./d%d" % number, names))
        record = b"0\x001700000000\x005\x0064768\x00%d\x00./d%d\x00" % (inode, number) + entries + b"\x00\x00"
        kept += b"" if is_moved else record
        dropped += record
    index = tmp_path / "index"
    index.write_bytes(header + dropped)
    monkeypatch.setattr("guerillabackup.units.tar_records.BLOCK_SIZE", max(block_size, 16))
    monkeypatch.setattr("guerillabackup.units.tar_records.MAX_HELD_SIZE", held_size)
    found = list(find_whole_directories(str(index)))
    assert [directory.name for directory in found] == [name for name, _ in whole]
    for directory, (_, names) in zip(found, whole, strict=True):
        assert directory.entries in (names, None)
        assert directory.entries is not None or held_size < 1 << 20
    assert forget_moved_directories(str(index), str(tmp_path)) == 1_700_000_000 * 10**9 + 123
    assert index.read_bytes() == header + kept
