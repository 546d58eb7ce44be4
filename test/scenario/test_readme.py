"""Goal: what the README says of a host's first backup can be pasted into a shell as a whole, and works."""

import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_the_first_backup_of_a_host_can_be_pasted_as_a_whole(tmp_path):
    block = re.search(r"```\n(guerillabackup config init.*?)```", (TOP / "README.md").read_text(), re.DOTALL)[
        1
    ]
    block = block.replace("config init", f"config init --base {tmp_path}")
    block = block.replace("/etc/guerillabackup", f"{tmp_path}/conf")
    block = block.replace("/root/guerillabackup-private", f"{tmp_path}/private")
    block = block.replace("'Root': '/etc'", f"'Root': '{tmp_path}/tree'")
    (tmp_path / "tree").mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "guerillabackup"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m guerillabackup "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "GUERILLABACKUP_CONFIG_DIR": str(tmp_path / "conf"),
        "PYTHONPATH": str(TOP),
    }
    # As when it is pasted: what a command reads from standard input is lost for the shell.
    done = subprocess.run(
        ["bash", "-e", "-s"], input=block, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stored /myhost/" in done.stdout
    assert (tmp_path / "private").is_dir()
