"""How long elements take from one storage to another: two of ours, two of the original, and an ideal program.

All are two programs that listen and are joined by `socat -b262144`, and what counts is how long that lives:
each element is checked and durable then, and gone at the sender (the original syncs nothing). The sender's
storage is in memory where there is room (/dev/shm), so that the receiver's disk is what is measured.
Touches: hashlib, os, shutil, subprocess, tempfile, time.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import Run, Subject, finish, free_directory, measure, options, report

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tools"), str(HERE)]

from original_peer import Original, PeerUnavailableError, fetch_original  # noqa: E402
from small_elements import metainfos, store  # noqa: E402
from transfer_side import RECEIVES, SENDS, Side  # noqa: E402

from guerillabackup.element import BackupElementMetainfo  # noqa: E402
from guerillabackup.storage.registry import open_storage  # noqa: E402

MEMORY = Path("/dev/shm")
LARGE = 64 << 20
"""Bytes of an element from which on its file is made once."""
START = 1_600_000_000
PATIENCE = 1800
"""Seconds after which a transfer is taken to have failed."""
TICKS = os.sysconf("SC_CLK_TCK")


class Spools:
    """Makes the senders' storages, in memory where that is possible."""

    def __init__(self, base: Path, room: int) -> None:
        free = shutil.disk_usage(MEMORY).free if MEMORY.is_dir() else 0
        self.directory = Path(tempfile.mkdtemp(prefix="gb-bench-", dir=MEMORY if free > room else base))
        self._large: dict[int, tuple[Path, bytes]] = {}

    def fill(self, count: int, size: int, folder: str) -> Path:
        """A new storage with so many elements of one source of a folder."""
        spool = free_directory(self.directory, "spool")
        (spool / folder).mkdir()
        content = os.urandom(min(size, 1 << 20))
        for number in range(count):
            stem = time.strftime("%Y%m%d%H%M%S", time.gmtime(START + number)) + "-app-full"
            data = spool / folder / f"{stem}.data"
            if size > LARGE:
                # Written once: the next one has the same file, by another name.
                kept, checksum = self._keep(size)
                os.link(kept, data)
            else:
                block = (number.to_bytes(8, "big") + content * (-(-size // len(content))))[:size]
                data.write_bytes(block)
                checksum = hashlib.sha512(block).digest()
            values = {
                "BackupType": "full",
                "DataUuid": number.to_bytes(64, "big"),
                "Predecessor": (number - 1).to_bytes(64, "big") if number else None,
                "StorageFileChecksumSha512": checksum,
                "Timestamp": START + number,
            }
            (spool / folder / f"{stem}.info").write_bytes(BackupElementMetainfo(values).serialize())
        return spool

    def _keep(self, size: int) -> tuple[Path, bytes]:
        if size not in self._large:
            path, digest, block = (
                self.directory / f"large-{size}",
                hashlib.sha512(),
                bytearray(os.urandom(1 << 20)),
            )
            with path.open("wb") as file:
                for number in range(size >> 20):
                    block[:8] = number.to_bytes(8, "big")
                    digest.update(block)
                    file.write(block)
            self._large[size] = path, digest.digest()
        return self._large[size]


class Ideal:
    """One end of the ideal program, as a Side is of the others."""

    def __init__(self, base: Path, role: str, storage: Path) -> None:
        self.storage, self.socket = storage, base / "socket"
        self._argv = [sys.executable, str(HERE / "ideal_end.py"), role, str(self.socket), str(storage)]
        base.mkdir()
        storage.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
        while not self.socket.exists():
            time.sleep(0.01)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


End = Side | Ideal
MakeEnds = Callable[[Path, list[Path], Path], tuple[list[End], list[End]]]
"""Makes the senders of these storages, and the receivers; in a directory of their own and one to store in."""


def ours(base: Path, spools: list[Path], target: Path) -> tuple[list[End], list[End]]:
    """One service receives from all. Their catalogues are there, as where something has run before."""
    senders = [Side(base / f"s{number}", SENDS, storage=spool) for number, spool in enumerate(spools)]
    receiver = Side(base / "r", RECEIVES, storage=target)
    for side in (*senders, receiver):
        state = str(side.base / "state")
        with contextlib.closing(open_storage(str(side.storage), state_directory=state)) as storage:
            sum(1 for _ in storage.list_facts())
    return [*senders], [receiver]


def ideal(base: Path, spools: list[Path], target: Path) -> tuple[list[End], list[End]]:
    """A pair for each."""
    return (
        [Ideal(base / f"s{number}", "send", spool / f"peer{number}") for number, spool in enumerate(spools)],
        [Ideal(base / f"r{number}", "receive", target / str(number)) for number in range(len(spools))],
    )


def theirs(original: Original) -> MakeEnds:
    def make(base: Path, spools: list[Path], target: Path) -> tuple[list[End], list[End]]:
        (spool,) = spools
        return (
            [Side(base / "s", SENDS, original, spool)],
            [Side(base / "r", RECEIVES, original, target)],
        )

    return make


class Transfer:
    """A subject: so many elements from each of so many peers."""

    def __init__(
        self, work: Path, spools: Spools, make: MakeEnds, count: int, size: int, peers: int = 1
    ) -> None:
        self._work, self._spools, self._make = work, spools, make
        self._count, self._size, self._peers = count, size, peers

    def prepare(self) -> None:
        """Fill the senders' storages and start all programs."""
        self._base = Path(tempfile.mkdtemp(prefix="gb-", dir="/tmp"))  # sockets want a short path
        self._target = free_directory(self._work, "target")
        self._filled = [
            self._spools.fill(self._count, self._size, f"peer{number}") for number in range(self._peers)
        ]
        self._senders, self._receivers = self._make(self._base, self._filled, self._target)
        for end in (*self._receivers, *self._senders):
            end.start()
        time.sleep(0.3)

    def run(self) -> Run:
        ends = [*self._senders, *self._receivers]
        try:
            before = sum(map(_cpu_seconds, ends))
            began = time.perf_counter()
            receivers = self._receivers * (len(self._senders) // len(self._receivers))
            joints = [_join(pair) for pair in zip(self._senders, receivers, strict=True)]
            for joint in joints:
                joint.wait(PATIENCE)
            wall = time.perf_counter() - began
            cpu = sum(map(_cpu_seconds, ends)) - before
            peaks = [_peak(end) for end in ends]
            self._check()
        finally:
            for end in ends:
                end.close()
            shutil.rmtree(self._base)
            for spool in self._filled:
                shutil.rmtree(spool)
        total = self._count * self._peers
        notes = {"elements/s": round(total / wall), "MB/s": round(total * self._size / wall / 1e6, 1)}
        return Run(wall, cpu, max(peaks), notes=notes)

    def _check(self) -> None:
        left = sum(1 for spool in self._filled for _ in spool.rglob("*.info"))
        moved = sum(1 for _ in self._target.rglob("*.info"))
        if (left, moved) != (0, self._count * self._peers):
            logs = "".join(
                end.log()[-2000:] for end in (*self._senders, *self._receivers) if isinstance(end, Side)
            )
            raise SystemExit(
                f"{moved} of {self._count * self._peers} elements moved, {left} are left: {logs}"
            )


def _join(pair: tuple[End, End]) -> subprocess.Popen[bytes]:
    argv = ["socat", "-t60", "-b262144", *(f"UNIX-CONNECT:{end.socket}" for end in pair)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL)


def _cpu_seconds(end: End) -> float:
    assert end.process is not None
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{end.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def _peak(end: End) -> int:
    assert end.process is not None
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{end.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def fetch() -> Original | None:
    """The original, where it can be had."""
    try:
        return fetch_original(HERE.parent.parent / "build" / "original")
    except PeerUnavailableError as error:
        print(f"without the original: {error}", file=sys.stderr)
        return None


class Bench:
    """The three parts."""

    def __init__(self, arguments: argparse.Namespace, work: Path, spools: Spools) -> None:
        self._arguments, self._work, self._spools = arguments, work, spools
        self._original = fetch()
        self._runs = 3 if arguments.quick else arguments.runs
        self.lines: list[str] = []

    def _subject(self, name: str, make: MakeEnds, *what: int) -> Subject:
        transfer = Transfer(self._work, self._spools, make, *what)
        return Subject(name, transfer.run, transfer.prepare)

    def large(self) -> None:
        size = self._arguments.size << 20
        subjects = [self._subject("ours", ours, 1, size), self._subject("ideal", ideal, 1, size)]
        if self._original is not None:
            subjects.append(self._subject("original", theirs(self._original), 1, size))
        results = measure(subjects, self._runs)
        goal = "ideal 0.8 and original 1.6 or more times as long as ours; own 64 MiB at most"
        report(f"one element of {self._arguments.size} MiB", results, "ours", goal, self.lines)

    def small(self) -> None:
        count = self._arguments.count
        content = os.urandom(1024)
        values = metainfos(content, count)
        subjects = [
            self._subject("ours", ours, count, 1024),
            Subject(
                "stored one by one",
                lambda: store(free_directory(self._work, "single"), content, values, in_batches=False),
            ),
            self._subject("ideal", ideal, count, 1024),
        ]
        results = measure(subjects, self._runs)
        if self._original is not None:
            # Once: it is quadratic, and takes minutes.
            results |= measure([self._subject("original", theirs(self._original), count, 1024)], 1, 0)
        goal = "stored one by one 0.6 and original 8 or more times as long as ours"
        report(f"{count} elements of 1024 bytes in one folder", results, "ours", goal, self.lines)

    def rates(self) -> None:
        few, many = self._arguments.count // 10, self._arguments.count * 10
        counts = {f"{count} elements": count for count in (few, many)}
        subjects = [self._subject(name, ours, count, 1024) for name, count in counts.items()]
        results = measure(subjects, max(1, self._runs // 2), 0)
        first, second = results
        ratio = statistics.median(run.notes["elements/s"] for run in results[second]) / statistics.median(
            run.notes["elements/s"] for run in results[first]
        )
        goal = f"the rate of many at least 0.8 of that of few: it is {ratio:.2f}"
        report("does the rate stay?", results, first, goal, self.lines)

    def peers(self) -> None:
        count, elements, size = self._arguments.peers, 8, 4 << 20
        subjects = [
            self._subject("ours", ours, elements, size, count),
            self._subject("ideal", ideal, elements, size, count),
        ]
        goal = "ideal 0.77 or more times as long as ours"
        title = f"{count} peers at once, each {elements} elements of {size >> 20} MiB"
        report(title, measure(subjects, self._runs), "ours", goal, self.lines)
        elements = self._arguments.count // count
        subjects = [
            self._subject("ours", ours, elements, 1024, count),
            self._subject("ideal", ideal, elements, 1024, count),
        ]
        title = f"{count} peers at once, each {elements} elements of 1024 bytes"
        report(title, measure(subjects, self._runs), "ours", goal, self.lines)


PARTS = ("large", "small", "rates", "peers")


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--size", type=int, default=2048, help="MiB of the large one (default %(default)s)")
    parser.add_argument("--count", type=int, default=10_000, help="small elements (default %(default)s)")
    parser.add_argument("--peers", type=int, default=20, help="peers at once (default %(default)s)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; again for more")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.count = min(arguments.size, 256), min(arguments.count, 1000)
    if shutil.which("socat") is None:
        raise SystemExit("there is no socat")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    work = free_directory(arguments.dir.resolve(), "transfer")
    spools = Spools(work, (arguments.size << 20) + arguments.count * 200_000)
    try:
        bench = Bench(arguments, work, spools)
        for part in arguments.part or PARTS:
            getattr(bench, part)()
    finally:
        shutil.rmtree(spools.directory)
        shutil.rmtree(work)
    finish(bench.lines)


if __name__ == "__main__":
    main()
