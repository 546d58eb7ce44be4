"""What `config check` says of the units' sources, and of units that would get into each other's way."""

import pytest

from guerillabackup.cli.config_check import check_configuration

UNIT = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
SETTINGS = "{'Root': '/etc', 'FullBackupTiming': [0, 60, None, None]}"
PLACES = ("GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir")


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "units").mkdir(mode=0o700)
    (tmp_path / "config").write_text("".join(f"{key} = {str(tmp_path / 'var')!r}\n" for key in PLACES))
    return tmp_path


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
