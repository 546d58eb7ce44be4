"""What one backup could not read the next one has, and until then a restore tells of it."""

import os

import pytest
from limited_tar import limit_tar
from trees import describe_tree

from guerillabackup.restore.directory_record import DirectoryRecord
from guerillabackup.restore.state_check import StateCheck
from guerillabackup.restore.tar_member import MemberType, TarMember
from guerillabackup.units.tar_snapshot import forget_names


@pytest.fixture
def tree(bench, monkeypatch):
    """Two directories; and tar has no more rights than an ordinary user."""
    limit_tar(bench.base, monkeypatch)
    for name in ("a/sub/file", "a/file", "a/same", "b/file"):
        (bench.tree / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.tree / name).write_text("old")
    yield bench.tree
    (bench.tree / "a").chmod(0o755)


def unreadable(element):
    return element.get("Unreadable", 0)


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444])
def test_what_could_not_be_read_is_in_the_next_backup(bench, tree, mode):
    bench.run()
    for name in ("a/sub/file", "a/file", "a/new", "b/file"):
        (tree / name).write_text("new")
    (tree / "a").chmod(mode)
    assert bench.run(IgnoreBackupRaces=True).error is None
    assert any("Cannot" in warning and "Permission denied" in warning for warning in bench.warnings())
    (tree / "a").chmod(0o755)
    assert bench.run(IgnoreBackupRaces=True).error is None
    assert bench.types() == ["full", "inc", "inc"]
    assert [unreadable(element) > 0 for element in bench.chain()] == [False, True, False]
    assert describe_tree(bench.restore()) == describe_tree(tree)


def test_without_leave_for_races_there_is_no_element_of_what_could_not_be_read(bench, tree):
    bench.run()
    (tree / "a").chmod(0)
    assert "Permission denied" in str(bench.run().error)
    (tree / "a").chmod(0o755)
    (tree / "a/file").write_text("new")
    assert bench.run(wait=4000).error is None
    assert bench.types() == ["full", "inc"]
    assert describe_tree(bench.restore()) == describe_tree(tree)


def test_after_more_complaints_than_are_kept_everything_is_archived(bench, tree):
    bench.run()
    for number in range(300):
        (tree / f"a/{number}").write_text("new")
    (tree / "a").chmod(0o444)
    assert bench.run(IgnoreBackupRaces=True).error is None
    (tree / "a").chmod(0o755)
    assert bench.run(IgnoreBackupRaces=True).error is None
    assert describe_tree(bench.restore()) == describe_tree(tree)
    assert any("more than is kept" in warning for warning in bench.warnings())


def test_a_directory_with_older_content_than_the_last_archive_knows_is_found(bench, tree):
    (tree / "empty").mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    check = StateCheck(descriptor)
    record = DirectoryRecord.parse(b"Na\0Db\0Nempty\0\0")
    check.take(TarMember(b"./", MemberType.DIRECTORY, 0, 0, b"", record))
    os.close(descriptor)
    assert check.stale == {b"a"}
    assert check.missing == set()


@pytest.mark.parametrize("held_size", [64, 1 << 20])
def test_names_are_taken_out_of_an_index_with_all_below_them(tmp_path, monkeypatch, held_size):
    monkeypatch.setattr("guerillabackup.units.tar_records.BLOCK_SIZE", 32)
    monkeypatch.setattr("guerillabackup.units.tar_records.MAX_HELD_SIZE", held_size)
    header = b"GNU tar-1.34-2\n1700000000\x00123\x00"

    def record(name, *entries):
        return b"\0".join([b"0", b"17", b"5", b"6", b"7", name, *entries]) + b"\0\0\0"

    many = [b"Y%d" % number for number in range(50)]
    index = tmp_path / "index"
    index.write_bytes(
        header
        + record(b".", b"Da", b"Db", b"Nc")
        + record(b"./a", b"Nf", b"Yg", *many)
        + record(b"./b", b"Dx", b"Nf")
        + record(b"./b/x", b"Yf")
        + record(b"./bx", b"Yf")
    )
    forget_names(str(index), {b"./b", b"./c", b"./a/f", b"./a/30", b"./a/49"})
    many = [entry for entry in many if entry not in (b"Y30", b"Y49")]
    assert index.read_bytes() == (
        header + record(b".", b"Da") + record(b"./a", b"Yg", *many) + record(b"./bx", b"Yf")
    )
    forget_names(str(index), None)
    assert index.read_bytes() == header
