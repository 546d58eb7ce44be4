"""A host whose generator runs as a service: a process that tells a socket of ours how it does."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guerillabackup.errors import GuerillaBackupError
from guerillabackup.generator.control_messages import GENERATOR, Request
from guerillabackup.observe.control_client import ServiceClient
from guerillabackup.storage.default_file import DefaultFileStorage

TREE = Path(__file__).parent.parent.parent
PATIENCE = 120
"""Seconds after which a test gives up: far more than anything takes."""
DEFINITION = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
LOG_DEFINITION = "from guerillabackup.units.logfile import LogfileBackupUnit as backupGeneratorUnitClass\n"
SELDOM = [10**7, 10**8, None, 0]
UNIT = """
import os, signal, subprocess, sys, threading, time
import guerillabackup
from guerillabackup.generator.interface import SourceOutcome
class Unit(guerillabackup.SchedulableGeneratorUnitInterface):
    def __init__(self, name, context): self.context, self.invoked = context, 0
    def get_next_invocation_time(self): return 3600 if self.invoked else 0
    def invoke_unit(self):
        self.invoked += 1
        {body}
        return []
    def close(self): pass
backupGeneratorUnitClass = Unit
"""


class ServiceHost:
    """Its directories and its service; `end` ends that."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.conf, self.data, self.tree = base / "conf", base / "data", base / "tree"
        self.state, self.runtime = base / "state", base / "run"
        (self.conf / "units").mkdir(parents=True, mode=0o700)
        self.tree.mkdir()
        self.data.mkdir(mode=0o700)
        (self.tree / "file").write_text("content")
        self.write_config()
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(base / "notify"))
        self._notices.settimeout(PATIENCE)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = base / "log"

    def write_config(self, *lines: str) -> None:
        places = {
            "GeneralPersistencyBaseDir": self.state,
            "GeneralRuntimeDataDir": self.runtime,
            "DefaultFileSystemSinkBaseDir": self.data,
        }
        text = [*(f"{name} = {str(path)!r}" for name, path in places.items()), *lines]
        (self.conf / "config").write_text("\n".join(text) + "\n")

    def add_tar(self, name: str, sources: dict[str, Any], *lines: str) -> None:
        """A tar unit; a source is backed up once unless it says more."""
        usual = {"Root": str(self.tree), "FullBackupTiming": SELDOM}
        settings = {url: {**usual, **source} for url, source in sources.items()}
        (self.conf / "units" / name).write_text(DEFINITION)
        overlay = "\n".join([*lines, f"TarBackupUnitConfigList = {settings!r}", ""])
        (self.conf / "units" / f"{name}.config").write_text(overlay)

    def add_logs(self, name: str, *entries: tuple[Any, ...]) -> None:
        """A logfile unit of these entries."""
        (self.conf / "units" / name).write_text(LOG_DEFINITION)
        overlay = f"LogBackupUnitInputList = {list(entries)!r}\n"
        (self.conf / "units" / f"{name}.config").write_text(overlay)

    def add_unit(self, name: str, body: str) -> None:
        """A unit of its own code, due once."""
        (self.conf / "units" / name).write_text(UNIT.format(body=body))

    def start(self, *, prefix: tuple[str, ...] = (), wait: bool = True, **environment: str) -> None:
        """Start the service, and wait until it says that it is ready."""
        self.drain()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(TREE / "test" / "tools" / "service_child.py"), str(self.conf)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(TREE),
                    "NOTIFY_SOCKET": str(self.base / "notify"),
                    **environment,
                },
            )
        if wait:
            self.hear("READY=1")

    def hear(self, *texts: str) -> list[str]:
        """All it says until it has said these, in any order; fails when it has ended without."""
        heard: list[str] = []
        missing = set(texts)
        deadline = time.monotonic() + PATIENCE
        while missing:
            readable, _, _ = select.select([self._notices], [], [], 0.2)
            if readable:
                lines = self._notices.recv(4096).decode().split("\n")
                heard += lines
                missing -= set(lines)
                continue
            assert self.process is None or self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"{missing} of {heard}: {self.log()}"
        return heard

    def drain(self) -> list[str]:
        """What it has said until now."""
        heard: list[str] = []
        while select.select([self._notices], [], [], 0)[0]:
            heard += self._notices.recv(4096).decode().split("\n")
        return heard

    def ask(self, command: str, *units: str, wait: bool = False, **more: Any) -> dict[str, Any]:
        with ServiceClient(str(self.runtime), GENERATOR) as client:
            answer = client.ask(Request(command, units, wait=wait, **more).describe())
            return {**answer, "messages": list(client.follow()) if wait else []}

    def wait_for_answer(self, command: str, *units: str) -> None:
        """Ask; that the service may be gone, or not there yet, is no matter."""
        with contextlib.suppress(GuerillaBackupError):
            self.ask(command, *units)

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._notices.close()

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def stored(self, data: Path | None = None) -> list[str]:
        """The sources of all elements, but for lists of members."""
        directory = data or self.data
        if not directory.exists():
            return []
        with DefaultFileStorage(str(directory)) as storage:
            urls = [str(element.get_source_url()) for element in storage.query_backup_data_elements()]
        return sorted(url for url in urls if not url.endswith(".members"))

    def files(self) -> list[str]:
        """All files below the storage."""
        return sorted(str(path) for path in self.data.rglob("*") if not path.is_dir())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command line of ours, from its start to its end."""
        code = "from guerillabackup.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments, "--config-dir", str(self.conf)],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """What the condition says when it says something; fails when the service ends, or never says it."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            assert self.process is None or self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return result


def read_switches(process_id: int) -> dict[str, str]:
    """How often each thread of a process has waited for something."""
    counts = {}
    for thread in os.listdir(f"/proc/{process_id}/task"):
        with open(f"/proc/{process_id}/task/{thread}/status", encoding="ascii") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file)
        counts[thread] = lines["voluntary_ctxt_switches"]
    return counts
