"""Goal: a host changes from the original to ours, and back, and the chains of its log files go on.

Both take the files of one directory, in turn, each from what the other one remembers.
"""

import bz2
import json
import subprocess
import sys
from pathlib import Path

import pytest
from original_peer import DEADLINE, Original, end, wait_until
from unit_bench import follow_chain, read_elements

from guerillabackup.storage.default_file import DefaultFileStorage

UNSEEING = """\
import guerillabackup
guerillabackup.getFileOpenerInformation = lambda paths, mode: [None] * len(paths)
"""
PROGRAM = "from guerillabackup.cli.main import main; main()"


class Host:
    """Configurations of both programs over the same directories."""

    def __init__(self, base: Path, original: Original) -> None:
        self.base, self.original = base, original
        self.logs, self.data = base / "log", base / "data"
        self.state = base / "state" / "generators" / "LogfileBackupUnit"
        self.logs.mkdir()
        self.data.mkdir(mode=0o700)
        code = original.unit("LogfileBackupUnit").read_text()
        # As root it gives up where it may not see what every process has open, as in a container.
        self.write_configuration("original").write_text(f"{UNSEEING}{code}")
        self.write_configuration("ours").symlink_to(
            Path(__file__).parents[2] / "units" / "LogfileBackupUnit.py"
        )

    def write_configuration(self, name: str) -> Path:
        """The same for each program but for the unit's definition file, whose path is handed back."""
        units = self.base / name / "units"
        units.mkdir(parents=True, mode=0o700)
        (units.parent / "config").write_text(
            f"GeneralPersistencyBaseDir = '{self.base}/state'\nGeneralRuntimeDataDir = '{self.base}/run'\n"
            f"DefaultFileSystemSinkBaseDir = '{self.data}'\nGeneralDefaultCompressionElement = "
            "guerillabackup.OSProcessPipelineElement('/bin/bzip2', ['/bin/bzip2', '-c9'])\n"
        )
        entry = (str(self.logs), "^(app.log).(?P<oldserial>[0-9]+)$", None, None, None)
        (units / "LogfileBackupUnit.config").write_text(f"LogBackupUnitInputList = [{entry!r}]\n")
        return units / "LogfileBackupUnit"

    def log(self, content: str) -> None:
        (self.logs / "app.log.2").write_text(f"{content} older")
        (self.logs / "app.log.1").write_text(f"{content} newer")

    def run_original(self) -> None:
        self.let_an_hour_pass()
        log = self.base / "messages"
        process = self.original.start(
            "gb-backup-generator", "--ConfigDir", str(self.base / "original"), stderr=log
        )
        try:
            wait_until(lambda: not any(self.logs.iterdir()) and self.last_run() > 0, process, log)
        finally:
            end(process)

    def run_ours(self) -> None:
        self.let_an_hour_pass()
        result = subprocess.run(
            [
                sys.executable,
                "-c",
                PROGRAM,
                "generator",
                "run",
                "--once",
                "--config-dir",
                str(self.base / "ours"),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert result.returncode == 0, result.stderr
        assert not any(self.logs.iterdir())

    def last_run(self) -> int:
        try:
            return int(json.loads((self.state / "state.current").read_text())[0])
        except (FileNotFoundError, ValueError):
            return 0

    def let_an_hour_pass(self) -> None:
        if self.last_run() > 0:
            state = json.loads((self.state / "state.current").read_text())
            (self.state / "state.current").write_text(json.dumps([0, state[1]]))

    def contents(self) -> list[str]:
        with DefaultFileStorage(str(self.data)) as storage:
            chain = follow_chain(read_elements(storage, f"{self.logs}/app.log"))
        return [bz2.decompress(element["data"]).decode() for element in chain]


@pytest.mark.parametrize("order", [("original", "ours", "original"), ("ours", "original", "ours")])
def test_the_chain_of_a_log_goes_on_when_the_program_changes(tmp_path, original, order):
    host = Host(tmp_path, original)
    for number, program in enumerate(order):
        host.log(f"{number}")
        host.run_ours() if program == "ours" else host.run_original()
    assert host.contents() == [f"{number} {age}" for number in range(3) for age in ("older", "newer")]
