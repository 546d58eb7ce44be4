"""The command that activates a unit works as it is printed."""

import shlex

from guerillabackup.cli.unit_hint import activation_command, what_to_do
from guerillabackup.config import execute_definition
from guerillabackup.generator.loader import list_units, load_unit_class


def test_the_command_activates_the_tar_unit(tmp_path, command):
    conf = tmp_path / "a b"
    conf.mkdir(mode=0o700)
    program, *arguments = shlex.split(activation_command(str(conf)))
    assert program == "guerillabackup"
    assert command(*arguments).status == 0
    (unit,) = list_units(str(conf / "units")).units
    assert load_unit_class(unit, execute_definition).__name__ == "TarBackupUnit"
    assert unit.overlay is not None


def test_the_line_names_the_command_and_the_file_to_edit(tmp_path):
    line = what_to_do(str(tmp_path))
    assert activation_command(str(tmp_path)) in line
    assert line.endswith(f"{tmp_path}/units/TarBackupUnit.config")
    assert "--config-dir" not in what_to_do("/etc/guerillabackup")
