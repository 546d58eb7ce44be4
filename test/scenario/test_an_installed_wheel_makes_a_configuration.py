"""Goal: what is built from this tree and installed elsewhere has all that `config init` brings along."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path):
    """The package as the wheel lays it out, by the tables that hatchling goes by, and nothing of the tree."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "site"
    copies = {name: name for name in wheel["packages"]} | wheel["force-include"]
    site.mkdir()
    for source, target in copies.items():
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-rT", ROOT / source, site / target], check=True)
    return site


def test_config_init_of_an_installed_package_has_its_templates_and_definitions(installed, tmp_path):
    code = "from guerillabackup.cli.main import main; main()"
    arguments = ["config", "init", "--yes", "--config-dir", tmp_path / "etc", "--base", tmp_path / "var"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    templates = {path.name for path in (ROOT / "etc" / "guerillabackup" / "units").glob("*.template")}
    assert "TarBackupUnit.config.template" in templates
    assert templates <= {path.name for path in (tmp_path / "etc" / "units").iterdir()}
    definitions = {path.name for path in (ROOT / "units").glob("*.py")}
    assert definitions == {path.name for path in (installed / "guerillabackup/templates/units").glob("*.py")}
    assert str(ROOT) not in done.stdout
