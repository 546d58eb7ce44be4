"""`generator run` on a terminal and in cron: what it takes, what it says, and how it ends."""

import os
import socket

import pytest

from guerillabackup.generator.state import StateDirectory

DEFINITION = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
SELDOM = [10**7, 10**8, None, 0]


@pytest.fixture
def host(tmp_path):
    """A configuration without keys, and a tree of one file."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content")
    (tmp_path / "conf" / "units").mkdir(parents=True, mode=0o700)
    (tmp_path / "data").mkdir()
    places = {"GeneralPersistencyBaseDir": "state", "GeneralRuntimeDataDir": "run"}
    places["DefaultFileSystemSinkBaseDir"] = "data"
    (tmp_path / "conf" / "config").write_text(
        "".join(f"{key} = {str(tmp_path / name)!r}\n" for key, name in places.items())
    )
    return tmp_path


@pytest.fixture
def generate(host, command):
    return lambda *arguments: command("generator", "run", "--once", *arguments, "--config-dir", host / "conf")


def add_unit(host, *names, root="tree"):
    settings = {"Root": str(host / root), "FullBackupTiming": SELDOM, "IncBackupTiming": SELDOM}
    (host / "conf" / "units" / "Tar").write_text(DEFINITION)
    (host / "conf" / "units" / "Tar.config").write_text(
        f"TarBackupUnitConfigList = {(dict.fromkeys(names, settings))!r}\n"
    )


def test_a_full_backup_of_one_source_is_made_when_it_is_asked_for(host, generate):
    add_unit(host, "/host/a", "/host/b")
    assert generate().out.count("stored") == 2
    assert generate().out == "nothing was due; next: unit Tar in 115 d 17 h\n"
    outcome = generate("--full", "--source", "/host/b")
    assert outcome.status == 0
    assert outcome.out.count("\n") == 1
    assert "-b-full" in outcome.out
    assert "-a-inc" in generate("--source", "/host/a").out


def test_an_unknown_source_is_an_error_that_names_the_near_one(host, generate):
    add_unit(host, "/host/system")
    outcome = generate("--source", "/host/sytem")
    assert outcome.status == 1
    assert outcome.err.endswith("there is no source '/host/sytem'; is /host/system meant?\n")


def test_without_a_unit_it_fails_and_says_what_to_type(host, generate):
    outcome = generate()
    assert outcome.status == 1
    assert "no unit is enabled" in outcome.err
    assert "guerillabackup unit enable TarBackupUnit" in outcome.err
    add_unit(host)
    outcome = generate()
    assert outcome.status == 1
    assert "unit Tar has no source" in outcome.err
    assert generate("--json").document["kind"] == "ConfigError"


def test_quiet_writes_nothing_when_all_is_well(host, generate):
    add_unit(host, "/host/a")
    assert [generate("--quiet").out for _ in range(2)] == ["", ""]
    add_unit(host, "/host/a", "/host/b", root="none")
    outcome = generate("--quiet")
    assert (outcome.status, outcome.out) == (3, "")
    assert "is it mounted" in outcome.err


@pytest.mark.parametrize("name", ["conf/config", "conf/units/Tar.config"])
def test_quiet_is_not_silent_where_what_was_due_is_not_stored_in_test_mode(host, generate, command, name):
    add_unit(host, "/host/a", "/host/b")
    with open(host / name, "a") as file:
        file.write("GeneralDebugTestModeFlag = True\n")
    for outcome in (generate("--quiet"), generate("--json")):
        assert outcome.status == 0
        told = (
            "warning: unit Tar ran for /host/a, /host/b and stored nothing: GeneralDebugTestModeFlag is set ("
        )
        assert f"{told}{host / name}:" in outcome.err
    checked = command("config", "check", "--config-dir", host / "conf")
    assert f"{host / name}:" in checked.err
    assert "GeneralDebugTestModeFlag is set: everything is run, nothing is stored" in checked.err


def test_a_log_that_is_still_open_is_said_and_no_reason_for_mail(host, generate):
    (host / "logs").mkdir()
    (host / "conf" / "units" / "Log").write_text(
        "from guerillabackup.units.logfile import LogfileBackupUnit as backupGeneratorUnitClass\n"
    )
    entry = (str(host / "logs"), r"^(app)\.(?P<oldserial>[0-9])$", None, None, None)
    (host / "conf" / "units" / "Log.config").write_text(f"LogBackupUnitInputList = [{entry!r}]\n")
    for options, said in ((("--quiet",), 0), ((), 1)):
        with open(host / "logs" / "app.1", "a"):
            outcome = generate("--unit", "Log", "--source", f"{host / 'logs'}/app", *options)
        assert (outcome.status, outcome.err.count("still open")) == (0, 0)
        assert outcome.out.count("app: left for the next run: ") == said


def test_a_run_beside_one_that_is_still_going_on_is_no_error_for_a_day(host, generate, monkeypatch):
    add_unit(host, "/host/a")
    with StateDirectory(str(host / "state" / "generators" / "Tar")):
        quiet, loud = generate("--quiet"), generate()
        assert (quiet.status, quiet.out, loud.status) == (0, "", 0)
        assert "Tar" not in quiet.err
        told = f"unit Tar is due, but was not run: another run (process {os.getpid()}, for "
        assert told in loud.out
        monkeypatch.setattr("guerillabackup.generator.runner.LONG_RUN_SECONDS", 0.0)
        hung = generate("--quiet")
        assert (hung.status, "is it hung" in hung.err) == (3, True)


def test_sockets_that_are_left_out_are_no_warning_but_said(host, generate):
    add_unit(host, "/host/a")
    here = os.getcwd()
    os.chdir(host / "tree")
    try:
        for name in ("one", "two"):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(name)
    finally:
        os.chdir(here)
    outcome = generate()
    assert outcome.out.endswith("-a-full (2 sockets left out)\n")
    assert "socket ignored" not in outcome.err
    assert generate("--full", "--json").document["warnings"] == ["source /host/a: 2 sockets left out"]


@pytest.mark.parametrize("setting", ["GeneralSigningKey", "GeneralDefaultEncryptionElement"])
def test_a_lost_keyring_ends_with_5(host, generate, setting):
    add_unit(host, "/host/a")
    value = "'host'" if setting == "GeneralSigningKey" else "guerillabackup.GpgEncryptionPipelineElement('k')"
    with (host / "conf" / "config").open("a") as config:
        config.write(f"{setting} = {value}\n")
    outcome = generate()
    assert outcome.status == 5
    assert f"keyring {host / 'conf' / 'keys'}: No such file or directory" in outcome.err


def test_a_unit_that_is_skipped_is_told_of_with_the_reason_and_is_no_error(host, generate):
    add_unit(host, "/host/a")
    with open(host / "conf" / "config", "a") as config:
        config.write("DefaultUnitRunCondition = guerillabackup.FreeSpaceCondition('/', 2**80)\n")
    outcome = generate()
    assert outcome.status == 0
    assert outcome.out.startswith("unit Tar is due, but was not run: ")
    assert outcome.out.endswith(" bytes are free in /, 1208925819614629174706176 are wanted\n")
    assert generate("--quiet").out == ""
    (skipped,) = generate("--json").document["skipped_units"]
    assert skipped["unit"] == "Tar"
    assert "bytes are free" in skipped["reason"]
    assert "stored" in generate("--unit", "Tar").out


def test_quiet_holds_warnings_of_settings_back_until_there_are_others(host, generate, command):
    add_unit(host, "/host/a")
    checked = command("config", "check", "--config-dir", host / "conf").err
    assert ("not be signed" in checked, "not encrypted" in checked) == (True, True)
    assert "are not signed" in generate().err
    assert generate("--quiet", "--full").err == ""
    (host / "tree" / "file").unlink()
    (host / "tree").rmdir()
    errors = generate("--quiet", "--full").err
    assert "error: " in errors
    assert "are not signed" in errors
    assert "are not encrypted" in errors


def test_a_storage_that_is_not_mounted_gets_nothing(host, generate, command):
    add_unit(host, "/host/a")
    assert generate().status == 0
    (host / "data").rename(host / "away")
    for missing in (True, False):
        check = command("config", "check", "--config-dir", host / "conf")
        outcome = generate("--full")
        assert (check.status, outcome.status) == (1, 1)
        assert "is it mounted" in check.err
        assert "is it mounted" in outcome.err
        if missing:
            (host / "data").mkdir()
    assert list((host / "data").iterdir()) == []
    (host / "data").rmdir()
    (host / "away").rename(host / "data")
    assert generate("--full").status == 0


def test_a_source_that_is_empty_all_of_a_sudden_fails_until_that_is_accepted(host, generate):
    add_unit(host, "/host/a")
    assert generate().status == 0
    (host / "tree" / "file").unlink()
    for options in ((), ("--full",), ("--full", "--source", "/host/a", "--quiet")):
        if not options:
            assert generate().status == 0  # nothing is due
            continue
        outcome = generate(*options)
        assert (outcome.status, outcome.out) == (3, "")
        assert "tree is empty, although the last backup had content there: is it mounted?" in outcome.err
    assert generate("--accept-empty").status == 2
    assert generate("--accept-empty", "--source", "/host/a").status == 0
    assert generate("--full").status == 0
