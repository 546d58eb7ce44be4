"""Directories that have what their archive says of them, and nothing else."""

import contextlib
import os

import pytest

from guerillabackup.restore.directory_attributes import DirectoryAttributes
from guerillabackup.restore.tar_member import MemberType, TarMember


def directory(name, mode=0o700, xattrs=frozenset()):
    return TarMember(name, MemberType.DIRECTORY, 0, 0, b"", None, mode, xattrs)


@pytest.fixture
def apply(tmp_path):
    """Applies what members say below tmp_path; hands back the modes of opened directories."""

    def run(*members, opened=None):
        attributes = DirectoryAttributes()
        for member in members:
            attributes.take(member)
        modes = dict(opened or {})
        root_fd = os.open(tmp_path, os.O_RDONLY)
        try:
            attributes.apply(root_fd, modes)
        finally:
            os.close(root_fd)
        return modes

    return run


def mode_of(path):
    return path.stat().st_mode & 0o7777


def test_modes_are_those_of_the_archive(tmp_path, apply):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2700)
    apply(directory(b"./", 0o755), directory(b"./a/", 0o500))
    assert (mode_of(tmp_path), mode_of(tmp_path / "a")) == (0o755, 0o500)


def test_directories_that_are_opened_up_will_have_the_mode_of_the_archive(tmp_path, apply):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2700)
    assert apply(directory(b"./a/", 0o500), opened={b"a": 0o2500}) == {b"a": 0o500}
    assert mode_of(tmp_path / "a") == 0o2700


def test_extended_attributes_that_the_archive_does_not_name_go(tmp_path, apply):
    for name in ("user.old", "user.kept"):
        os.setxattr(tmp_path, name, b"1")
    apply(directory(b"./", xattrs=frozenset([b"user.kept"])))
    assert os.listxattr(tmp_path) == ["user.kept"]


def try_to_set(path, name):
    with contextlib.suppress(PermissionError):
        os.setxattr(path, name, b"1")


def test_attributes_that_only_root_may_set_go_as_well_but_labels_of_the_kernel_stay(tmp_path, apply):
    for name in ("trusted.old", "security.old", "security.kept", "security.SMACK64EXEC"):
        try_to_set(tmp_path, name)
    before = os.listxattr(tmp_path)
    apply(directory(b"./", xattrs=frozenset([b"security.kept"])))
    assert os.listxattr(tmp_path) == [name for name in before if not name.endswith(".old")]


def test_extended_attributes_stay_where_the_archive_has_no_place_for_them(tmp_path, apply):
    os.setxattr(tmp_path, "user.old", b"1")
    apply(directory(b"./", xattrs=None))
    assert os.listxattr(tmp_path) == ["user.old"]


def test_nothing_is_changed_through_a_link(tmp_path, apply):
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    before = mode_of(tmp_path / "elsewhere" / "below")
    os.symlink("elsewhere", tmp_path / "link")
    apply(directory(b"./link/", 0o1700), directory(b"./link/below/", 0o1700))
    assert mode_of(tmp_path / "elsewhere" / "below") == before


def test_what_is_not_there_is_passed_over(apply):
    apply(directory(b"./gone/"), directory(b"./gone/below/"))


def test_paths_longer_than_the_system_takes_are_followed(tmp_path, apply):
    step = b"d" * 200
    name = b"/".join([step] * 30)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(30):
            os.mkdir(step, 0o700, dir_fd=here)
            below = os.open(step, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        apply(directory(name, 0o750))
        assert os.fstat(here).st_mode & 0o7777 == 0o750
    finally:
        os.close(here)
