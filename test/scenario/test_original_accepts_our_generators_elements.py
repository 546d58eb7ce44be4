"""Goal: hosts that make backups with ours need no other storage, tools or peers than before.

A week of our generator's elements, encrypted, signed and chained, goes through the original's tools.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from original_peer import DEADLINE
from stored_content import content_of

from guerillabackup.config import load_configuration
from guerillabackup.generator.service import run_once
from guerillabackup.osfile import Ownership
from guerillabackup.storage.registry import open_storage

DAY = 86400
UNIT_FILE = Path(__file__).parents[2] / "units" / "TarBackupUnit.py"
UNIT = """\
TarBackupUnitConfigList = {{
    '/host/tree': {{
        'Root': {root!r},
        'FullBackupTiming': [604800, 604800, None, None],
        'IncBackupTiming': [86400, 86400, None, None],
        'Policy': 'default',
    }}
}}
"""
POLICIES = [
    {"Name": "Interval", "FullMin": "7d", "FullMax": "7d", "IncMin": "24H", "IncMax": "24H"},
    {"Name": "Size", "FullSizeMinRel": 0.1, "FullSizeMaxRel": 10.0, "IncSizeExpectRel": 1.0,
     "IncSizeMinRel": 0.001, "IncSizeMaxRel": 10.0},
]  # fmt: skip


def guerillabackup(*arguments: str) -> None:
    program = "from guerillabackup.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=DEADLINE)


@pytest.fixture
def week_of_elements(tmp_path: Path, short_directory: Path) -> Path:
    """The directory of a storage with a full, six incrementals and a full of a tree that changes daily."""
    config, private = str(short_directory / "config"), str(short_directory / "private")
    arguments = ["--base", str(tmp_path), "--encryption-key", "demo", "--private-keyring", private, "--yes"]
    guerillabackup("config", "init", "--config-dir", config, *arguments)
    create = ["--purpose", "encrypt", "--private-keyring", private]
    guerillabackup("key", "create", "demo", "--config-dir", config, *create)
    units = short_directory / "config" / "units"
    (units / "Tar").symlink_to(UNIT_FILE)
    (tmp_path / "tree").mkdir()
    (units / "Tar.config").write_text(UNIT.format(root=str(tmp_path / "tree")))
    configuration = load_configuration(config)
    now = int(time.time())
    for day in range(8):
        (tmp_path / "tree" / f"of day {day}").write_bytes(os.urandom(20_000))
        outcome = run_once(configuration, clock=lambda day=day: now + day * DAY)
        assert outcome.errors == ()
    return tmp_path / "data"


def test_the_originals_storage_tool_finds_nothing_to_complain_about(original, week_of_elements, tmp_path):
    configuration = {
        "DataDir": str(week_of_elements),
        "Status": str(tmp_path / "status.json"),
        "Policies": [{"Sources": "^.*$", "List": POLICIES}],
    }
    (tmp_path / "tool.json").write_text(json.dumps(configuration))
    result = original.run("gb-storage-tool", "--Config", str(tmp_path / "tool.json"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "All policies applied.\n")


def test_the_originals_transfer_service_moves_every_element(
    original, week_of_elements, tmp_path, short_directory
):
    ours = open_storage(str(week_of_elements), Ownership(), create=False)
    theirs = open_storage(str(tmp_path / "theirs"), Ownership(), create=True)
    try:
        made = content_of(ours)
        assert sorted((source, kind) for source, kind, _, _ in made) == sorted(
            [("/host/tree", "full"), ("/host/tree.members", "full")] * 2
            + [("/host/tree", "inc"), ("/host/tree.members", "inc")] * 6
        )
        original.move(week_of_elements, tmp_path / "theirs", short_directory)
        assert content_of(theirs) == made
        assert content_of(ours) == {}
    finally:
        theirs.close()
        ours.close()
