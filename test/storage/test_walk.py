"""Going through a storage's folders, and what is seen in each."""

import os

import pytest

from guerillabackup.errors import StorageError
from guerillabackup.storage.walk import info_names, list_folder, walk_folders


@pytest.fixture
def walk(tmp_path):
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def go(**options):
        listing = walk_folders(root_fd, str(tmp_path), lambda _, folder_fd: list_folder(folder_fd), **options)
        return {"/".join(directory): known for directory, _, known in listing}

    yield go
    os.close(root_fd)


def test_folders_come_in_the_order_of_their_names_each_before_those_in_it(walk, tmp_path):
    for name in ("b", "a/c", "a-", "a/.partial", ".partial/x", "no source"):
        (tmp_path / name).mkdir(parents=True)
    assert list(walk()) == ["", "a", "a/.partial", "a/c", "a-", "b"]
    assert list(walk(start=("a",))) == ["a", "a/.partial", "a/c"]
    assert list(walk(start=("a",), deeper=False)) == ["a"]
    assert list(walk(start=("gone",))) == []


def test_links_are_not_followed_and_are_neither_files_nor_folders(walk, tmp_path):
    (tmp_path / "link").symlink_to("/proc/self")
    (tmp_path / "a-file").touch()
    known = walk()[""]
    assert (known.files, known.folders, known.others) == (["a-file"], [], ["link"])
    assert walk(start=("link",)) == {}


def test_what_fails_in_a_folder_is_an_error_that_names_it(tmp_path):
    def look(directory, folder_fd):
        if directory:
            raise PermissionError(13, "Permission denied")
        return list_folder(folder_fd)

    (tmp_path / "a").mkdir()
    root_fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(StorageError, match="cannot list a: Permission denied"):
            list(walk_folders(root_fd, str(tmp_path), look))
    finally:
        os.close(root_fd)


def test_metadata_counts_where_data_is_beside_it(walk, tmp_path):
    for name in ("x.info", "x.data", "y.info", "z.data"):
        (tmp_path / name).touch()
    assert list(info_names(walk()[""])) == ["x.info"]
