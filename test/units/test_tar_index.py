"""Index files take the place of the ones before only when told to, and old ones are kept as asked."""

import bz2
import os

import pytest

from guerillabackup.errors import StateError, StorageError
from guerillabackup.generator.state import StateDirectory
from guerillabackup.units.tar_index import (
    begin_index,
    discard_next_index,
    drop_index,
    has_index,
    mark_of,
    promote_index,
    sync_index,
)


@pytest.fixture
def state(tmp_path):
    with StateDirectory(str(tmp_path / "state")) as directory:
        yield directory


def make_index(state, content, *, keep=0, time=None):
    path = begin_index(state, "a", from_current=False)
    with open(path, "wb") as file:
        file.write(content)
    if time is not None:
        os.utime(path, (time, time))
    sync_index(state, "a")
    promote_index(state, "a", keep)


def kept(state):
    names = sorted(name for name in os.listdir(state.path) if ".bz2." in name)
    return [bz2.decompress(open_bytes(state, name)) for name in names]


def open_bytes(state, name):
    with open(state.file_path(name), "rb") as file:
        return file.read()


def test_there_is_no_index_before_one_was_promoted(state):
    assert not has_index(state, "a")
    begin_index(state, "a", from_current=False)
    assert not has_index(state, "a")


def test_an_empty_index_is_none(state):
    make_index(state, b"")
    assert not has_index(state, "a")


def test_the_next_index_is_a_copy_of_the_current_one_or_empty(state):
    make_index(state, b"first" * 1_000_000)
    assert os.path.getsize(begin_index(state, "a", from_current=True)) == 5_000_000
    assert os.path.getsize(begin_index(state, "a", from_current=False)) == 0
    assert open_bytes(state, "a.index") == b"first" * 1_000_000


def test_the_next_index_is_for_its_owner_alone(state):
    assert os.stat(begin_index(state, "a", from_current=False)).st_mode & 0o777 == 0o600


def test_a_stale_next_index_blocks_nothing_even_as_a_link(state, tmp_path):
    (tmp_path / "elsewhere").write_text("its own")
    os.symlink(tmp_path / "elsewhere", state.file_path("a.index.next"))
    assert not os.path.islink(begin_index(state, "a", from_current=False))
    assert (tmp_path / "elsewhere").read_text() == "its own"


def test_promoting_can_be_repeated(state):
    make_index(state, b"first")
    make_index(state, b"second", keep=5)
    promote_index(state, "a", 5)
    assert open_bytes(state, "a.index") == b"second"
    assert kept(state) == [b"first"]


def test_a_crash_between_keeping_and_promoting_keeps_no_index_twice(state):
    make_index(state, b"first")
    make_index(state, b"second", keep=5, time=2000)
    begin_index(state, "a", from_current=True)
    os.rename(state.file_path("a.index.next"), state.file_path("later"))
    os.link(state.file_path("later"), state.file_path("a.index.next"))
    promote_index(state, "a", 5)
    make_again = state.file_path("a.index")
    with open(make_again, "wb") as file:
        file.write(b"second")
    os.utime(make_again, (2000, 2000))
    begin_index(state, "a", from_current=True)
    promote_index(state, "a", 5)
    assert kept(state) == [b"first", b"second"] or kept(state) == [b"second", b"first"]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(0, []), (1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4]), (50, [0, 1, 2, 3, 4]), (-1, [0, 1, 2, 3, 4])],
)
def test_so_many_old_indices_are_kept_as_was_asked_for(state, keep, expected):
    for number in range(6):
        make_index(state, b"%d" % number, keep=keep, time=1000 + number)
    assert kept(state) == [b"%d" % number for number in expected]
    assert open_bytes(state, "a.index") == b"5"


def test_indices_of_one_second_are_all_kept(state):
    for number in range(4):
        make_index(state, b"%d" % number, keep=-1, time=1000 + number / 10)
    assert kept(state) == [b"0", b"1", b"2"]


def test_fewer_are_kept_once_fewer_are_asked_for(state):
    for number in range(5):
        make_index(state, b"%d" % number, keep=-1, time=1000 + number)
    make_index(state, b"5", keep=1, time=1005)
    assert kept(state) == [b"4"]


def test_indices_of_other_sources_are_left_alone(state):
    for name in ("a.index.bz2.2020", "ab.index.bz2.20200101000000", "a.index.bz2.20200101000000.x"):
        with open(state.file_path(name), "wb") as file:
            file.write(bz2.compress(b"other"))
    make_index(state, b"first", keep=0)
    make_index(state, b"second", keep=0)
    assert kept(state) == [b"other"] * 3


def test_dropping_and_discarding_can_be_repeated(state):
    make_index(state, b"first")
    begin_index(state, "a", from_current=True)
    for _ in range(2):
        drop_index(state, "a")
        discard_next_index(state, "a")
    assert os.listdir(state.path) == []


def test_a_failure_names_the_file(state):
    os.mkdir(state.file_path("a.index.next"))
    with pytest.raises(StorageError, match=r"a\.index\.next"):
        begin_index(state, "a", from_current=False)


def test_a_directory_in_the_place_of_the_index_is_told_of_before_a_run(state):
    os.mkdir(state.file_path("a.index"))
    with pytest.raises(StateError, match=r"a\.index is a directory"):
        begin_index(state, "a", from_current=False)


def test_an_index_is_told_from_another_by_its_time_and_size(state):
    marks = set()
    for content in (b"5\x006\0", b"5\x007\0", b"5\x007\0x", b"7\x007\0x"):
        make_index(state, b"GNU tar-1.34-2\n" + content)
        marks.add(mark_of(state, "a"))
    assert len(marks) == 4
    assert mark_of(state, "b") is None


def test_the_mark_of_the_next_index_stays_when_it_becomes_the_current_one(state):
    path = begin_index(state, "a", from_current=False)
    with open(path, "wb") as file:
        file.write(b"GNU tar-1.34-2\n5\x006\0")
    mark = mark_of(state, "a", is_next=True)
    promote_index(state, "a", 0)
    assert mark_of(state, "a") == mark is not None
