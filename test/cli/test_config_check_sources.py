"""What `config check` says of the units' sources, and of units that would get into each other's way."""

import pytest

from guerillabackup.cli import config_check

UNIT = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
SETTINGS = "{'Root': '/etc', 'FullBackupTiming': [0, 60, None, None]}"
PLACES = ("GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir")


@pytest.fixture
def conf(tmp_path):
    for name in ("units", *PLACES):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "config").write_text("".join(f"{key} = {str(tmp_path / key)!r}\n" for key in PLACES))
    return tmp_path


def check_configuration(directory):
    """All that is found of configurations without a signing key, but that."""
    outcome = config_check.check_configuration(directory)
    outcome.warnings = [text for text in outcome.warnings if text != config_check.UNSIGNED]
    return outcome


def check(conf, **settings):
    """Of one unit with one source."""
    settings = {"Root": "/etc", "FullBackupTiming": [0, 60, None, None], **settings}
    (conf / "units" / "Tar").write_text(UNIT)
    (conf / "units" / "Tar.config").write_text(f"TarBackupUnitConfigList = {{'/host/a': {settings!r}}}\n")
    return check_configuration(str(conf))


def test_a_source_of_two_units_is_a_problem(conf):
    tmp_path = conf
    for unit, sources in (("A", ["/host/one"]), ("B", ["/host/one", "/host/two"])):
        (tmp_path / "units" / unit).write_text(UNIT)
        listed = ", ".join(f"{source!r}: {SETTINGS}" for source in sources)
        (tmp_path / "units" / f"{unit}.config").write_text(f"TarBackupUnitConfigList = {{{listed}}}\n")
    outcome = check_configuration(str(tmp_path))
    assert outcome.problems == [
        "source /host/one is one of unit A and one of unit B: take it from one of them"
    ]


def test_a_root_or_include_that_is_not_there_is_a_problem(conf):
    assert check(conf).problems == []
    (problem,) = check(conf, Root="/no/such/root").problems
    assert problem == "source /host/a: root /no/such/root is not a directory: is it mounted?"
    (problem,) = check(conf, Include=["./none"]).problems
    assert "/etc/none is to be included, but is not there" in problem


@pytest.mark.parametrize("name", ["PreBackupCommand", "FullOverrideCommand"])
def test_what_a_command_makes_need_not_be_there_yet(conf, name):
    assert check(conf, Root="/no/such/root", **{name: ["/bin/true"]}).problems == []


def test_programs_that_a_source_needs_have_to_be_there(conf, monkeypatch):
    (problem,) = check(conf, PostBackupCommand=["/no/such/program"]).problems
    assert problem == "source /host/a: PostBackupCommand: program /no/such/program is not there"
    monkeypatch.setenv("PATH", "/nowhere")
    assert "source /host/a: the program tar is not there: install the package tar" in check(conf).problems
    assert check(conf, FullOverrideCommand=["/bin/true"]).problems == []


def test_that_nothing_is_encrypted_is_warned_of_in_one_line(conf):
    assert check(conf).warnings == [
        "elements of /host/a are not encrypted: GeneralDefaultEncryptionElement is not set"
    ]


def test_a_pattern_that_never_matches_is_warned_of(conf):
    assert any("'/proc' never matches" in text for text in check(conf, Exclude=["/proc"]).warnings)


def test_a_configuration_that_backs_up_nothing_is_warned_of(conf):
    (warning,) = check_configuration(str(conf)).warnings
    assert warning.startswith(
        "no unit is enabled: nothing is backed up; activate a unit with: guerillabackup unit"
    )
    (conf / "units" / "Tar").write_text(UNIT)
    (conf / "units" / "Tar.config").write_text("TarBackupUnitConfigList = {}\n")
    assert check_configuration(str(conf)).warnings == ["unit Tar has no source: nothing is backed up"]


# Sources of commands.


COMMAND_UNIT = "from guerillabackup.units.command import CommandBackupUnit as backupGeneratorUnitClass\n"


def check_command(conf, unit="Command", url="/host/dump", **settings):
    settings = {"Command": ["true"], "Timing": [0, 60, None, None], **settings}
    (conf / "units" / unit).write_text(COMMAND_UNIT)
    (conf / "units" / f"{unit}.config").write_text(
        f"CommandBackupUnitConfigList = {{{url!r}: {settings!r}}}\n"
    )
    return check_configuration(str(conf))


def test_a_command_that_is_right_has_no_problem(conf):
    outcome = check_command(conf)
    assert outcome.problems == []
    assert outcome.warnings == [
        "elements of /host/dump are not encrypted: GeneralDefaultEncryptionElement is not set"
    ]


def test_every_problem_of_a_command_is_told_of(conf):
    outcome = check_command(conf, Comand=1, Timing=3)
    assert len(outcome.problems) == 2
    assert all("source /host/dump: " in problem for problem in outcome.problems)


def test_what_a_command_needs_and_the_host_does_not_have_is_a_problem(conf):
    secret = conf / "secret"
    secret.write_text("A=1")
    secret.chmod(0o644)
    outcome = check_command(conf, RestoreCommand=["/no/such/program"], EnvironmentFile=str(secret))
    assert [problem.split(": ")[:2] for problem in outcome.problems] == [
        ["source /host/dump", f"EnvironmentFile {secret}"],
        ["source /host/dump", "RestoreCommand"],
    ]


def test_a_secret_in_the_configuration_is_warned_of(conf):
    outcome = check_command(conf, Environment={"PGPASSWORD": "hunter2"})
    (warning,) = [text for text in outcome.warnings if "hunter2" not in text and "PGPASSWORD" in text]
    assert "put it into EnvironmentFile" in warning


def test_a_source_of_two_units_of_different_kinds_is_a_problem(conf):
    check(conf)
    assert check_command(conf, url="/host/a").problems == [
        "source /host/a is one of unit Command and one of unit Tar: take it from one of them"
    ]


def test_the_key_of_a_command_is_looked_for(conf):
    (conf / "keys").mkdir(mode=0o700)
    (problem,) = check_command(conf, EncryptionKey="missing").key_problems
    assert "'missing'" in problem


def test_a_unit_of_commands_without_any_is_warned_of(conf):
    (conf / "units" / "Command").write_text(COMMAND_UNIT)
    (conf / "units" / "Command.config").write_text("CommandBackupUnitConfigList = {}\n")
    assert check_configuration(str(conf)).warnings == ["unit Command has no source: nothing is backed up"]


@pytest.mark.parametrize("definition", [UNIT, COMMAND_UNIT])
def test_a_unit_without_its_settings_is_a_problem_as_in_a_run(conf, definition):
    (conf / "units" / "Some").write_text(definition)
    (problem,) = check_configuration(str(conf)).problems
    assert problem.startswith("unit Some: ")
    assert "BackupUnitConfigList is missing" in problem


def test_what_is_wrong_with_a_source_is_named_with_its_own_line(tmp_path, command):
    assert (
        command(
            "config",
            "init",
            "--yes",
            "--no-signing-key",
            "--base",
            tmp_path,
            "--config-dir",
            tmp_path / "etc",
        ).status
        == 0
    )
    assert command("unit", "enable", "TarBackupUnit", "--config-dir", tmp_path / "etc").status == 0
    overlay = tmp_path / "etc" / "units" / "TarBackupUnit.config"
    overlay.write_text("""TarBackupUnitConfigList = {}
TarBackupUnitConfigList['/h/a'] = {'Root': '/', 'FullBackupTiming': [0, 0, None, None]}
TarBackupUnitConfigList['/h/b'] = {
    'FullBackupTiming': [0, 0, None, None],
    'Root': 'not absolute',
}
TarBackupUnitConfigList['/h/c'] = {'Root': '/'}
TarBackupUnitConfigList['no url'] = {}
""")
    first = command("config", "check", "--config-dir", tmp_path / "etc").err
    assert f"{overlay}:8: TarBackupUnitConfigList " in first
    overlay.write_text(overlay.read_text().replace("TarBackupUnitConfigList['no url'] = {}\n", ""))
    told = command("config", "check", "--config-dir", tmp_path / "etc").err
    assert f"{overlay}:5: TarBackupUnitConfigList source /h/b: Root: " in told
    assert f"{overlay}:7: TarBackupUnitConfigList source /h/c: FullBackupTiming is not set" in told
