"""What is known of archives before they are unpacked."""

import pytest

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import DirectoryRecord, Rename
from guerillabackup.restore.member_patterns import MemberPatterns
from guerillabackup.restore.survey import ArchiveSurvey, Selection
from guerillabackup.restore.tar_member import MemberType, TarMember


def member(name, kind=MemberType.FILE, link=b"", record=None):
    parsed = None if record is None else DirectoryRecord.parse(record)
    return TarMember(name, kind, 0, 0, link, parsed)


def directory(name, record=b"\0"):
    return member(name, MemberType.DIRECTORY, record=record)


def survey(*members):
    result = ArchiveSurvey()
    for each in members:
        result.take(each)
    result.end()
    return result


def test_a_directory_that_its_parent_does_not_list_as_one_is_a_root():
    found = survey(directory(b"./", b"Da\0Yb\0\0"), directory(b"./a/"), directory(b"./b/"))
    assert found.roots == {b".", b"b"}


def test_an_archive_as_tar_makes_it_needs_no_look_at_anything_but_its_roots():
    found = survey(
        directory(b"./", b"Da\0Yl\0\0"),
        directory(b"./a/"),
        member(b"./a/f"),
        member(b"./l", MemberType.SYMBOLIC_LINK),
    )
    assert (found.roots, found.outside, found.renames) == ({b"."}, set(), [])


def test_directories_that_are_not_in_the_archive_have_to_be_looked_at():
    found = survey(
        member(b"etc/ssh/config"), member(b"x", MemberType.HARD_LINK, b"usr/y"), directory(b"var/log/")
    )
    assert found.outside == {b"etc/ssh", b"usr", b"var"}
    assert found.roots == {b"var/log"}


def test_a_directory_counts_only_from_where_it_is_in_the_archive():
    assert survey(directory(b"x/y/"), directory(b"x/")).outside == {b"x"}


@pytest.mark.parametrize(
    "members",
    [
        [member(b"q", MemberType.SYMBOLIC_LINK, b"x"), member(b"q/file")],
        [directory(b"q/"), member(b"q", MemberType.SYMBOLIC_LINK, b"x"), member(b"q/file")],
        [member(b"q/a/b"), member(b"q", MemberType.SYMBOLIC_LINK, b"x")],
        [member(b"q", MemberType.HARD_LINK, b"x"), member(b"q/file")],
        [member(b"q/a/b"), member(b"q", MemberType.HARD_LINK, b"x")],
        [directory(b"q/"), member(b"q", MemberType.HARD_LINK, b"x")],
        [member(b"q", MemberType.HARD_LINK, b"x"), member(b"y", MemberType.HARD_LINK, b"q/file")],
        [member(b"../x")],
        [member(b"x", MemberType.HARD_LINK, b"a/../../y")],
    ],
)
def test_what_leads_out_by_itself_is_refused(members):
    with pytest.raises(IntegrityError):
        survey(*members)


def test_what_is_unchanged_is_remembered_where_renames_concern_it():
    found = survey(
        directory(b"./", b"Da\0Db\0Ra_old\0Ta\0\0"),
        directory(b"./a/", b"Nsame\0Ynew\0\0"),
        directory(b"./a/below/", b"Nmore\0\0"),
        directory(b"./b/", b"Nother\0\0"),
    )
    assert found.renames == [Rename(b"a_old", b"a")]
    assert found.unchanged == {b"a": {b"same"}, b"a/below": {b"more"}}


def test_members_are_chosen_by_what_they_are_called_in_the_end():
    selection = Selection(MemberPatterns(["new/f"]), [[], [Rename(b"old", b"new")]])
    first, second = selection.is_wanted(0), selection.is_wanted(1)
    assert first(member(b"./old/f"))
    assert not first(member(b"./new/f"))
    assert second(member(b"./new/f"))
    assert not second(member(b"./old/f"))
    assert first(directory(b"./elsewhere/"))


def test_what_a_chosen_hard_link_refers_to_is_chosen_too():
    selection = Selection(MemberPatterns(["z"]), [[], []])
    selection.take(0, member(b"./z", MemberType.HARD_LINK, b"./a"))
    assert selection.is_wanted(0)(member(b"./a"))
    assert not selection.is_wanted(1)(member(b"./a"))


def test_patterns_that_match_no_member_are_told():
    selection = Selection(MemberPatterns(["a", "b"]), [[]])
    selection.take(0, member(b"./a/f"))
    assert "no member matches 'b'" in selection.problem
