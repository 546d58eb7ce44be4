"""Runs a unit that is killed at a chosen call to the file system; a program of its own, which forks.

Its argument is `MODULE:CLASS` of the bench that runs the unit over a tree. Each line of standard input is
`NUMBER BASE TREE`: the unit in BASE runs and is killed before its NUMBERth call that changes or opens files,
counted from when the run begins. The answer is the name of that call, or `ended` when the run made fewer.
"""

import functools
import importlib
import os
import signal
import sys
from pathlib import Path

from guerillabackup import osfile

CALLS = (
    "open",
    "mkdir",
    "rmdir",
    "link",
    "unlink",
    "rename",
    "write",
    "ftruncate",
    "fsync",
    "fchmod",
    "fchown",
    "utime",
    "sendfile",
    "copy_file_range",
)
"""All of `os` that changes or opens files; close is none, since nothing depends on it."""


class Countdown:
    """Kills this process before a call, at once and without any clean-up."""

    def __init__(self, number: int, report: int) -> None:
        self._left = number
        self._report = report
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        osfile.sync_file_system = self._counted("syncfs", osfile.sync_file_system)

    def _counted(self, name, call):
        write = os.write

        @functools.wraps(call)
        def counted(*arguments, **options):
            self._left -= 1
            if self._left == 0:
                write(self._report, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted


def run(make_bench, number: int, base: Path, tree: Path, report: int) -> None:
    bench = make_bench(base, tree)
    bench.now += 10_000
    Countdown(number, report)
    outcome = bench.run()
    os.write(report, b"ended" if outcome.error is None else str(outcome.error).encode())


def main() -> None:
    module, name = sys.argv[1].split(":")
    make_bench = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        number, base, tree = line.rstrip("\n").split(" ", 2)
        report, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run(make_bench, int(number), Path(base), Path(tree), write_end)
            finally:
                os._exit(0)
        os.close(write_end)
        os.waitpid(child, 0)
        print(os.read(report, 1000).decode(), flush=True)
        os.close(report)


main()
