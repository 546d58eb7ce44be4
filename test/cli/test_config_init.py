"""The template: it documents every key, loads as it is, and is found however the package is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guerillabackup.cli.config_init import fill_template, find_template
from guerillabackup.config import load_configuration
from guerillabackup.config_keys import KEYS

ROOT = Path(__file__).parents[2]


def test_the_template_has_every_key_once_behind_words_about_it():
    text = Path(find_template()).read_text(encoding="utf-8")
    for name in KEYS:
        assert len(re.findall(rf"^(?:# )?{name} = ", text, re.MULTILINE)) == 1
    assert set(re.findall(r"^(?:# )?([A-Z]\w+) = ", text, re.MULTILINE)) == set(KEYS)


@pytest.mark.parametrize("everything", [False, True])
def test_the_template_loads_as_it_is_and_with_everything_in_effect(tmp_path, everything):
    text = Path(find_template()).read_text(encoding="utf-8")
    if everything:
        text = re.sub(r"^# ([A-Z]\w+ = )", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "config").write_text(text)
    (tmp_path / "config").chmod(0o600)
    configuration = load_configuration(str(tmp_path))
    configuration.require(
        "GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir"
    )


def test_settings_take_the_place_of_their_lines():
    text = "# A = 1\nB = 2\n# about A = no\n"
    assert fill_template(text, {"A": r"'\1'", "B": "3"}) == "A = '\\1'\nB = 3\n# about A = no\n"
    assert fill_template(text, {"C": "4"}).endswith("\nC = 4\n")


def test_an_installed_package_has_its_templates_within(tmp_path):
    # What the wheel holds: the package, and etc/guerillabackup as templates/ in it.
    shutil.copytree(ROOT / "guerillabackup", tmp_path / "guerillabackup")
    shutil.copytree(ROOT / "etc" / "guerillabackup", tmp_path / "guerillabackup" / "templates")
    assert '"etc/guerillabackup" = "guerillabackup/templates"' in (ROOT / "pyproject.toml").read_text()
    program = "from guerillabackup.cli.config_init import find_template; print(find_template())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == str(tmp_path / "guerillabackup" / "templates" / "config.template")


def test_a_wheel_holds_the_templates_and_definitions_of_all_units():
    included = (ROOT / "pyproject.toml").read_text()
    assert '"units" = "guerillabackup/templates/units"' in included
    assert not {path.name for path in (ROOT / "units").glob("*.py")} & {
        path.name for path in (ROOT / "etc" / "guerillabackup" / "units").iterdir()
    }


def test_a_new_configuration_has_the_templates_of_all_units(command, tmp_path):
    command(
        "config", "init", "--yes", "--no-signing-key", "--base", tmp_path, "--config-dir", tmp_path / "etc"
    )
    templates = ROOT / "etc" / "guerillabackup" / "units"
    made = {path.name for path in (tmp_path / "etc" / "units").iterdir()}
    assert made == {path.name for path in templates.iterdir()}
