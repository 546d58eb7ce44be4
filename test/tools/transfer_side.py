"""The two sides of a transfer, each a service of ours or of the original in a process of its own.

Touches: os, subprocess, time.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from original_peer import Original

TREE = Path(__file__).parent.parent.parent
PATIENCE = 120.0
"""Seconds after which a test gives up: far more than anything takes."""
MAIN = "from guerillabackup.cli.main import main; main()"
TRANSFER = "guerillabackup.Transfer"
SENDS = {
    "TransferSenderPolicyClass": f"{TRANSFER}.SenderMoveDataTransferPolicy",
    "TransferSenderPolicyInitArgs": "[False]",
}
SENDS_AND_MARKS = {**SENDS, "TransferSenderPolicyInitArgs": "[True]"}
RECEIVES = {"TransferReceiverPolicyClass": f"{TRANSFER}.ReceiverStoreDataTransferPolicy"}


class Side:
    """One end of a transfer: its directories, its configuration, and its service; `close` ends that.

    `original` makes it the original's service. `storage` may be elsewhere than below `base`, a short path.
    `environment` is what transfer_peer.py knows.
    """

    def __init__(
        self,
        base: Path,
        settings: Mapping[str, str],
        original: Original | None = None,
        storage: Path | None = None,
        **environment: str,
    ) -> None:
        self.base = base
        self.original = original
        self.storage = base / "data" if storage is None else storage
        self.socket = base / "run" / "transfer.socket"
        self.log_path = base / "log"
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        base.mkdir(mode=0o700)
        self.storage.mkdir(mode=0o700, exist_ok=True)
        self.settings = dict(settings)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write the configuration, with these settings too, for the next start."""
        self.settings |= {name: repr(value) for name, value in settings.items()}
        places = {
            "GeneralPersistencyBaseDir": self.base / "state",
            "GeneralRuntimeDataDir": self.base / "run",
            "DefaultFileSystemSinkBaseDir": self.storage,
        }
        lines = [f"{name} = {str(path)!r}" for name, path in places.items()]
        lines += [f"{name} = {value}" for name, value in self.settings.items()]
        (self.base / "config").write_text("\n".join(lines) + "\n")

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = ()) -> None:
        """Start the service, and wait until it listens; ours may be started by another program."""
        self.socket.unlink(missing_ok=True)
        if self.original is not None:
            config = str(self.base / "config")
            self.process = self.original.start(
                "gb-transfer-service", "--Config", config, stderr=self.log_path
            )
        else:
            # With a clock or a patience of the test's own, not by the command itself, which has none of them.
            own = [str(TREE / "test/tools/transfer_peer.py"), str(self.base)]
            command = ["-c", MAIN, "transfer", "serve", "--config-dir", str(self.base)]
            with self.log_path.open("ab") as log:
                self.process = subprocess.Popen(
                    [*prefix, sys.executable, *(own if self.environment else command)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(TREE), "TZ": "UTC", **self.environment},
                )
        if wait:
            self.wait_for(self.socket.exists)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> int:
        """Have it end in order; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    close = kill

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """What the condition says when it says something; fails when the service ends, or never says it."""
        deadline = time.monotonic() + PATIENCE
        while not (result := condition()):
            assert self.is_running, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return result

    def is_at_rest(self) -> bool:
        """Whether none of its connections is at work, nor settling what was sent; ours alone tells that."""
        asked = subprocess.run(
            [sys.executable, "-c", MAIN, "transfer", "status", "--json", "--config-dir", str(self.base)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TREE)},
        )
        return not any(peer["connections"] for peer in json.loads(asked.stdout)["peers"])

    def files(self) -> dict[str, str]:
        """Every file below the storage by its path there, with a digest of its bytes."""
        paths = (path for path in self.storage.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.storage)): digest(path) for path in paths}

    def count(self) -> int:
        """Elements in the storage, as the names of files tell."""
        return sum(name.endswith(".info") for _, _, names in os.walk(self.storage) for name in names)

    def peak(self) -> int:
        """Bytes that were resident at most since it was started."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("it has ended")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def start_socat(first: Side, second: Side, *, quick: bool = False) -> subprocess.Popen[bytes]:
    """What joins two services that both listen; a quick one does not wait for the second to end."""
    ends = [f"UNIX-CONNECT:{side.socket},retry=1000,interval=0.05" for side in (first, second)]
    wait = "-t0.01" if quick else "-t60"
    return subprocess.Popen(
        ["socat", wait, "-b262144", *ends],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quick else None,
    )
