"""What is said of a directory that is missing, or that is no storage."""

from guerillabackup.storage.place import describe_empty, describe_missing, find_foreign_file


def test_a_directory_that_is_not_there_or_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("nothing", "file"):
        assert f"{tmp_path / name} is not there or no directory: is it mounted" in describe_missing(
            str(tmp_path / name)
        )
    assert describe_missing(str(tmp_path)) is None
    assert f"{tmp_path} has no elements at all" in describe_empty(str(tmp_path))


def test_a_file_that_no_storage_has_is_found_however_deep(tmp_path):
    deep = tmp_path / "host" / "system"
    deep.mkdir(parents=True)
    (deep / "20261120140000-root-full.data").write_text("what a crash left")
    (tmp_path / "lost+found").mkdir()
    assert find_foreign_file(str(tmp_path)) is None
    (deep / "passwd").write_text("")
    assert find_foreign_file(str(tmp_path)) == "host/system/passwd"


def test_where_nothing_can_be_looked_at_nothing_is_found(tmp_path):
    assert find_foreign_file(str(tmp_path / "nothing")) is None
