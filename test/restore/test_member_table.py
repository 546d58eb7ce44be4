"""Members kept in order, completed by name."""

from guerillabackup.restore.interface import ListedMember
from guerillabackup.restore.member_table import MemberTable


def test_a_name_that_is_added_again_is_there_once_with_what_is_known_of_it():
    with MemberTable() as table:
        table.add(ListedMember(b"a", "directory", None, None))
        table.add(ListedMember(b"b", "file", 0, 0))
        table.add(ListedMember(b"a", "directory", None, 7))
        table.add(ListedMember(b"a", None, None, None))
        assert list(table) == [ListedMember(b"a", "directory", None, 7), ListedMember(b"b", "file", 0, 0)]


def test_only_what_lacks_something_is_completed_and_once():
    with MemberTable() as table:
        table.add(ListedMember(b"\xff", None, None, None))
        table.add(ListedMember(b"b", "file", 1, 1))
        assert table.count_incomplete() == 1
        assert table.complete(ListedMember(b"\xff", "file", 1 << 62, -5))
        assert not table.complete(ListedMember(b"\xff", "file", 2, 2))
        assert not table.complete(ListedMember(b"b", "file", 2, 2))
        assert not table.complete(ListedMember(b"c", "file", 2, 2))
        assert table.count_incomplete() == 0
        assert list(table) == [ListedMember(b"b", "file", 1, 1), ListedMember(b"\xff", "file", 1 << 62, -5)]


def test_members_come_in_the_order_of_the_tree():
    names = [b".", b"a", b"a/b", b"a/b/c", b"a/z", b"a b", b"a-1", b"a.d", b"a.d/x", b"b", b"\xff"]
    with MemberTable() as table:
        for name in reversed(names):
            table.add(ListedMember(name, "file", 0, 0))
        assert [member.name for member in table] == names
