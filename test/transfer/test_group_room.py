"""How many elements connections have open at a time."""

import contextlib

import pytest

from guerillabackup.transfer.group_room import MAX_GROUP, GroupRoom


def test_who_comes_later_finds_room_too_and_always_for_one():
    room = GroupRoom(100)
    with contextlib.ExitStack() as stack:
        counts = [stack.enter_context(room.taking()) for _ in range(10)]
    assert counts == [50, 25, 12, 6, 3, 2, 1, 1, 1, 1]
    with room.taking() as count:
        assert count == 50, "all of it is back"


def test_nobody_takes_more_than_a_group_or_than_wanted():
    room = GroupRoom(10_000)
    with room.taking() as many, room.taking(1) as one:
        assert (many, one) == (MAX_GROUP, 1)


def test_room_is_given_back_after_an_error():
    room = GroupRoom(10)
    with pytest.raises(ZeroDivisionError), room.taking():
        raise ZeroDivisionError
    with room.taking() as count:
        assert count == 5


def test_few_open_files_make_small_groups(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    with GroupRoom().taking() as count:
        assert count == 10
