"""Runs operations under strace, hit at any of their system calls, at little cost for each run.

strace attaches to a process that has loaded everything and waits; its other half is traced_child.py.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parent.parent.parent
SEARCH_PATH = os.pathsep.join((str(TREE), str(TREE / "test" / "tools")))
DEADLINE = 60.0
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True)
class Traced:
    """How an operation ended: its outcome (None when killed) and its system calls with arguments."""

    outcome: str | None
    calls: list[tuple[str, str]]
    was_hit: bool


class Tracer:
    """Runs operations in children of one loaded process, under strace; from several threads at once."""

    def __init__(self, directory: Path, child: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards the process's pipes and the number
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, str(child)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": SEARCH_PATH},
        )

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(DEADLINE)

    def run(self, operation: str, storage: Path, inject: str | None = None) -> Traced:
        with self._lock:
            self._number += 1
            base = self._directory / str(self._number)
            self._process.stdin.write(f"{operation}\t{storage}\t{base}.result\n")
            self._process.stdin.flush()
            child = int(self._process.stdout.readline())
        argv = ["strace", "-f", "-y", "-s", "200", "-o", f"{base}.log", "-p", str(child)]
        if inject is not None:
            argv += ["-e", f"inject={inject}"]
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        ) as strace:
            messages = strace.stderr.readline()
            assert "attached" in messages, messages + strace.stderr.read()
            os.kill(child, signal.SIGUSR1)
            strace.communicate(timeout=DEADLINE)
        result = Path(f"{base}.result")
        outcome = result.read_text() if result.exists() else None
        log = Path(f"{base}.log").read_text()
        return Traced(outcome, _calls(log), "(INJECTED)" in log or "killed by SIGKILL" in log)


def _calls(log: str) -> list[tuple[str, str]]:
    """Name and arguments of each call from the signal to the end of the operation."""
    calls = []
    for line in log.splitlines():
        match = CALL.match(line)
        if match is None or match[1] == "rt_sigtimedwait":
            continue
        if match[1] == "getppid":
            break
        calls.append((match[1], match[2]))
    return calls


def ordinals(calls: Sequence[tuple[str, str]], names: frozenset[str]) -> list[str]:
    """Each call of those names as strace counts them: `fsync:when=2`."""
    counts: dict[str, int] = {}
    found = []
    for name, _ in calls:
        counts[name] = counts.get(name, 0) + 1
        if name in names:
            found.append(f"{name}:when={counts[name]}")
    return found
