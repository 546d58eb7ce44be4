"""A host with a transfer service: its directories, its elements, its processes.

Touches: hashlib, os, select, signal, socket, subprocess, time.
"""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError
from guerillabackup.storage.default_file import DefaultFileStorage

TREE = Path(__file__).parent.parent.parent
PATIENCE = 120
"""Seconds after which a test gives up: far more than anything takes."""
MAIN = "from guerillabackup.cli.main import main; main()"
ORIGINAL_NAME = "from guerillabackup.cli.transfer_service import main; main()"
SENDS = "TransferSenderPolicyClass = guerillabackup.Transfer.SenderMoveDataTransferPolicy"
RECEIVES = "TransferReceiverPolicyClass = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy"


class TransferHost:
    """Made in a directory with a short path; `close` ends what still runs."""

    def __init__(self, base: Path, *lines: str) -> None:
        self.base = base
        self.conf, self.data, self.state, self.runtime = (
            base / name for name in ("conf", "data", "state", "run")
        )
        self.conf.mkdir(parents=True, mode=0o700)
        self.data.mkdir(mode=0o700)
        self.write_config(*lines)
        self.log_path = base / "log"
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(base / "notify"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens for whoever can open it."""
        return self.runtime / "transfer.socket"

    def write_config(self, *lines: str) -> None:
        places = {
            "GeneralPersistencyBaseDir": self.state,
            "GeneralRuntimeDataDir": self.runtime,
            "DefaultFileSystemSinkBaseDir": self.data,
        }
        text = [*(f"{name} = {str(path)!r}" for name, path in places.items()), *lines]
        (self.conf / "config").write_text("\n".join(text) + "\n")

    def store(self, source: str, data: bytes, **more: Any) -> ElementId:
        """Put an element into the storage."""
        with (
            DefaultFileStorage(str(self.data)) as storage,
            storage.get_sink_handle(SourceUrl(source)) as handle,
        ):
            handle.write(data)
            values = {
                "BackupType": "full",
                "Timestamp": int(time.time()),
                "DataUuid": os.urandom(16),
                "StorageFileChecksumSha512": hashlib.sha512(data).digest(),
                **more,
            }
            return handle.close(BackupElementMetainfo(values)).get_element_id()

    def content(self, data: Path | None = None) -> dict[str, bytes]:
        """The data of every element by its source."""
        with DefaultFileStorage(str(data or self.data)) as storage:
            found = {}
            for element in storage.query_backup_data_elements():
                # What a service moves on meanwhile is not there.
                with contextlib.suppress(ElementNotFoundError), element.get_data_stream() as stream:
                    found[str(element.get_source_url())] = stream.read()
            return found

    def start(
        self,
        *,
        code: str = MAIN,
        arguments: tuple[str, ...] | None = None,
        wait: bool = True,
        **environment: str,
    ) -> None:
        """Start the service, and wait until it says that it is ready."""
        self.drain()
        argv = arguments or ("transfer", "serve", "--config-dir", str(self.conf))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(NOTIFY_SOCKET=str(self.base / "notify"), **environment),
            )
        if wait:
            self.hear("READY=1")

    def hear(self, *texts: str) -> list[str]:
        """All it says to systemd until it has said these, in any order."""
        heard: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while not set(texts) <= set(heard):
            if select.select([self._notices], [], [], 0.2)[0]:
                heard += self._notices.recv(4096).decode().split("\n")
                continue
            assert self.process is None or self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"{texts} of {heard}: {self.log()}"
        return heard

    def drain(self) -> None:
        """Forget what it has said until now."""
        while select.select([self._notices], [], [], 0)[0]:
            self._notices.recv(4096)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command line of ours, from its start to its end."""
        return subprocess.run(
            [sys.executable, "-c", MAIN, *arguments, "--config-dir", str(self.conf)],
            stdin=subprocess.DEVNULL,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What `transfer status --json` says."""
        found: dict[str, Any] = json.loads(self.run("transfer", "status", "--json").stdout)
        return found

    def peer(self, name: str) -> Mapping[str, Any]:
        """The same of one peer."""
        (found,) = [peer for peer in self.status()["peers"] if peer["peer"] == name]
        return dict(found)

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """What the condition says when it says something."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            assert self.process is None or self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return result

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._notices.close()

    def _environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GUERILLABACKUP")}
        return {**kept, "PYTHONPATH": str(TREE), **more}
