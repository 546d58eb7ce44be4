"""A unit in a program of its own, which is killed before any call to the file system one likes."""

import os
import subprocess
import sys
from pathlib import Path


class Victim:
    """The program that is killed, again and again; `bench` is `MODULE:CLASS` of what it runs a unit with."""

    def __init__(self, bench: str) -> None:
        tools = Path(__file__).parent
        path = os.pathsep.join([str(tools), str(tools.parent.parent)])
        self._process = subprocess.Popen(
            [sys.executable, str(tools / "dying_unit.py"), bench],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )

    def kill(self, number: int, base: Path, tree: Path) -> str:
        """The call before which it was killed, `ended` when it came to its end."""
        print(number, base, tree, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
