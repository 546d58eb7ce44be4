"""What `config check` says of directories that others may write, and of paths that are not there."""

import pytest

from guerillabackup.cli.config_check_places import warn_of_places
from guerillabackup.config import load_configuration


@pytest.fixture
def conf(tmp_path):
    for name in ("conf", "state", "data"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path / "conf"


def load(conf, *lines):
    places = {"GeneralPersistencyBaseDir": "state", "DefaultFileSystemSinkBaseDir": "data"}
    text = [f"{key} = {str(conf.parent / name)!r}" for key, name in places.items()]
    (conf / "config").write_text("\n".join([*text, *lines]) + "\n")
    return load_configuration(str(conf))


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("name", ["state", "data"])
def test_a_directory_that_others_can_write_is_warned_of_once(conf, name, mode):
    assert warn_of_places(load(conf), []) == []
    (conf.parent / name).chmod(mode)
    (warning,) = warn_of_places(load(conf), [load(conf)])
    assert f"can be written by others (mode {mode:04o})" in warning
    assert warning.endswith(f"chmod go-w {conf.parent / name}")


def test_a_storage_may_be_its_groups_where_that_is_configured(conf):
    (conf.parent / "data").chmod(0o770)
    assert warn_of_places(load(conf, "StorageDirectoryMode = 0o770"), []) == []
    (conf.parent / "data").chmod(0o777)
    assert len(warn_of_places(load(conf, "StorageDirectoryMode = 0o770"), [])) == 1


def test_a_path_of_a_condition_that_is_not_there_is_warned_of_with_its_line(conf):
    def condition(path):
        return (
            "DefaultUnitRunCondition = guerillabackup.LogicalAndCondition(["
            f"guerillabackup.FreeSpaceCondition({str(path)!r}, 5)])"
        )

    assert warn_of_places(load(conf, condition(conf)), []) == []
    (warning,) = warn_of_places(load(conf, condition(conf / "none")), [])
    assert warning.startswith(f"{conf}/config:3: DefaultUnitRunCondition: path {conf}/none of FreeSpace")


def test_config_check_tells_it(conf, command):
    load(conf)
    (conf.parent / "state").chmod(0o777)
    outcome = command("config", "check", "--config-dir", conf)
    assert "(GeneralPersistencyBaseDir) can be written by others (mode 0777)" in outcome.err
