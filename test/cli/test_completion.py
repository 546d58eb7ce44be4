"""The completion scripts of the three shells."""

import shutil
import subprocess

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_the_program_back(command, shell):
    outcome = command("completion", shell)
    assert outcome.status == 0
    assert f"_GUERILLABACKUP_COMPLETE={shell}_complete" in outcome.out
    assert command("completion", shell, "--json").document["script"].strip() == outcome.out.strip()


def test_bash_accepts_its_script(command):
    script = command("completion", "bash").out
    subprocess.run([shutil.which("bash"), "-n"], input=script, text=True, check=True)


def test_another_shell_is_wrong_usage(command):
    assert command("completion", "csh").status == 2
