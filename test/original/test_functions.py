"""The original's helper functions."""

import os

import pytest

from guerillabackup.errors import ConfigError, SourceUrlError
from guerillabackup.original import functions
from guerillabackup.original.functions import (
    assertSourceUrlSpecificationConforming,
    getFileOpenerInformation,
    getPersistencyBaseDirPathname,
    getRuntimeDataDirPathname,
    isValueListOfType,
    listDirAt,
    openPersistencyFile,
    readFully,
    secureOpenAt,
)

MAKE_DIRECTORY = os.O_DIRECTORY | os.O_RDONLY | os.O_CREAT | os.O_EXCL


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"content")
    (tmp_path / "a" / "link").symlink_to("b")
    (tmp_path / "a" / "b" / "filelink").symlink_to("file")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def read(descriptor):
    try:
        return readFully(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_is_opened_below_a_directory_or_by_its_absolute_path(directory, tmp_path):
    assert read(secureOpenAt(directory, "a/b/file")) == b"content"
    assert read(secureOpenAt(None, f"{tmp_path}/a/b/file")) == b"content"
    assert listDirAt(directory) == ["a"]
    assert sorted(listDirAt(directory, "a")) == ["b", "link"]


@pytest.mark.parametrize("path", ["a/link/file", "a/b/filelink"])
def test_no_component_is_a_link_unless_it_is_said(directory, path):
    with pytest.raises(OSError, match=path.split("/")[-1] if path.endswith("link") else "link"):
        secureOpenAt(directory, path)
    flags = os.O_RDONLY | os.O_DIRECTORY
    descriptor = secureOpenAt(directory, path, True, dirOpenFlags=flags, fileOpenFlags=os.O_RDONLY)
    assert read(descriptor) == b"content"


def test_files_and_directories_are_made_with_the_modes_that_are_given(directory, tmp_path):
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(
        secureOpenAt(
            directory, "n/m/new", False, dirCreateMode=0o750, fileOpenFlags=flags, fileCreateMode=0o640
        )
    )
    os.close(secureOpenAt(directory, "n/d", dirCreateMode=0o700, fileOpenFlags=MAKE_DIRECTORY))
    os.close(secureOpenAt(directory, "n/d", dirCreateMode=0o700, fileOpenFlags=MAKE_DIRECTORY))
    modes = [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("n/m", "n/m/new", "n/d")]
    assert modes == ["0o750", "0o640", "0o700"]
    with pytest.raises(FileNotFoundError):
        secureOpenAt(directory, "none/file")


def test_paths_and_flags_that_make_no_sense_are_refused(directory):
    with pytest.raises(ConfigError, match="ends with '/'"):
        secureOpenAt(directory, "a/")
    with pytest.raises(ConfigError, match="lack O_DIRECTORY"):
        secureOpenAt(directory, "a/b", dirOpenFlags=os.O_RDONLY)
    os.close(secureOpenAt(directory, "/"))


def test_nothing_stays_open_after_an_error(directory):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("a/b/none", "a/link/x", "none/x"):
        with pytest.raises(OSError):
            secureOpenAt(directory, path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_state_is_kept_below_the_configured_directory(tmp_path):
    context = {"GeneralPersistencyBaseDir": str(tmp_path / "state")}
    descriptor = openPersistencyFile(context, "generators/Own", MAKE_DIRECTORY, 0o600)
    os.close(descriptor)
    assert (tmp_path / "state" / "generators" / "Own").stat().st_mode & 0o777 == 0o700
    assert getPersistencyBaseDirPathname({}) == "/var/lib/guerillabackup/state"
    assert getRuntimeDataDirPathname({}) == "/run/guerillabackup"
    assert getRuntimeDataDirPathname({"GeneralRuntimeDataDir": "/x"}) == "/x"


def test_lists_and_source_urls_are_checked():
    assert isValueListOfType(["a", "b"], str)
    assert not isValueListOfType(["a", 1], str)
    assert not isValueListOfType(("a",), str)
    assertSourceUrlSpecificationConforming("/a/b")
    with pytest.raises(SourceUrlError):
        assertSourceUrlSpecificationConforming("/a/../b")


def test_who_has_a_file_open_is_seen_with_its_flags(tmp_path):
    paths = [os.path.realpath(tmp_path / name) for name in ("written", "read", "closed")]
    for path in paths:
        with open(path, "w"):
            pass
    with open(paths[0], "a") as written, open(paths[1]) as read_only:
        first, second, third = getFileOpenerInformation(paths, functions.OPENER_INFO_IGNORE_ACCESS_ERRORS)
        [(process, [(descriptor, flags)])] = first
        assert (process, descriptor) == (os.getpid(), written.fileno())
        assert flags & os.O_ACCMODE == os.O_WRONLY
        [(_, [(descriptor, flags)])] = second
        assert descriptor == read_only.fileno()
        assert flags & os.O_ACCMODE == os.O_RDONLY
        assert third is None
    with pytest.raises(ConfigError, match="without links"):
        getFileOpenerInformation(["relative"])
