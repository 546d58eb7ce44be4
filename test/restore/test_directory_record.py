"""Directory records of tar, and what members are called after renames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import (
    TEMPORARY,
    DirectoryRecord,
    FinalNames,
    Rename,
    group_renames,
    normal_name,
    rename_forward,
)

CIRCLE = (Rename(b"b", TEMPORARY), Rename(b"a", b"b"), Rename(TEMPORARY, b"a"))


def test_entries_and_renames_are_read():
    record = DirectoryRecord.parse(b"Ya\0Nb\0Dc\0X.\0R./x\0T\0R./y\0T./x\0R\0T./y\0\0")
    assert record.entries == ((b"Y", b"a"), (b"N", b"b"), (b"D", b"c"))
    assert record.renames == (Rename(b"x", b""), Rename(b"y", b"x"), Rename(b"", b"y"))
    assert record.serialize_entries() == b"Ya\0Nb\0Dc\0\0"


@pytest.mark.parametrize(
    "data", [b"Q\0\0", b"Y\0\0", b"Ya/b\0\0", b"D..\0\0", b"Ra\0\0", b"Ta\0\0", b"Ra\0Rb\0\0"]
)
def test_what_tar_would_not_write_is_refused(data):
    with pytest.raises(IntegrityError):
        DirectoryRecord.parse(data)


@pytest.mark.parametrize("path", [b"..", b"../a", b"a/../../b", b".", b"/"])
def test_a_rename_out_of_the_target_or_of_it_is_refused(path):
    with pytest.raises(IntegrityError):
        DirectoryRecord.parse(b"R" + path + b"\0Tb\0\0")


@pytest.mark.parametrize(
    ("name", "normal"),
    [(b"./", b"."), (b"/", b"."), (b"./a//b/", b"a/b"), (b"/etc/passwd", b"etc/passwd"), (b"a/./b", b"a/b")],
)
def test_names_below_the_target_have_one_form(name, normal):
    assert normal_name(name) == normal


@pytest.mark.parametrize(
    ("renames", "name", "final"),
    [
        ((Rename(b"a", b"b"),), b"a/f", b"b/f"),
        ((Rename(b"a", b"b"),), b"ab/f", b"ab/f"),
        ((Rename(b"a", b"b"),), b"b/f", None),
        ((Rename(b"b", b"c"), Rename(b"a", b"b")), b"b/f", b"c/f"),
        ((Rename(b"a", b"b"), Rename(b"b/x", b"b/y")), b"a/x/f", b"b/y/f"),
        (CIRCLE, b"a/f", b"b/f"),
        (CIRCLE, b"b/f", b"a/f"),
        (CIRCLE, b"c", b"c"),
    ],
)
def test_a_name_goes_where_its_directory_goes(renames, name, final):
    assert rename_forward(name, renames) == final


def test_the_final_name_is_that_after_all_later_elements():
    names = FinalNames([[], [Rename(b"a", b"b")], [], [Rename(b"b", b"c")]])
    assert [names.of(index, b"a") for index in range(4)] == [b"c", b"a", b"a", b"a"]
    assert [names.of(index, b"b") for index in range(4)] == [None, b"c", b"c", b"b"]


def test_a_circle_is_one_group_and_all_others_stand_alone():
    assert group_renames([Rename(b"x", b"y"), *CIRCLE, Rename(b"y", b"z")]) == [
        [Rename(b"x", b"y")],
        list(CIRCLE),
        [Rename(b"y", b"z")],
    ]


@pytest.mark.parametrize(
    "renames", [CIRCLE[:2], CIRCLE[1:], (CIRCLE[0], *CIRCLE), (Rename(TEMPORARY, TEMPORARY),)]
)
def test_a_circle_that_is_not_one_is_refused(renames):
    with pytest.raises(IntegrityError):
        group_renames(renames)


@given(st.lists(st.tuples(st.sampled_from([b"Y", b"N", b"D"]), st.binary(min_size=1, max_size=20))))
def test_any_entries_are_read_as_they_were_written(entries):
    entries = [
        (code, name) for code, name in entries if not set(name) & {0, 47} and name not in (b".", b"..")
    ]
    record = DirectoryRecord(tuple(entries), (), False)
    assert DirectoryRecord.parse(record.serialize_entries()) == record


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(data):
    try:
        DirectoryRecord.parse(data)
    except IntegrityError:
        pass
