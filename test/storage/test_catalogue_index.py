"""The catalogue's file: what was written is read as it was, or not at all."""

import contextlib
import os
import sqlite3

import pytest

from guerillabackup.storage.catalogue_index import NAME, EntryLost, FolderChange, open_index

STAMP = (1, 2, 3)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "catalogue" / "data.sqlite")


def row(name, timestamp=1):
    return (name, "full", timestamp, b"uuid", None, None, 1, 5, 6, 7, 8)


def change(edition=None, rows=(), removed=(), *, path="a", gone=(), is_last=True):
    return FolderChange(path, edition, STAMP, ["b", "c"], list(gone), list(removed), list(rows), is_last)


@contextlib.contextmanager
def opened(path, storage="/data"):
    index = open_index(path, storage)
    assert index is not None
    try:
        yield index
    finally:
        index.close()


def rows(index, columns=NAME):
    entry = index.find("a")
    return None if entry is None else [each for page in index.pages(entry, columns) for each in page]


def test_a_folder_is_read_as_it_was_written_and_changed(path):
    with opened(path) as index:
        index.write(change(rows=[row("1"), row("2"), row("2", 9)]))
    with opened(path) as index:
        entry = index.find("a")
        assert (entry.stamp, entry.folders, entry.row_count) == (STAMP, ["b", "c"], 2)
        assert rows(index, 11) == [row("1"), row("2", 9)]
        index.write(change(entry.edition, [row("3")], ["1"]))
        assert rows(index) == [("2",), ("3",)]
        assert index.find("b") is None
    assert {
        name: os.stat(os.path.join(os.path.dirname(path), name)).st_mode & 0o777
        for name in os.listdir(os.path.dirname(path))
    } == {"data.sqlite": 0o600, "data.sqlite-journal": 0o600, "data.sqlite.lock": 0o600}


def test_a_change_to_what_another_process_has_changed_is_left_out(path):
    with opened(path) as index, opened(path) as other:
        index.write(change(rows=[row("1")]))
        entry = index.find("a")
        other.write(change(entry.edition, [row("2")]))
        index.write(change(entry.edition, [row("3")]))
        index.drop("a", entry.edition)
        assert rows(index) == [("1",), ("2",)]
        with pytest.raises(EntryLost):
            list(index.pages(entry))


def test_a_change_in_parts_counts_with_its_last_one(path):
    with opened(path) as index:
        part = change(rows=[row("1")], is_last=False)
        index.write(part)
        assert index.find("a") is None
        index.write(change(part.edition, [row("2")]))
        assert rows(index) == [("1",), ("2",)]


def test_folders_that_are_no_more_are_forgotten_with_all_below_them(path):
    with opened(path) as index:
        for name in ("a/b", "a/b/c", "a/b-", "a/bc"):
            index.write(change(rows=[row("1")], path=name))
        index.write(change(gone=["a/b"]))
        assert [name for name in ("a/b", "a/b/c", "a/b-", "a/bc") if index.find(name)] == ["a/b-", "a/bc"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE element SET checksum = x'00'",
        "DELETE FROM element WHERE name = '1'",
        "INSERT INTO element (folder, name) VALUES (1, '0')",
    ],
)
def test_rows_that_do_not_agree_with_their_sums_are_lost(path, damage):
    with opened(path) as index:
        index.write(change(rows=[row("1"), row("2")]))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(damage)
            connection.commit()
        with pytest.raises(EntryLost):
            rows(index, 11)


@pytest.mark.parametrize("column", ["inode = 9", "folders = 'x'", "row_sums = x''", "path = 'a', id = 77"])
def test_a_folder_that_does_not_agree_with_its_sum_is_not_there(path, column):
    with opened(path) as index:
        index.write(change(rows=[row("1")]))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"UPDATE folder SET {column}")
            connection.commit()
        assert index.find("a") is None


def test_a_damaged_file_is_removed_when_nobody_has_it_open_any_more(path):
    with opened(path) as index:
        index.write(change(rows=[row(f"{number:04}") for number in range(2000)]))
    size = os.path.getsize(path)
    with open(path, "r+b") as stream:
        stream.seek(8192)
        stream.write(b"\x55" * (size - 8192))
    with opened(path) as index, opened(path) as other:
        with contextlib.suppress(EntryLost):
            rows(index, 11)
        with contextlib.suppress(EntryLost):
            rows(other, 11)
    assert not os.path.exists(path)
    with opened(path) as index:
        assert index.find("a") is None


def test_while_another_process_makes_it_anew_there_is_no_catalogue(path):
    import fcntl

    with opened(path):
        pass
    with open(f"{path}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert open_index(path, "/data") is None
    with opened(path):
        assert open_index(path, "/other") is None


def test_a_reader_does_not_wait_long_for_a_writer(path):
    with opened(path) as index:
        index.write(change(rows=[row("1")]))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert index.find("a") is None
            assert not index.is_usable
    with opened(path) as index:
        assert rows(index) == [("1",)]
