"""What listing a storage costs with its catalogue: beside starting the program, and reading SQLite alone.

The storages are made once, 10 000 and 100 000 elements in 200 folders, and kept for the next time. SQLite
alone prints the rows in the order it keeps them. Rebuilding means listing without a catalogue that is there.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from measure import Run, Subject, finish, measure, options, report, run_command

from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.storage.registry import catalogue_path

FOLDERS = 200
START = 1_700_000_000
COMMAND = [str(Path(sys.executable).parent / "guerillabackup")]
SQLITE = (
    "import sqlite3, sys\n"
    "for row in sqlite3.connect(sys.argv[1]).execute('SELECT {columns} FROM element'):\n"
    "    print(*row)\n"
)
IDS = "name"
FACTS = "timestamp, type, size, name"


class Storage:
    """A storage with elements, a configuration that names it, and its catalogue."""

    def __init__(self, base: Path, count: int) -> None:
        self.path = base / f"catalogue-{count}"
        self.data, self.state, self.etc = (self.path / name for name in ("data", "state", "etc"))
        self.index = Path(catalogue_path(str(self.state), str(self.data)))
        if not (self.path / "complete").exists():
            shutil.rmtree(self.path, ignore_errors=True)
            self._make(count)
            (self.path / "complete").touch()
            time.sleep(2.5)  # what is younger is read again

    def _make(self, count: int) -> None:
        for directory in (self.data, self.state, self.etc):
            directory.mkdir(parents=True, mode=0o700)
        keys = {"DefaultFileSystemSinkBaseDir": self.data, "GeneralPersistencyBaseDir": self.state}
        (self.etc / "config").write_text("".join(f"{key} = {str(path)!r}\n" for key, path in keys.items()))
        print(f"  making {count} elements in {self.data}", file=sys.stderr, flush=True)
        for folder in range(FOLDERS):
            before = None
            for number in range(count // FOLDERS):
                uuid = hashlib.sha512(b"%d %d" % (folder, number)).digest()
                self._put(SourceUrl(f"/bench/host{folder:03}/root"), START + 3600 * number, uuid, before)
                before = uuid

    def _put(self, source: SourceUrl, timestamp: int, uuid: bytes, before: bytes | None) -> None:
        kind = BackupType.FULL if before is None else BackupType.INC
        metainfo = BackupElementMetainfo(
            {
                "BackupType": kind.value,
                "DataUuid": uuid,
                "Predecessor": before,
                "MetaDataSignature": uuid * 2,
                "StorageFileChecksumSha512": uuid,
                "Timestamp": timestamp,
            }
        )
        stem = self.data / str(ElementId.label(source, timestamp, kind))[1:]
        stem.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{stem}.data").write_bytes(b"x" * 100)
        Path(f"{stem}.info").write_bytes(metainfo.serialize())

    def list(self, *arguments: str) -> Run:
        return run_command([*COMMAND, "element", "list", "--config-dir", str(self.etc), *arguments])

    def list_first(self, *arguments: str) -> Run:
        """Until the first line is there; the rest is not waited for."""
        command = [*COMMAND, "element", "list", "--config-dir", str(self.etc), *arguments]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            wall = time.perf_counter() - began
            process.kill()
        assert first
        return Run(wall)

    def read_alone(self, columns: str) -> Run:
        return run_command([sys.executable, "-c", SQLITE.format(columns=columns), str(self.index)])

    def forget(self) -> None:
        shutil.rmtree(self.index.parent, ignore_errors=True)

    def without(self, *arguments: str) -> Run:
        """With a file where the catalogue's folder would be."""
        self.forget()
        self.index.parent.touch()
        try:
            return self.list(*arguments)
        finally:
            self.index.parent.unlink()


def main() -> None:
    arguments = options(__doc__).parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    small, large = Storage(arguments.dir, 10_000), Storage(arguments.dir, 100_000)
    runs = 2 if arguments.quick else arguments.runs
    lines: list[str] = []
    rebuilt = measure(
        [
            Subject("names of 10 000", lambda: small.list(), small.forget),
            Subject("names of 100 000", lambda: large.list(), large.forget),
            Subject("metadata of 10 000", lambda: small.list("--long"), small.forget),
            Subject("metadata of 100 000", lambda: large.list("--long"), large.forget),
            Subject("no catalogue, 100 000", large.without),
            Subject("the same, --long", lambda: large.without("--long")),
        ],
        runs=min(runs, 3),
    )
    report("rebuilding", rebuilt, "names of 10 000", "linear: ten times for ten times as many", lines)
    large.list("--long")
    small.list("--long")
    started = measure(
        [
            Subject("starting (--version)", lambda: run_command([*COMMAND, "--version"])),
            Subject("first row", large.list_first),
            Subject("first row, --long", lambda: large.list_first("--long")),
        ],
        runs=max(runs, 5) if arguments.quick else max(runs, 15),
    )
    report("first rows", started, "starting (--version)", "within 1.5 of starting the program", lines)
    listed = measure(
        [
            Subject("sqlite3 alone", lambda: large.read_alone(IDS)),
            Subject("element list", lambda: large.list()),
            Subject("element list, 10 000", lambda: small.list()),
        ],
        runs,
    )
    report("full listing", listed, "sqlite3 alone", "at most 3; memory as for 10 000", lines)
    described = measure(
        [
            Subject("sqlite3 alone", lambda: large.read_alone(FACTS)),
            Subject("element list --long", lambda: large.list("--long")),
            Subject("--long, 10 000", lambda: small.list("--long")),
            Subject("element list --json", lambda: large.list("--json")),
            Subject("by time, 1 of 500", lambda: large.list("--until", f"@{START}")),
            Subject("of one source", lambda: large.list("/bench/host100/root", "--long")),
        ],
        runs,
    )
    report("listing with metadata", described, "sqlite3 alone", "what each row says is looked at", lines)
    finish(lines)


if __name__ == "__main__":
    main()
