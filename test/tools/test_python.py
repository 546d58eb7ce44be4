"""Which Python the scripts take for the environment."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("python.sh")
SYSTEM = "/usr/bin/python3"


def find_python(**environment):
    done = subprocess.run(
        ["sh", "-c", f". '{SCRIPT}'; find_python"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def can_make_environments(python):
    program = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    return (
        Path(python).exists()
        and subprocess.run([python, "-I", "-c", program], capture_output=True).returncode == 0
    )


def test_the_systems_python_comes_before_one_that_only_its_owner_can_run(tmp_path):
    own = tmp_path / "python3"
    own.write_text(f'#!/bin/sh\n[ "$1" = -I ] && echo {own}\n')
    own.chmod(0o700)
    found = find_python(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (found == str(own)) == (not can_make_environments(SYSTEM))


def test_a_python_that_is_named_comes_first():
    base = getattr(sys, "_base_executable", sys.executable)
    assert Path(find_python(PYTHON=sys.executable)).resolve() == Path(base).resolve()
