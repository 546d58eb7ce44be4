"""The commands that activate a unit work as they are printed."""

import os
import subprocess

from guerillabackup.cli.unit_hint import activation_commands, what_to_do
from guerillabackup.config import execute_definition
from guerillabackup.generator.loader import list_units, load_unit_class


def test_the_commands_activate_the_tar_unit(tmp_path):
    conf = tmp_path / "a b"
    (conf / "units").mkdir(parents=True, mode=0o700)
    for command in activation_commands(str(conf)):
        subprocess.run(command, shell=True, check=True)
    (unit,) = list_units(str(conf / "units")).units
    assert load_unit_class(unit, execute_definition).__name__ == "TarBackupUnit"
    assert unit.overlay is not None
    assert os.path.getsize(unit.overlay) > 1000


def test_the_line_names_the_commands_and_the_file_to_edit(tmp_path):
    line = what_to_do(str(tmp_path))
    assert all(command in line for command in activation_commands(str(tmp_path)))
    assert line.endswith(f"{tmp_path}/units/TarBackupUnit.config")
