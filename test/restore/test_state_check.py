"""Whether a directory has all that an archive's records list."""

import os

import pytest

from guerillabackup.restore.directory_record import DirectoryRecord
from guerillabackup.restore.state_check import MAX_REMEMBERED, StateCheck
from guerillabackup.restore.tar_member import MemberType, TarMember


def directory(name, record):
    return TarMember(name, MemberType.DIRECTORY, 0, 0, b"", DirectoryRecord.parse(record))


@pytest.fixture
def check(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_text("x")
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "broken").symlink_to("nowhere")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield StateCheck(descriptor)
    os.close(descriptor)


def test_what_is_listed_and_there_is_not_missing_whatever_it_is(check):
    check.take(directory(b"./", b"Dd\0Nlink\0Ybroken\0\0"))
    check.take(directory(b"./d/", b"Nfile\0\0"))
    check.take(TarMember(b"./no/directory", MemberType.FILE, 0, 0, b"", None))
    assert check.missing == set()


def test_what_is_listed_and_not_there_is_missing_by_its_whole_name(check):
    check.take(directory(b"./", b"Ngone\0\0"))
    check.take(directory(b"./d/", b"Nfile\0Yother\0\0"))
    check.take(directory(b"./absent/", b"Nx\0\0"))
    assert check.missing == {b"gone", b"d/other", b"absent/x"}


def test_what_is_behind_a_link_is_missing(check):
    check.take(directory(b"./link/", b"Nfile\0\0"))
    assert check.missing == {b"link/file"}


def test_no_more_names_are_remembered_than_the_limit_and_one_directory(check):
    check.take(directory(b"./", b"".join(b"Nn%d\0" % number for number in range(MAX_REMEMBERED)) + b"\0"))
    check.take(directory(b"./d/", b"Nmore\0\0"))
    assert len(check.missing) == MAX_REMEMBERED
