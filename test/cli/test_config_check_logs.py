"""What `config check` says of logfile units that would take too much."""

import os

import pytest

DEFINITION = "from guerillabackup.units.logfile import LogfileBackupUnit as backupGeneratorUnitClass\n"
ROTATED = r"^([a-z]+\.log)\.(?P<oldserial>[0-9]+)(?:\.(?P<compress>gz))?$"


@pytest.fixture
def host(tmp_path):
    """A configuration without keys, and a directory of logs."""
    for name in ("logs", "data", "conf", "conf/units"):
        (tmp_path / name).mkdir(mode=0o700)
    places = {"GeneralPersistencyBaseDir": "state", "GeneralRuntimeDataDir": "run"}
    places["DefaultFileSystemSinkBaseDir"] = "data"
    (tmp_path / "conf" / "config").write_text(
        "".join(f"{key} = {str(tmp_path / name)!r}\n" for key, name in places.items())
    )
    return tmp_path


@pytest.fixture
def check(host, command):
    """The warnings of a configuration whose units have these entries: regular expressions and sources."""

    def run(**units):
        for name, entries in units.items():
            listed = [(str(host / "logs"), regex, url, None, None) for regex, url in entries]
            (host / "conf" / "units" / name).write_text(DEFINITION)
            (host / "conf" / "units" / f"{name}.config").write_text(f"LogBackupUnitInputList = {listed!r}\n")
        warnings = command("config", "check", "--config-dir", host / "conf", "--json").document["warnings"]
        return [warning for warning in warnings if "logs" in warning and "encrypted" not in warning]

    return run


def log(host, *names):
    for name in names:
        (host / "logs" / name).touch()


def test_entries_that_take_the_same_files_are_told_of(host, check):
    log(host, "app.log.1", "app.log.2.gz", "web.log.1")
    (warning,) = check(Log=[(ROTATED, None), (r"^(app\.log)\.(?P<oldserial>\d+)", None)])
    assert warning.startswith("unit Log: two entries of LogBackupUnitInputList take ")
    assert "logs/app.log.1 and 1 more files, " in warning


def test_entries_of_two_units_with_one_regular_expression_are_told_of_without_a_file(check):
    (warning,) = check(A=[(ROTATED, None)], B=[(ROTATED, "/host/b")])
    assert warning.startswith("units A and B: two entries")


def test_entries_that_share_no_file_are_not_told_of(host, check):
    log(host, "app.log.1", "web.log.1")
    assert check(A=[(r"^(app\.log)\.\d+", None)], B=[(r"^(web\.log)\.\d+", None)]) == []


def test_a_log_whose_rotated_files_are_beside_it_is_the_live_one(host, check):
    log(host, "app.log", "app.log.1", "web.log-20260101")
    (warning,) = check(Log=[(r"^([a-z]+\.log)(?:\.(?P<oldserial>\d+))?$", None)])
    assert "logs/app.log is the live log, as 'app.log.1' beside it was rotated" in warning


def test_a_log_that_a_program_has_open_is_the_live_one(host, check):
    with open(host / "logs" / "app.log", "w"):
        (warning,) = check(Log=[(r"^([a-z]+\.log)$", None)])
        assert f"as process {os.getpid()} (" in warning
    assert check(Log=[(r"^([a-z]+\.log)$", None)]) == []


def test_a_rotated_log_that_a_program_has_not_let_go_of_is_none(host, check):
    with open(host / "logs" / "app.log.1", "w"):
        assert check(Log=[(ROTATED, None)]) == []
