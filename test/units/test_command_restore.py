"""Which program reads a stream when it is restored: what this host's configuration says, and nothing else."""

import pytest

from guerillabackup.config import load_configuration
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.units.command_restore import find_restore_source, open_restore_command

UNIT = "from guerillabackup.units.command import CommandBackupUnit as backupGeneratorUnitClass\n"
DUMP = {"Command": ["dump"], "Timing": [0, 1, None, 0]}


@pytest.fixture
def configure(tmp_path):
    """A configuration with units of these sources."""
    (tmp_path / "units").mkdir(mode=0o700)
    (tmp_path / "config").write_text("")

    def make(**units):
        for name, text in units.items():
            (tmp_path / "units" / name).write_text(UNIT)
            overlay = text if isinstance(text, str) else f"CommandBackupUnitConfigList = {text!r}\n"
            (tmp_path / "units" / f"{name}.config").write_text(overlay)
        return load_configuration(str(tmp_path))

    return make


def test_the_command_of_the_source_is_found_in_whatever_unit(configure):
    configuration = configure(
        A={"/host/other": DUMP},
        B={"/host/dump": {**DUMP, "RestoreCommand": ["load", "it"], "Environment": {"A": "1"}}},
        C="# a unit of another kind",
    )
    source = find_restore_source(configuration, SourceUrl("/host/dump"))
    with open_restore_command(source) as element:
        assert element.argv == ("load", "it")
        assert element.environment == {"A": "1"}
        assert element.working_directory == "/"
        assert element.allowed_exit_statuses == {0}


def test_what_is_wrong_elsewhere_does_not_matter(configure):
    configuration = configure(
        A="this is no Python",
        B={"/host/dump": {**DUMP, "RestoreCommand": ["load"]}, "/host/other": {"Command": 7}},
    )
    assert find_restore_source(configuration, SourceUrl("/host/dump")).restore_command == ("load",)


def test_a_source_without_a_command_is_told_with_the_other_way(configure):
    configuration = configure(A={"/host/dump": DUMP})
    with pytest.raises(
        ConfigError, match="no RestoreCommand in unit A; name the program with: --into-command"
    ):
        find_restore_source(configuration, SourceUrl("/host/dump"))


def test_a_source_that_was_renamed_is_told_with_what_it_may_be_now(configure):
    configuration = configure(A={"/host/dump2": DUMP}, B="(")
    with pytest.raises(ConfigError) as caught:
        find_restore_source(configuration, SourceUrl("/host/dump"))
    first, second = caught.value.problems
    assert "has commands for source /host/dump; did you mean /host/dump2; name the program with" in first
    assert second.startswith("unit B: ")


def test_wrong_settings_of_the_source_itself_are_told(configure):
    configuration = configure(A={"/host/dump": {**DUMP, "RestoreCommand": "load"}})
    with pytest.raises(ConfigError, match="source /host/dump: RestoreCommand: 'load' is not a list"):
        find_restore_source(configuration, SourceUrl("/host/dump"))
