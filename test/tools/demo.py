"""Shows on this machine's own data what guerillabackup does, and checks it: `make run`.

A full and, after a real change, an incremental backup of SOURCE, encrypted and signed. A second transfer
service, which stands for a central host, fetches both through socat and keeps them in its own storage; the
spool of the first is empty then. From there they are verified, restored and compared with the source. All is
made in one new directory. SOURCE is only read: the change is made in a small directory of the demonstration's
own, which is backed up together with SOURCE as one source. Exit status 0: what was restored is exactly what
was backed up.
Touches: argparse, json, os, socket, subprocess, tempfile, time.
"""

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tree_compare import DIFFERENCES_SHOWN, Tree, describe, differences, unreadable

TOP = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "guerillabackup"
ENTRY_POINT = "from guerillabackup.cli.main import main; main()"
CONFIG_VARIABLE = "GUERILLABACKUP_CONFIG_DIR"
ATTEMPTS = 3
"""How often a source that changed under our hands is backed up again before giving up."""
OWN_FILES = ("central", "config", "data", "private", "restored", "run", "state")
"""What is made in the demonstration's directory beside `sample`, and so is not backed up."""
START_SECONDS = 60.0
"""For a service to listen."""
PEER = "source"
SENDS = "TransferSenderPolicyClass = guerillabackup.Transfer.SenderMoveDataTransferPolicy"
CENTRAL = """\
# The configuration of a host that fetches what others have backed up.
GeneralPersistencyBaseDir = {state!r}
GeneralRuntimeDataDir = {run!r}
DefaultFileSystemSinkBaseDir = {data!r}
GeneralRequireSignatures = True
TransferReceiverPolicyClass = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy
TransferSocket = False
TransferPeers = {{
    {peer!r}: {{
        'Connect': {connect!r},
        'Interval': 3600,
        'AcceptSources': [{source_url!r}],
    }},
}}
"""
UNIT = """\
# The source of the demonstration. One unit may have any number.
TarBackupUnitConfigList = {{
    {source_url!r}: {{
        'Root': '/',
        'Include': {include!r},
        'Exclude': {exclude!r},
        'IgnoreBackupRaces': True,
        'FullBackupTiming': [86400, 86400, None, None],
        'IncBackupTiming': [1, 1, None, None],
    }}
}}
"""


class DemoError(Exception):
    """Something did not go as it must; the message says what."""


@dataclass(frozen=True)
class Plan:
    """What is backed up and where everything is made."""

    source: Path
    base: Path
    left_out: dict[bytes, str]
    """Paths below / that cannot be backed up by this user, with the reason."""

    @property
    def sample(self) -> Path:
        return self.base / "sample"

    @property
    def config(self) -> Path:
        return self.base / "config"

    @property
    def central(self) -> Path:
        """What belongs to the host that fetches."""
        return self.base / "central"

    @property
    def source_url(self) -> str:
        host = "".join(
            letter if letter.isascii() and letter.isalnum() else "-" for letter in socket.gethostname()
        )
        return f"/{host}/demo"

    @property
    def roots(self) -> list[Path]:
        """What is compared: SOURCE, and the sample where it is not below SOURCE."""
        return [self.source] if self.sample.is_relative_to(self.source) else [self.source, self.sample]

    def is_left_out(self, path: bytes) -> bool:
        """Whether a path below / is not part of the backup."""
        own = [os.fsencode(self.base / name) for name in OWN_FILES]
        return path in self.left_out or b"/" + path in own


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", nargs="?", default="/etc", help="directory to back up (default %(default)s)"
    )
    parser.add_argument("--dir", type=Path, help="make everything in this new directory")
    arguments = parser.parse_args()
    try:
        demonstrate(arguments.source, arguments.dir)
    except (DemoError, OSError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    return 0


def demonstrate(source: str, directory: Path | None) -> None:
    """All steps; raises DemoError."""
    plan = make_plan(source, directory)
    print(f"Everything is made in {plan.base}; {plan.source} is only read.")
    print(f"  $ export {CONFIG_VARIABLE}={shlex.quote(str(plan.config))}")
    step(1, "Make a configuration with its keys: one signs here, one decrypts only where you restore.")
    private = plan.base / "private"
    key = "demo"
    arguments = [
        "--base",
        str(plan.base),
        "--encryption-key",
        key,
        "--private-keyring",
        str(private),
        "--yes",
    ]
    guerillabackup(plan, "config", "init", *arguments)
    guerillabackup(plan, "key", "create", key, "--purpose", "encrypt", "--private-keyring", str(private))

    # Made now: a folder that comes later would change its parent, which may be below SOURCE.
    for name in ("central", "restored", "run", "state"):
        (plan.base / name).mkdir(mode=0o700, exist_ok=True)

    step(2, "Activate a unit: what is backed up, and when.")
    make_sample(plan.sample)
    activate_unit(plan)
    guerillabackup(plan, "config", "check")

    step(3, "Make a full backup.")
    full_seconds = generate(plan)

    step(4, f"Change something, in {plan.sample}, and make an incremental backup.")
    change_sample(plan.sample)
    time.sleep(1.1)  # the unit makes an incremental backup a second after the last one at the earliest
    incremental_seconds = generate(plan)
    guerillabackup(plan, "element", "list")

    step(5, "Let another transfer service, as of a central host, fetch them through socat.")
    make_central(plan)
    config = central_config(plan)
    with service(plan.config, plan.base), service(config, plan.central):
        print("  it dials when it starts, and then every hour")
        await_empty_spool(plan)
        guerillabackup(plan, "transfer", "status", config=config)

        step(6, "Verify, on the central host: digests, signatures and the chain of what is stored.")
        guerillabackup(plan, "element", "verify", "--all", config=config)

        step(7, "Restore from there into another directory and compare with the source.")
        target, expected = restore_and_compare(plan)
    conclude(plan, target, expected, full_seconds, incremental_seconds)


def make_plan(source: str, directory: Path | None) -> Plan:
    path = Path(source).resolve()
    if not path.is_dir():
        raise DemoError(f"{source} is not a directory")
    if path == Path("/"):
        raise DemoError("choose a directory below /: what is in /proc and /sys cannot be compared")
    base = (directory or default_directory()).resolve()
    if directory is not None:
        base.mkdir(mode=0o700)
    left_out = {}
    for name, reason in unreadable(str(path), may_make_devices=os.geteuid() == 0):
        left_out[os.path.normpath(os.path.join(os.fsencode(path), name)).lstrip(b"/")] = reason
    if os.fsencode(path).lstrip(b"/") in left_out:
        raise DemoError(f"{path} cannot be read by this user")
    return Plan(path, base, left_out)


def default_directory() -> Path:
    """A new directory in the checkout's run/, or a temporary one where that cannot be written."""
    parent = TOP / "run"
    try:
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="guerillabackup-demo-"))


def activate_unit(plan: Plan) -> None:
    include = [f".{root}" for root in plan.roots]
    own = [os.fsencode(plan.base / name) for name in OWN_FILES]
    exclude = [escape(path) for path in own] + [escape(b"/" + path) for path in plan.left_out]
    units = plan.config / "units"
    text = UNIT.format(source_url=plan.source_url, include=include, exclude=exclude)
    guerillabackup(plan, "unit", "enable", "TarBackupUnit", "--as", "Demo")
    (units / "Demo.config").write_text(text, "utf-8")
    print(f"  {units / 'Demo.config'}: source {plan.source_url}, of {' and '.join(map(str, plan.roots))}")
    for path, reason in list(plan.left_out.items())[:DIFFERENCES_SHOWN]:
        print(f"  left out: {'/' + os.fsdecode(path)!a}: {reason}")
    if len(plan.left_out) > DIFFERENCES_SHOWN:
        print(f"  left out: {len(plan.left_out) - DIFFERENCES_SHOWN} more")


def escape(path: bytes) -> str:
    """An absolute path as one of tar's patterns, relative to /, that matches nothing else."""
    text = os.fsdecode(path)
    return "." + "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)


def generate(plan: Plan) -> float:
    """Run the generator; seconds it took. Raises DemoError when it made no element."""
    before = count_elements(plan)
    began = time.monotonic()
    guerillabackup(plan, "generator", "run", "--once")
    seconds = time.monotonic() - began
    if count_elements(plan) <= before:
        raise DemoError("the generator made no element")
    return seconds


def restore_and_compare(plan: Plan) -> tuple[Path, Tree]:
    """Restore and compare. When the source itself changed meanwhile, back it up again, a few times."""
    for attempt in range(ATTEMPTS):
        target = plan.base / "restored" / str(attempt + 1)
        keyring = ["--private-keyring", str(plan.base / "private")]
        config = central_config(plan)
        guerillabackup(plan, "restore", plan.source_url, "--to", str(target), *keyring, config=config)
        expected = describe_roots(plan, Path("/"))
        found = describe_roots(plan, target)
        lines = differences(expected, found)
        if not lines:
            return target, expected
        print(f"  {len(lines)} differences:")
        for line in lines[:DIFFERENCES_SHOWN]:
            print(f"    {line}")
        if attempt + 1 < ATTEMPTS:
            print("  If somebody changed the source since the backup, the next incremental has it:")
            time.sleep(1.1)
            generate(plan)
            guerillabackup(plan, "transfer", "connect", PEER, config=central_config(plan))
            await_empty_spool(plan)
    raise DemoError(f"what was restored differs from {plan.source} after {ATTEMPTS} attempts")


def central_config(plan: Plan) -> Path:
    return plan.central / "config"


def make_central(plan: Plan) -> None:
    """A configuration that receives, with the key that verifies; the source's own sends from now on."""
    with (plan.config / "config").open("a", encoding="utf-8") as file:
        file.write(f"\n# Made by the demonstration: elements go to whoever fetches them.\n{SENDS}\n")
    for name in ("config", "data"):
        (plan.central / name).mkdir(mode=0o700, parents=True)
    run = plan.base / "run"
    # A path may have 107 bytes for socat: it is started where the rest of it is short.
    socat = "exec socat -t60 -b262144 -,shut-close UNIX-CONNECT:transfer.socket"
    connect = ["sh", "-c", f"cd {shlex.quote(str(run))} && {socat}"]
    text = CENTRAL.format(
        state=str(plan.central / "state"),
        run=str(plan.central / "run"),
        data=str(plan.central / "data"),
        peer=PEER,
        connect=connect,
        source_url=plan.source_url,
    )
    (central_config(plan) / "config").write_text(text, "utf-8")
    print(f"  {central_config(plan) / 'config'}: fetches {plan.source_url} from peer {PEER}")
    key = plan.central / "signing.asc"
    guerillabackup(plan, "key", "export", signing_key(plan), "--output", str(key))
    guerillabackup(plan, "key", "import", str(key), config=central_config(plan))


def signing_key(plan: Plan) -> str:
    """The name of the key that `config init` made."""
    shown = run_program(plan.config, "config", "show", "GeneralSigningKey", "--json", capture=True)
    return str(json.loads(shown)["value"])


@contextmanager
def service(config: Path, base: Path) -> Iterator[None]:
    """A transfer service while the context lasts; raises DemoError when it does not come, or fails."""
    log, run = base / "run" / "transfer.log", base / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    print(f"  $ guerillabackup transfer serve --config-dir {shlex.quote(str(config))} 2> {log} &", flush=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*program(), "transfer", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, CONFIG_VARIABLE: str(config)},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (run / "transfer-stdio.socket").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the transfer service of {config} does not start: {log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def await_empty_spool(plan: Plan) -> None:
    """Wait until all is fetched; raises DemoError when something stays in the spool."""
    deadline = time.monotonic() + START_SECONDS
    while count_elements(plan):
        # They go when the source's service has heard that they are stored.
        if time.monotonic() > deadline:
            raise DemoError(f"{count_elements(plan)} elements are still in {plan.base / 'data'}")
        time.sleep(0.05)
    count = count_elements(plan, plan.central)
    print(f"  {count} elements are fetched, and the spool {plan.base / 'data'} is empty")


def describe_roots(plan: Plan, below: Path) -> Tree:
    """What was backed up, as it is below a directory: / for the source itself."""
    tree: Tree = {}
    for root in plan.roots:
        prefix = os.fsencode(root.relative_to("/"))

        def is_left_out(path: bytes, prefix: bytes = prefix) -> bool:
            return plan.is_left_out(os.path.normpath(os.path.join(prefix, path)))

        part = describe(str(below / root.relative_to("/")), is_left_out, with_owner=os.geteuid() == 0)
        tree |= {os.path.join(prefix, path): entry for path, entry in part.items()}
    return tree


def make_sample(sample: Path) -> None:
    """A small tree with what a backup easily gets wrong."""
    (sample / "folder" / "deep").mkdir(parents=True)
    (sample / "edited.txt").write_text("as it was in the beginning\n")
    (sample / "removed.txt").write_text("gone in the incremental backup\n")
    (sample / "folder" / "deep" / "moved.txt").write_text("in a folder that gets another name\n")
    (sample / os.fsdecode(b"odd name \xff\n*")).write_bytes(b"neither UTF-8 nor on one line\n")
    (sample / "script").write_text("#!/bin/sh\n")
    (sample / "script").chmod(0o750)
    (sample / "hard-link").hardlink_to(sample / "edited.txt")
    (sample / "link").symlink_to("edited.txt")
    os.mkfifo(sample / "fifo")
    with (sample / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    try:
        os.setxattr(sample / "script", "user.demo", b"an extended attribute")
    except OSError:
        print("  (this file system has no extended attributes)")


def change_sample(sample: Path) -> None:
    """An edit, a new file, a removed one, a renamed folder, a changed link and mode."""
    (sample / "edited.txt").write_text("changed between the two backups\n")
    (sample / "new.txt").write_text("made between the two backups\n")
    (sample / "removed.txt").unlink()
    (sample / "folder").rename(sample / "renamed folder")
    (sample / "link").unlink()
    (sample / "link").symlink_to("new.txt")
    (sample / "script").chmod(0o700)
    print("  edited.txt edited, new.txt made, removed.txt removed, folder renamed, link and script changed")


def count_elements(plan: Plan, base: Path | None = None) -> int:
    """Elements in a storage, the source's or one below `base`: each has one `.info` file."""
    return sum(1 for _ in ((base or plan.base) / "data").rglob("*.info"))


def program() -> list[str]:
    """Not every Python that runs this, as a test, has the program installed beside it."""
    return [str(COMMAND)] if COMMAND.exists() else [sys.executable, "-c", ENTRY_POINT]


def guerillabackup(plan: Plan, *arguments: str, config: Path | None = None) -> None:
    """Show a command and run it; raises DemoError with its exit status."""
    other = "" if config is None else f" --config-dir {shlex.quote(str(config))}"
    print(f"  $ guerillabackup {shlex.join(arguments)}{other}", flush=True)
    run_program(config or plan.config, *arguments)


def run_program(config: Path, *arguments: str, capture: bool = False) -> str:
    """Its output, where that is captured; raises DemoError with its exit status."""
    done = subprocess.run(
        [*program(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        env={**os.environ, CONFIG_VARIABLE: str(config)},
        text=True,
    )
    if done.returncode != 0:
        raise DemoError(f"guerillabackup {arguments[0]} {arguments[1]} ended with status {done.returncode}")
    return done.stdout or ""


def conclude(
    plan: Plan, target: Path, expected: Tree, full_seconds: float, incremental_seconds: float
) -> None:
    content = sum(entry.size for entry in expected.values())
    print(
        f"\nEXACT: {len(expected)} names are the same in {target} as in their source, with contents, modes,"
    )
    print(
        "times, links, extended attributes" + (" and owners." if os.geteuid() == 0 else "; owners need root.")
    )
    if plan.left_out:
        print(f"{len(plan.left_out)} names were left out, for the reasons in step 2.")
    data = plan.central / "data"
    stored = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    rate = content / full_seconds / 1e6
    print(f"\n  source        {content / 1e6:.1f} MB in {len(expected)} names")
    count = count_elements(plan, plan.central)
    print(f"  stored        {stored / 1e6:.1f} MB in {count} elements, compressed and encrypted")
    print(f"  full          {full_seconds:.1f} s, {rate:.0f} MB/s with all that starts and ends a run")
    print(f"  incremental   {incremental_seconds:.1f} s")
    print(f"\n  backed up by  {plan.config}, whose spool {plan.base / 'data'} is empty")
    print(f"  central host  {central_config(plan)}, its elements in {data}")
    print(f"  decryption    {plan.base / 'private'}: keep such a keyring off the hosts that make backups")
    print(f"  restored      {target}")
    command = COMMAND.relative_to(Path.cwd()) if COMMAND.is_relative_to(Path.cwd()) else COMMAND
    print(f"\nWhat to type next:\n  export {CONFIG_VARIABLE}={shlex.quote(str(central_config(plan)))}")
    keyring = f"--private-keyring {shlex.quote(str(plan.base / 'private'))}"
    for text in (
        "element list",
        f"restore {plan.source_url} --list {keyring}",
        f"generator run --once --config-dir {shlex.quote(str(plan.config))}",
    ):
        print(f"  {command} {text}")
    print(f"  rm -r {shlex.quote(str(plan.base))}")


def step(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
