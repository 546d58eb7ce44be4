"""The program of the original's name: its arguments and its end."""

import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", "from guerillabackup.cli.backup_generator import main; main()"]


def run(*arguments):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("option", ["--Help", "--help"])
def test_help_says_what_it_is_and_ends_with_0(option):
    result = run(option)
    assert result.returncode == 0
    assert "--ConfigDir DIR" in result.stdout
    assert "Usage: gb-backup-generator" in result.stdout


@pytest.mark.parametrize("arguments", [["--Unknown"], ["word"], ["--ConfigDir"]])
def test_wrong_arguments_end_with_1_as_they_did(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Error: " in result.stderr


def test_a_missing_configuration_is_one_line_and_1(tmp_path):
    result = run("--ConfigDir", str(tmp_path / "none"))
    assert result.returncode == 1
    assert f"{tmp_path}/none/config: is not there" in result.stderr
    assert "Traceback" not in result.stderr
