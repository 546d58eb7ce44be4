"""Goal: a host changes from the original to ours, and back, and every chain goes on.

Each program makes incremental backups from what the other one remembers, in one storage; the chain is
restored as a whole. The clock is the machine's: to be due again, the times in the state are put back.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from original_peer import DEADLINE, UNITS, Original, end, wait_until

from guerillabackup.original.storage import DefaultFileStorage, Element

SOURCE = "/host/tree"
PROGRAM = "from guerillabackup.cli.main import main; main()"
UNIT = """\
TarBackupUnitConfigList = {{
    '/host/tree': {{
        'Root': {root!r},
        'Include': ['.'],
        'FullBackupTiming': [30 * 86400, 31 * 86400, None, None],
        'IncBackupTiming': [86400, 86400, None, None],
        'KeepIndices': 2,
        'Policy': 'default',
    }}
}}
"""


class Host:
    """One configuration for both programs."""

    def __init__(self, base: Path, original: Original) -> None:
        self.base, self.original = base, original
        self.config, self.tree = base / "config", base / "tree"
        self.state = base / "state" / "generators" / "TarBackupUnit"
        units = self.config / "units"
        units.mkdir(parents=True, mode=0o700)
        self.tree.mkdir()
        (base / "data").mkdir(mode=0o700)
        (self.config / "config").write_text(
            f"GeneralPersistencyBaseDir = '{base}/state'\nGeneralRuntimeDataDir = '{base}/run'\n"
            f"DefaultFileSystemSinkBaseDir = '{base}/data'\nGeneralDefaultCompressionElement = "
            "guerillabackup.OSProcessPipelineElement('/bin/bzip2', ['/bin/bzip2', '-c9'])\n"
        )
        (units / "TarBackupUnit").symlink_to(original.root / UNITS / "TarBackupUnit.py")
        (units / "TarBackupUnit.config").write_text(UNIT.format(root=str(self.tree)))

    def run_original(self) -> None:
        """Until it has remembered one more element."""
        before = self.remembered()
        log = self.base / "log"
        process = self.original.start("gb-backup-generator", "--ConfigDir", str(self.config), stderr=log)
        try:
            wait_until(lambda: self.remembered() not in (before, None), process, log)
        finally:
            end(process)

    def run_ours(self, *arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments, "--config-dir", str(self.config)],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def make_backup(self) -> str:
        return self.run_ours("generator", "run", "--once")

    def remembered(self) -> str | None:
        """The last DataUuid in the state that both programs keep."""
        try:
            state = json.loads((self.state / "state.current").read_text())
        except (FileNotFoundError, ValueError):
            return None
        uuid: str = state[SOURCE][2]
        return uuid

    def let_a_day_pass(self, day: int) -> None:
        """The last backup was a day ago, and since then the tree has changed in every way."""
        path = self.state / "state.current"
        state = json.loads(path.read_text())
        state[SOURCE][:2] = [seconds - 100_000 for seconds in state[SOURCE][:2]]
        path.write_text(json.dumps(state))
        time.sleep(1.1)  # GNU tar and the names of the elements know whole seconds
        self.change(day)

    def change(self, day: int) -> None:
        folder = self.tree / f"folder {day}"
        folder.mkdir()
        (folder / "new").write_text(f"of day {day}")
        (self.tree / "changed").write_text(f"on day {day}")
        (self.tree / f"goes on day {day + 1}").write_text("going")
        if day > 0:
            (self.tree / f"goes on day {day}").unlink()
            (self.tree / f"folder {day - 1}").rename(self.tree / f"renamed {day - 1}")

    def chain(self, source: str = SOURCE) -> list[Element]:
        """The elements of a source in the order in which they follow each other."""
        storage = DefaultFileStorage(str(self.base / "data"), {})
        result = storage.queryBackupDataElements(lambda element: element.getSourceUrl() == source)
        followers = {
            element.getMetaData().predecessor: element for element in iter(result.getNextElement, None)
        }
        count, chain, uuid = len(followers), [], None
        while uuid in followers:
            chain.append(followers[uuid])
            uuid = chain[-1].getMetaData().data_uuid
        assert len(chain) == count, "the chain forks, or has gaps"
        return chain

    def types(self) -> list[str]:
        return [element.getMetaData().get("BackupType") for element in self.chain()]

    def assert_restores(self) -> None:
        self.run_ours("element", "verify", "--all")
        target = self.base / "restored"
        self.run_ours("restore", SOURCE, "--to", str(target))
        assert content(target) == content(self.tree)
        subprocess.run(["rm", "-r", str(target)], check=True)


def content(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


@pytest.fixture
def host(tmp_path: Path, original: Original) -> Host:
    host = Host(tmp_path, original)
    host.change(0)
    return host


def test_ours_goes_on_after_the_original_and_the_original_after_ours(host):
    host.run_original()
    host.let_a_day_pass(1)
    host.run_original()
    assert host.types() == ["full", "inc"]
    host.let_a_day_pass(2)
    assert "full backup is made" not in host.make_backup()
    host.let_a_day_pass(3)
    host.make_backup()
    assert host.types() == ["full", "inc", "inc", "inc"]
    host.assert_restores()
    host.let_a_day_pass(4)
    host.run_original()
    assert host.types() == ["full", "inc", "inc", "inc", "inc"]
    assert len(list(host.state.glob("host-tree.index.bz2.*"))) == 2
    host.assert_restores()


def test_nothing_is_made_that_is_not_due_when_the_program_is_changed(host):
    host.run_original()
    assert "nothing was due" in host.make_backup()
    assert host.types() == ["full"]


def test_ours_makes_a_full_backup_where_the_original_went_on_meanwhile(host):
    host.make_backup()
    host.let_a_day_pass(1)
    host.run_original()
    host.let_a_day_pass(2)
    assert "a full backup is made in place of an incremental one" in host.make_backup()
    assert host.types() == ["full", "inc", "full"]
    host.assert_restores()


def test_the_chain_of_a_log_file_goes_on_in_both_directions(host):
    unit, logs = host.config / "units" / "Logs", host.base / "log.d"
    logs.mkdir()
    (host.config / "units" / "Logs.config").write_text(
        "LogBackupUnitInputList = "
        f"[({str(logs)!r}, '^(syslog)\\\\.(?P<oldserial>[0-9]+)$', '/logs', None, None)]\n"
    )
    theirs = host.original.root / UNITS / "LogfileBackupUnit.py"
    state = host.base / "state" / "generators" / "Logs" / "state.current"
    for number, is_ours in enumerate((False, True, True, False, True)):
        unit.unlink(missing_ok=True)
        if is_ours:
            unit.symlink_to(theirs)
        else:
            # Its code in our generator: in a container its own may not look who has a file open.
            unit.write_text(theirs.read_text())
        (logs / "syslog.1").write_text(f"line {number}\n")
        os.utime(logs / "syslog.1", (1700000000 + number, 1700000000 + number))
        host.run_ours("generator", "run", "--once", "--unit", "Logs")
        assert not list(logs.iterdir())
        time_of_run, uuids = json.loads(state.read_text())
        assert list(uuids) == ["/logs"]
        state.write_text(json.dumps([time_of_run - 4000, uuids]))
    chain = host.chain("/logs")
    assert [element.getMetaData().timestamp - 1700000000 for element in chain] == [0, 1, 2, 3, 4]
    host.run_ours("element", "verify", "--all")
