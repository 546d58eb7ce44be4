"""A full backup of a real tree, then incremental ones of small changes: ours beside its alternatives.

pipe    tar | zstd -2 -T0 | gpg | tee >(sha512sum) > file, then sync: the same work without a framework
ours    guerillabackup generator run --once, with the list of members, signed metadata and chain
restic  restic backup, its defaults
borg    borg create --compression zstd,3

All programs read the same tree, in turn, and it is read before each run, since borg drops from the page cache
what it has read. Every full backup starts with nothing and in a new directory. The tree is changed for
incremental backups: a tree that is given is copied first.
"""

import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from measure import Run, Subject, finish, free_directory, measure, options, report, run_command
from tree import build_tree, change, count

KEY = "benchmark"
TAR = "tar --format=posix --xattrs --acls --numeric-owner"
GPG = "gpg --batch --no-options --trust-model always --compress-algo none --encrypt --recipient"
CONFIGURATION = """\
GeneralPersistencyBaseDir = {base!r} + '/state'
GeneralRuntimeDataDir = {base!r} + '/run'
DefaultFileSystemSinkBaseDir = {base!r} + '/data'
GeneratorSinkClass = guerillabackup.DefaultFileSystemSink
GeneralDefaultCompressionElement = guerillabackup.CompressionPipelineElement('zstd')
GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement({key!r})
GeneralSigningKey = {key!r}
"""
UNIT = """\
TarBackupUnitConfigList = {{
    '/bench/tree': {{
        'Root': {tree!r},
        'Include': ['.'],
        'FullBackupTiming': [864000, 864000, None, None],
        'IncBackupTiming': [1, 1, None, None],
    }}
}}
"""


class Program(ABC):
    """Something that makes backups; its files are below `base`, a new one for each full backup."""

    name = ""

    def __init__(self, tree: Path, work: Path, homedir: Path) -> None:
        self.tree = tree
        self.homedir = homedir
        self._work = work
        self.base = work

    def begin(self) -> None:
        """Not timed: a new directory with what the first backup needs."""
        self.base = free_directory(self._work, self.name)

    @abstractmethod
    def back_up(self) -> Run:
        """A backup; a second one is incremental, with what is left from the first."""

    def stored(self) -> int:
        """Bytes of all that was stored since `begin`."""
        return count(self.base)[1]


class Pipe(Program):
    name = "pipe"
    number = 0

    def back_up(self) -> Run:
        self.number += 1
        out = f"{self.base}/{self.number}"
        tar = f"{TAR} -C {self.tree} --listed-incremental={self.base}/index -cf - ."
        stages = f"{tar} | zstd -q -2 -T0 | {GPG} {KEY} | tee >(sha512sum > {out}.sha) > {out}"
        script = f"set -o pipefail; {{ {stages}; }} && sync {out}"
        return run_command(["bash", "-c", script], {"GNUPGHOME": str(self.homedir), "LC_ALL": "C"})


class Ours(Program):
    name = "ours"

    def begin(self) -> None:
        super().begin()
        units = self.base / "config" / "units"
        units.mkdir(parents=True, mode=0o700)
        (self.base / "data").mkdir(mode=0o700)
        (self.base / "config" / "keys").symlink_to(self.homedir)
        base = str(self.base.resolve())
        (self.base / "config" / "config").write_text(CONFIGURATION.format(base=base, key=KEY))
        (units / "Tar.config").write_text(UNIT.format(tree=str(self.tree.resolve())))
        (units / "Tar").symlink_to(Path(__file__).parents[2] / "units" / "TarBackupUnit.py")

    def back_up(self) -> Run:
        command = str(Path(sys.executable).parent / "guerillabackup")
        return run_command([command, "generator", "run", "--once", "--config-dir", str(self.base / "config")])

    def stored(self) -> int:
        return count(self.base / "data")[1]


class Restic(Program):
    name = "restic"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RESTIC_PASSWORD": "x",
            "RESTIC_CACHE_DIR": f"{self.base}/cache",
            "RESTIC_REPOSITORY": f"{self.base}/store",
        }

    def begin(self) -> None:
        super().begin()
        run_command(["restic", "-q", "init"], self.environment)

    def back_up(self) -> Run:
        return run_command(["restic", "-q", "backup", str(self.tree)], self.environment)

    def stored(self) -> int:
        return count(self.base / "store")[1]


class Borg(Program):
    name = "borg"
    number = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BORG_PASSPHRASE": "x",
            "BORG_BASE_DIR": f"{self.base}/base",
            "BORG_REPO": f"{self.base}/store",
        }

    def begin(self) -> None:
        super().begin()
        run_command(["borg", "init", "--encryption", "repokey-blake2"], self.environment)

    def back_up(self) -> Run:
        self.number += 1
        argv = ["borg", "create", "--compression", "zstd,3", f"::a{self.number}", str(self.tree)]
        return run_command(argv, self.environment)

    def stored(self) -> int:
        return count(self.base / "store")[1]


PROGRAMS = {program.name: program for program in (Pipe, Ours, Restic, Borg)}


def noted(program: Program, make: Callable[[], Run]) -> Run:
    """A run with the megabytes that it stored."""
    before = program.stored()
    result = make()
    return replace(result, notes={"stored MB": round((program.stored() - before) / 1e6, 2)})


def read_all(tree: Path) -> None:
    """Have the whole tree in the page cache."""
    subprocess.run(["bash", "-c", 'tar -C "$0" -cf - . | cat > /dev/null', str(tree)], check=True)


def full_backups(programs: list[Program], tree: Path, runs: int) -> dict[str, list[Run]]:
    def subject(program: Program) -> Subject:
        def prepare() -> None:
            program.begin()
            read_all(tree)

        return Subject(program.name, lambda: noted(program, program.back_up), prepare)

    return measure([subject(program) for program in programs], runs)


def incremental_backups(
    programs: list[Program], tree: Path, fraction: float, runs: int
) -> dict[str, list[Run]]:
    """The programs go on where their last full backup ended; the tree changes before each round."""
    seeds = iter(range(1000))

    def subject(program: Program) -> Subject:
        def prepare() -> None:
            if program is programs[0]:
                print(f"  changed {change(tree, fraction, next(seeds))} files", file=sys.stderr)
            read_all(tree)

        return Subject(program.name, lambda: noted(program, program.back_up), prepare)

    return measure([subject(program) for program in programs], runs)


def make_key() -> Path:
    """A keyring of its own with a key of the kind `key create` makes.

    Its path is short because gpg-agent's socket is in it.
    """
    homedir = Path(tempfile.mkdtemp(prefix="gb-bench-", dir="/tmp"))
    argv = ["gpg", "--homedir", str(homedir), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*argv, "--quick-generate-key", KEY, "future-default", "default", "never"], check=True)
    return homedir


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--tree", type=Path, help="what to back up (default: a copy of what this machine has)"
    )
    parser.add_argument(
        "--fraction", type=float, default=0.001, help="share of files that change (%(default)s)"
    )
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="(default %(default)s)")
    arguments = parser.parse_args()
    runs = 3 if arguments.quick else arguments.runs
    arguments.dir.mkdir(parents=True, exist_ok=True)
    homedir = make_key()
    work = free_directory(arguments.dir.resolve(), "backup")
    try:
        if arguments.tree is not None:
            tree = work / "tree"
            subprocess.run(["cp", "-a", f"{arguments.tree}/.", str(tree)], check=True)
        elif arguments.quick:
            tree = build_tree(arguments.dir.resolve(), 6_000, 100_000_000)
        else:
            tree = build_tree(arguments.dir.resolve())
        files, size = count(tree)
        programs = [PROGRAMS[name](tree, work, homedir) for name in arguments.programs.split(",")]
        full = full_backups(programs, tree, runs)
        incremental = incremental_backups(programs, tree, arguments.fraction, runs)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(homedir), "--kill", "all"], check=False)
        shutil.rmtree(homedir)
        shutil.rmtree(work)
    lines: list[str] = []
    title = f"{files} files, {size / 1e6:.0f} MB"
    goal = (
        "ours within 1.1 of pipe, restic and borg at least 1.8 times as long as ours, own memory up to 60 MiB"
    )
    report(f"full backup of {title}", full, programs[0].name, goal, lines)
    goal = "restic and borg at least 5 times as long as ours"
    share = f"incremental backup, {arguments.fraction:.1%} of {title} changed"
    report(share, incremental, programs[0].name, goal, lines)
    finish(lines)


if __name__ == "__main__":
    main()
