"""What an archive's records call contained in it and is not."""

import os

import pytest

from guerillabackup.restore.directory_record import DirectoryRecord
from guerillabackup.restore.left_out import LeftOut
from guerillabackup.restore.tar_member import MemberType, TarMember


def directory(name, record):
    return TarMember(name, MemberType.DIRECTORY, 0, 0, b"", DirectoryRecord.parse(record))


def file(name):
    return TarMember(name, MemberType.FILE, 0, 0, b"", None)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "d" / "directory").mkdir(parents=True)
    (tmp_path / "d" / "file").write_text("x")
    (tmp_path / "d" / "link").symlink_to("directory")
    os.mkfifo(tmp_path / "d" / "fifo")
    (tmp_path / "way").symlink_to("d")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, descriptor
    os.close(descriptor)


def test_what_is_contained_and_no_member_is_left_out():
    left_out = LeftOut()
    for member in (directory(b"./", b"Dd\0Ytop\0Ysocket\0\0"), directory(b"./d/", b"Nold\0Yx\0Yy\0\0")):
        left_out.take(member)
    assert left_out.names == {b"top", b"socket", b"d/x", b"d/y"}
    left_out.take(file(b"./top"))
    left_out.take(file(b"./d/x"))
    assert left_out.names == {b"socket", b"d/y"}


def test_a_member_before_its_directory_is_not_left_out():
    left_out = LeftOut()
    members = [file(b"./d/x"), directory(b"./d/", b"Yx\0Ysocket\0\0")]
    for member in members:
        left_out.take(member)
    for member in members:
        left_out.confirm(member)
    assert left_out.names == {b"d/socket"}


def test_files_links_and_special_files_of_these_names_go_and_times_stay(root):
    path, descriptor = root
    os.utime(path / "d", ns=(1_000, 2_000))
    left_out = LeftOut()
    left_out.take(directory(b"./d/", b"Yfile\0Ylink\0Yfifo\0Ydirectory\0Yabsent\0\0"))
    left_out.remove(descriptor)
    assert os.stat(path / "d").st_mtime_ns == 2_000
    assert os.listdir(path / "d") == ["directory"]


def test_nothing_is_removed_over_a_link(root):
    path, descriptor = root
    left_out = LeftOut()
    left_out.take(directory(b"./way/", b"Yfile\0\0"))
    left_out.take(directory(b"./absent/", b"Yfile\0\0"))
    left_out.remove(descriptor)
    assert (path / "d" / "file").exists()
