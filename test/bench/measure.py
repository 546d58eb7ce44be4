"""Runs commands in turn and says what they took: time and memory, as medians, ratios and JSON lines.

Only ratios between what was measured in turn, in one run, say anything: machines drift.
Touches: argparse, json, os, subprocess, time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_INTERVAL = 0.02
"""Seconds between two looks at a running program's memory."""
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class BenchmarkError(Exception):
    """A program that is measured failed: its figure would mean nothing."""


@dataclass(frozen=True)
class Run:
    """One run: seconds of wall and processor time, bytes of memory at the peak, what else was noted."""

    wall: float
    cpu: float = 0.0
    own_peak: int = 0
    """Of the program itself, without its children."""
    tree_peak: int = 0
    """Resident in all its processes together, as far as seen; shared pages count in each."""
    notes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Something to measure; `prepare` is not timed, `run` makes one measurement."""

    name: str
    run: Callable[[], Run]
    prepare: Callable[[], object] = lambda: None


def run_command(
    argv: Sequence[str], environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> Run:
    """Run a program to its end; raises BenchmarkError with its last words when it fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        list(argv),
        env={**_users_environment(), **(environment or {})},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        peaks = [0, 0]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended), name="memory")
        watcher.start()
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
    if process.returncode != 0:
        last = output.decode(errors="replace")[-2000:]
        raise BenchmarkError(f"{argv[0]} exited with status {process.returncode}:\n{last}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peaks[0], max(peaks))


def measure(subjects: Sequence[Subject], runs: int, warm_up: int = 1) -> dict[str, list[Run]]:
    """Every subject in turn, round after round; the first rounds are not counted."""
    results: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
    for number in range(warm_up + runs):
        for subject in subjects:
            subject.prepare()
            os.sync()
            result = subject.run()
            counts = number >= warm_up
            progress = f"{'run' if counts else 'warming up'} {number + 1}/{warm_up + runs}"
            print(f"  {progress} {subject.name}: {result.wall:.3f} s", file=sys.stderr, flush=True)
            if counts:
                results[subject.name].append(result)
    return results


def report(
    title: str, results: Mapping[str, Sequence[Run]], reference: str, goal: str, json_lines: list[str]
) -> None:
    """Print a table, ratios to `reference`'s median wall time, and keep a JSON line for each row."""
    base = statistics.median(run.wall for run in results[reference])
    print(f"\n{title}\n  goal: {goal}")
    print(f"  {'':24}{'median':>10}{'ratio':>8}  {'min .. max':<20}{'cpu':>8}{'own':>10}{'tree':>10}  notes")
    for name, runs in results.items():
        walls = [run.wall for run in runs]
        row = {
            "title": title,
            "name": name,
            "runs": len(runs),
            "wall": round(statistics.median(walls), 4),
            "wall_min": round(min(walls), 4),
            "wall_max": round(max(walls), 4),
            "ratio": round(statistics.median(walls) / base, 3),
            "cpu": round(statistics.median(run.cpu for run in runs), 3),
            "own_peak_MiB": round(max(run.own_peak for run in runs) / 2**20, 1),
            "tree_peak_MiB": round(max(run.tree_peak for run in runs) / 2**20, 1),
        }
        notes = {key: statistics.median(run.notes[key] for run in runs) for key in runs[0].notes}
        json_lines.append(json.dumps({**row, **notes}))
        span = f"{row['wall_min']} .. {row['wall_max']}"
        memory = "".join(
            f"{row[key]:>6} MiB" if row[key] else " " * 10 for key in ("own_peak_MiB", "tree_peak_MiB")
        )
        said = ", ".join(f"{key} {value:g}" for key, value in notes.items())
        print(f"  {name:24}{row['wall']:>8} s{row['ratio']:>8}  {span:<20}{row['cpu']:>6} s{memory}  {said}")


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir", type=Path, default=Path("bench-data"), help="all files go below (default %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds that count (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a short run: its figures are rough")
    return parser


def finish(json_lines: Sequence[str]) -> None:
    """Print the JSON lines."""
    print("\n" + "\n".join(json_lines), flush=True)


def free_directory(base: Path, name: str) -> Path:
    """A new directory: where one was emptied before, ext4 makes files slowly for minutes."""
    number = 0
    while True:
        candidate = base / f"{name}-{number}"
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return candidate


def _watch(pid: int, peaks: list[int], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_INTERVAL):
        peaks[0] = max(peaks[0], _own_peak(pid))
        peaks[1] = max(peaks[1], _session_resident(pid))


def _own_peak(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _session_resident(session: int) -> int:
    """Bytes resident in all processes of a session."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rsplit(") ", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[3]) == session:
            total += int(fields[21]) * PAGE_SIZE
    return total


def _users_environment() -> dict[str, str]:
    """Ours, but with Python's bytecode cache, as an installed program has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
