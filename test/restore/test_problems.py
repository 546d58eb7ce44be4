"""Which lines of tar are settled by what later elements hold."""

import pytest

from guerillabackup.restore.directory_record import FinalNames, Rename
from guerillabackup.restore.problems import OpenProblems, named_member
from guerillabackup.restore.tar_member import MemberType, TarMember


def member(name):
    return TarMember(name, MemberType.FILE, 0, 0, b"", None)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("./a: Cannot open: Not a directory", b"a"),
        ("./b c: Cannot create symlink to './x': File exists", b"b c"),
        (r"./\303\274\n\\: Cannot mkdir: File exists", b"\xc3\xbc\n\\"),
        ("./a: Cannot b: Cannot open: File exists", None),
        ("../a: Cannot open: File exists", None),
        ("12 more lines of tar", None),
        (f"./{'x' * 4100}: Cannot open: File name too long", None),
    ],
)
def test_the_member_is_read_off_a_line_where_it_is_sure(line, name):
    assert named_member(line) == name


def test_a_problem_is_settled_by_a_later_element_that_wrote_the_name_without_one():
    line = "./a: Cannot open: File exists"
    problems = OpenProblems(FinalNames([[], [], []]))
    problems.add(0, line)
    problems.add(1, line)
    problems.take(1, member(b"./a"))
    assert not problems.is_settled(0, line, lambda name: False)
    problems.take(2, member(b"./a"))
    assert problems.is_settled(0, line, lambda name: False)
    assert problems.is_settled(1, line, lambda name: False)
    assert not problems.is_settled(1, "12 more lines of tar", lambda name: True)


def test_a_problem_follows_the_renames_of_its_name():
    line = "./a/f: Cannot open: File exists"
    problems = OpenProblems(FinalNames([[], [Rename(b"a", b"b")]]))
    problems.add(0, line)
    assert not problems.is_settled(0, line, lambda name: name == b"a/f")
    problems.take(1, member(b"./b/f"))
    assert problems.is_settled(0, line, lambda name: False)
