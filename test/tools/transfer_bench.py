"""Moves elements between two of ours, through socat or not, and prints what it took as one line of JSON.

    python transfer_bench.py --count N --size BYTES [--socat] [--runs 5] [--dir DIR]

The ratio to an idealised program counts, measured in turn in one run; absolute figures of one machine drift.
Touches: argparse, hashlib, json, os, shutil, statistics, subprocess, sys, time.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from guerillabackup.element import BackupElementMetainfo

HOST = str(Path(__file__).with_name("transfer_host.py"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--socat", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dir", default="bench-data")
    arguments = parser.parse_args()
    walls, peaks, processor = [], [], []
    for run in range(arguments.runs):
        base = Path(arguments.dir) / f"ours-{os.getpid()}-{run}"
        wall, usage = measure(base, arguments)
        walls.append(wall)
        peaks.append(max(float(one.split()[1]) for one in usage))
        processor.append(sum(float(one.split()[0]) for one in usage))
        shutil.rmtree(base)
    wall = statistics.median(walls)
    figures = {
        "wall": round(wall, 3),
        "minmax": [round(min(walls), 3), round(max(walls), 3)],
        "elements_s": round(arguments.count / wall, 1),
        "MB_s": round(arguments.count * arguments.size / wall / 1e6, 1),
        "cpu": round(statistics.median(processor), 2),
        "rss_MiB": max(peaks),
    }
    print(json.dumps({"count": arguments.count, "size": arguments.size, "socat": arguments.socat, **figures}))


def measure(base: Path, arguments: argparse.Namespace) -> tuple[float, list[str]]:
    fill(base / "s", arguments.count, arguments.size)
    (base / "r").mkdir()
    sender = start("listen", base / "s.sock", base / "s", "--send")
    assert sender.stdout is not None
    assert sender.stdout.readline() == "ready\n"
    target, socat = base / "s.sock", None
    if arguments.socat:
        target = base / "t.sock"
        ends = [f"UNIX-LISTEN:{target}", f"UNIX-CONNECT:{base / 's.sock'}"]
        socat = subprocess.Popen(["socat", "-t0.05", "-b262144", *ends])
        while not target.exists():
            time.sleep(0.01)
    os.sync()
    began = time.perf_counter()
    receiver = start("dial", target, base / "r", "--receive")
    receiver_usage = receiver.communicate()[0]
    wall = time.perf_counter() - began
    assert receiver.returncode == 0
    sender.terminate()
    sender_usage = sender.communicate()[0]
    if socat is not None:
        socat.wait()
    moved = len(list((base / "r").rglob("*.info")))
    left = len(list((base / "s").rglob("*.info")))
    assert (moved, left) == (arguments.count, 0), (moved, left)
    return wall, [receiver_usage, sender_usage]


def start(role: str, path: Path, storage: Path, policy: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, HOST, role, str(path), str(storage), policy, "--usage"],
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
        text=True,
    )


def fill(base: Path, count: int, size: int) -> None:
    base.mkdir(parents=True)
    blob = os.urandom(min(size, 1 << 20))
    for number in range(count):
        name = time.strftime("%Y%m%d%H%M%S", time.gmtime(1_600_000_000 + number)) + "-app-full"
        digest, left = hashlib.sha512(), size
        with (base / f"{name}.data").open("wb") as file:
            while left:
                block = (number.to_bytes(8, "big") + blob[8:])[:left]
                digest.update(block)
                left -= file.write(block)
        values = {
            "BackupType": "full",
            "Timestamp": 1_600_000_000 + number,
            "DataUuid": number.to_bytes(8, "big"),
            "StorageFileChecksumSha512": digest.digest(),
        }
        if number:
            values["Predecessor"] = (number - 1).to_bytes(8, "big")
        (base / f"{name}.info").write_bytes(BackupElementMetainfo(values).serialize())


if __name__ == "__main__":
    main()
