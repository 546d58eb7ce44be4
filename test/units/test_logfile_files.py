"""Files are removed only as what was read, wherever they are by then, and no link is ever followed."""

import os

import pytest

from guerillabackup.errors import StorageError
from guerillabackup.units.logfile_files import (
    FileIdentity,
    LogDirectory,
    MissingDirectoryError,
    Removal,
    show_path,
)


@pytest.fixture
def directory(tmp_path):
    with LogDirectory(str(tmp_path)) as directory:
        yield directory


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "app.log.1"
    path.write_text("content")
    return path


@pytest.fixture
def identity(path):
    return FileIdentity.of(path.stat())


def test_a_file_that_is_what_was_read_is_removed(directory, path, identity):
    assert directory.remove("app.log.1", identity) is Removal.REMOVED
    assert not path.exists()


def test_a_file_that_was_renamed_is_removed_under_its_new_name_alone(directory, path, identity):
    path.rename(path.with_name("app.log.2"))
    path.write_text("content")
    assert directory.remove("app.log.1", identity) is Removal.REMOVED
    assert os.listdir(path.parent) == ["app.log.1"]


@pytest.mark.parametrize("change", ["content", "time", "replaced", "link"])
def test_a_file_that_is_not_what_was_read_stays(directory, path, identity, change):
    if change == "content":
        path.write_text("content and more")
    elif change == "time":
        os.utime(path, ns=(0, identity.modified_ns + 1))
    else:
        kept = path.parent.parent / f"{path.parent.name}-elsewhere"
        path.rename(kept)
        if change == "link":
            path.symlink_to(kept)
        else:
            path.write_text("content")
            os.utime(path, ns=(0, identity.modified_ns))
    removal = directory.remove("app.log.1", identity)
    assert removal is (Removal.CHANGED if change in ("content", "time") else Removal.GONE)
    assert os.path.lexists(path)


def test_the_number_of_the_device_counts_but_after_a_restart(directory, path, identity):
    other = FileIdentity(identity.device + 1, identity.inode, identity.size, identity.modified_ns)
    assert directory.remove("app.log.1", other) is Removal.GONE
    assert directory.remove("app.log.1", other, after_restart=True) is Removal.REMOVED


def test_what_is_gone_is_gone(directory, path, identity):
    path.unlink()
    assert directory.remove("app.log.1", identity) is Removal.GONE


def test_a_directory_behind_a_link_is_not_opened(tmp_path):
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StorageError, match=f"write {tmp_path}/real/below"):
        LogDirectory(str(tmp_path / "link" / "below"))


def test_a_missing_directory_and_what_is_none_are_told_apart(tmp_path, path):
    with pytest.raises(MissingDirectoryError):
        LogDirectory(str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="Not a directory"):
        LogDirectory(str(path))


def test_names_of_any_bytes_are_listed_and_shown_on_one_line(tmp_path, directory):
    (tmp_path / os.fsdecode(b"a\nb\xff")).write_text("")
    assert directory.list_names() == ["a\nb\udcff"]
    assert directory.show("a\nb\udcff").isascii()
    assert "\n" not in directory.show("a\nb\udcff")
    assert show_path("/var/log", "syslog.1") == "/var/log/syslog.1"
