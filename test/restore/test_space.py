"""A full file system is named where something did not fit in it."""

import os

import pytest

from guerillabackup.errors import StorageError, StorageFullError
from guerillabackup.restore.space import space_told


def test_what_did_not_fit_says_where_and_how_much_is_free(tmp_path):
    expected = pytest.raises(StorageFullError, match="tar: Wrote only 5 of 9 bytes; no space left")
    with expected as caught, space_told(str(tmp_path)):
        raise StorageFullError("tar: Wrote only 5 of 9 bytes")
    mount = next(str(each) for each in (tmp_path, *tmp_path.parents) if os.path.ismount(each))
    assert f"the file system at {mount} has " in str(caught.value)
    assert " bytes" in str(caught.value)


def test_a_directory_is_meant_by_its_descriptor_as_well(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        expected = pytest.raises(StorageFullError, match="the file system at /")
        with expected, space_told(f"/proc/self/fd/{descriptor}"):
            raise StorageFullError("full")
    finally:
        os.close(descriptor)


def test_any_other_error_is_left_as_it_is_and_what_is_not_there_adds_nothing(tmp_path):
    with pytest.raises(StorageError, match=r"^other$"), space_told(str(tmp_path)):
        raise StorageError("other")
    with pytest.raises(StorageFullError, match=r"^full$"), space_told(str(tmp_path / "gone" / "dir")):
        raise StorageFullError("full")
