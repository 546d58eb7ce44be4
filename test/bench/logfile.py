"""How long a log file of 10 KB takes from the start of the unit until it is stored, and many in one run.

The unit runs in this process, as in the generator's service: what is measured is `invoke_unit`, from the look
into the directory to the removal of the file and the remembered state. The commands of the last row are the
same work by hand, one file after the other, without a memory.
"""

import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from backup import KEY, make_key
from measure import Run, Subject, finish, free_directory, measure, options, report

from guerillabackup.generator.interface import UnitContext
from guerillabackup.generator.keys import KeyringAhead
from guerillabackup.osfile import Ownership
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.pipeline.gpg import GpgEncryptionPipelineElement
from guerillabackup.storage.registry import open_storage
from guerillabackup.units.logfile import LogfileBackupUnit

REGEX = r"^(app\.log)\.(?P<oldserial>[0-9]+)$"
SCRIPT = """\
gpg="gpg --batch --no-options --trust-model always"
zstd -q -2 -c "$1" | $gpg --compress-algo none --encrypt --recipient "$3" > "$2"
sha512sum "$2" > "$2.sum" && $gpg --detach-sign "$2.sum" && sync "$2" "$2.sum" "$2.sum.sig"
sync "$(dirname "$2")" && rm "$1" && sync "$(dirname "$1")"
"""


@dataclass(frozen=True)
class Place:
    """Where one subject works."""

    base: Path

    @property
    def logs(self) -> Path:
        return self.base / "logs"

    def write_logs(self, count: int, size: int) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (self.logs / f"app.log.{number}").write_bytes(make_log(size))


class Unit:
    """A unit that is made once and then invoked, as in a service."""

    def __init__(self, place: Place, keys: KeyringAhead | None, homedir: Path, *, compresses: bool) -> None:
        self._place = place
        for name in ("spool", "logs"):
            (place.base / name).mkdir(parents=True)
        self._storage = open_storage(str(place.base / "spool"), Ownership(), create=True)
        configuration = {"LogBackupUnitInputList": [(str(place.logs), REGEX, None, None, None)]}
        if compresses:
            configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("zstd")
        find_key = None
        sign = None
        if keys is not None:
            configuration["GeneralDefaultEncryptionElement"] = GpgEncryptionPipelineElement(KEY)
            sign = keys.make_signer(KEY)
            find_key = lambda name: keys.find_encryption_key(name, time.time())  # noqa: E731
            os.symlink(homedir, place.base / "keys")
        context = UnitContext(
            unit_name="Log",
            configuration=configuration,
            config_directory=str(place.base),
            state_directory=str(place.base / "state"),
            storage=self._storage,
            clock=time.time,
            sign=sign,
            find_encryption_key=find_key,
        )
        self._unit = LogfileBackupUnit("Log", context)

    def run(self, count: int) -> Run:
        began, cpu = time.perf_counter(), _cpu_seconds()
        outcomes = self._unit.invoke_unit()
        wall = time.perf_counter() - began
        failed = [outcome.error for outcome in outcomes if outcome.error is not None]
        if failed or len(outcomes) != count:
            raise SystemExit(f"{len(outcomes)} outcomes of {count}: {failed}")
        return Run(wall, _cpu_seconds() - cpu, notes={"ms/file": round(wall / count * 1000, 2)})

    def close(self) -> None:
        self._unit.close()
        self._storage.close()


def run_script(place: Place, homedir: Path, count: int) -> Run:
    """The plain way."""
    out = place.base / "out"
    out.mkdir(exist_ok=True)
    began, cpu = time.perf_counter(), _cpu_seconds()
    for number in reversed(range(count)):
        target = out / f"{time.time_ns()}"
        argv = ["sh", "-e", "-c", SCRIPT, "sh", str(place.logs / f"app.log.{number}"), str(target), KEY]
        subprocess.run(argv, check=True, env={**os.environ, "GNUPGHOME": str(homedir)})
    wall = time.perf_counter() - began
    return Run(wall, _cpu_seconds() - cpu, notes={"ms/file": round(wall / count * 1000, 2)})


def make_log(size: int) -> bytes:
    """Lines as logs have them."""
    lines = []
    length = 0
    while length < size:
        line = f"2024-01-31T12:00:{random.random():09.6f} host app[{random.randrange(9999)}]: request done\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of each log (default %(default)s)")
    parser.add_argument(
        "--count", type=int, default=100, help="logs of the second part (default %(default)s)"
    )
    arguments = parser.parse_args()
    runs = 5 if arguments.quick else max(15, arguments.runs)
    homedir = make_key()
    work = free_directory(arguments.dir.resolve(), "logfile")
    lines: list[str] = []
    try:
        with KeyringAhead(str(homedir)) as keys:
            keys.prepare_signing()
            for count, rounds in ((1, runs), (arguments.count, max(3, runs // 5))):
                results = _measure(work, keys, homedir, count, arguments.size, rounds)
                title = f"{count} log file{'s' if count > 1 else ''} of {arguments.size} bytes"
                goal = (
                    "stored at most 0.05 s after the unit starts"
                    if count == 1
                    else "less for each than one alone"
                )
                report(title, results, "compressed, encrypted, signed", goal, lines)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(homedir), "--kill", "all"], check=False)
        shutil.rmtree(homedir)
        shutil.rmtree(work)
    finish(lines)


def _measure(
    work: Path, keys: KeyringAhead, homedir: Path, count: int, size: int, runs: int
) -> dict[str, list[Run]]:
    places = {name: Place(work / f"{name}-{count}") for name in ("full", "compressed", "plain", "script")}
    units = {
        "full": Unit(places["full"], keys, homedir, compresses=True),
        "compressed": Unit(places["compressed"], None, homedir, compresses=True),
        "plain": Unit(places["plain"], None, homedir, compresses=False),
    }

    def subject(title: str, name: str) -> Subject:
        return Subject(title, lambda: units[name].run(count), lambda: places[name].write_logs(count, size))

    try:
        return measure(
            [
                subject("compressed, encrypted, signed", "full"),
                subject("compressed", "compressed"),
                subject("as it is", "plain"),
                Subject(
                    "zstd, gpg, sync by hand",
                    lambda: run_script(places["script"], homedir, count),
                    lambda: places["script"].write_logs(count, size),
                ),
            ],
            runs,
        )
    finally:
        for unit in units.values():
            unit.close()


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
