"""Fetches the original GuerillaBackup 0.5.0 and starts its programs, as a peer that tests talk to.

It is Debian 13's package, fetched with an apt state of its own: nothing of this machine's is changed. Which
server and which keys, the machine's own Debian source says; only the suite is replaced.
Touches: fcntl, os, shutil, subprocess, tempfile, time.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

SUITE = "trixie"
PACKAGE = "guerillabackup"
LIBRARY = "usr/lib/guerillabackup/lib"
UNITS = f"{LIBRARY}/guerillabackup"
DEBIAN_SUITES = frozenset(
    ("bookworm", "trixie", "forky", "sid", "testing", "stable", "oldstable", "unstable")
)
DEADLINE = 60.0
"""Seconds until a program that does not do what is expected has failed."""
FETCH_TIMEOUT = 240.0
"""Seconds for one call of apt-get."""


class PeerUnavailableError(Exception):
    """The original cannot be had here; the message says why."""


class Original:
    """The original's programs, unpacked below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def unit(self, name: str) -> Path:
        """The file that a unit's symlink points to."""
        return self.root / UNITS / f"{name}.py"

    def start(self, program: str, *arguments: str, stderr: Path) -> subprocess.Popen[bytes]:
        """Start a program, its own process group, in UTC; the caller ends it with `end`."""
        with stderr.open("wb") as log:
            return subprocess.Popen(
                [_python(), "-B", str(self.root / "usr/bin" / program), *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(
        self, program: str, *arguments: str, answer: str = "", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in UTC, with `answer` for what it asks; its output is text."""
        return subprocess.run(
            [_python(), "-B", str(self.root / "usr/bin" / program), *arguments],
            env=self._environment(),
            input=answer,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def move(self, source: Path, target: Path, directory: Path) -> None:
        """Let two transfer services, joined by socat, move every element of a storage into another.

        Their own files go into `directory`, whose path is short. Fails when one of them complains.
        """
        transfer = "guerillabackup.Transfer"
        policies = {
            "send": f"TransferSenderPolicyClass = {transfer}.SenderMoveDataTransferPolicy\n"
            "TransferSenderPolicyInitArgs = [False]\n",
            "receive": f"TransferReceiverPolicyClass = {transfer}.ReceiverStoreDataTransferPolicy\n",
        }
        services = []
        sockets = []
        try:
            for role, storage in (("send", source), ("receive", target)):
                base = directory / role
                base.mkdir()
                (base / "config").write_text(
                    f"GeneralPersistencyBaseDir = '{base}/state'\nGeneralRuntimeDataDir = '{base}/run'\n"
                    f"DefaultFileSystemSinkBaseDir = '{storage}'\n" + policies[role]
                )
                log = base / "log"
                service = self.start("gb-transfer-service", "--Config", str(base / "config"), stderr=log)
                services.append((service, log))
                sockets.append(base / "run" / "transfer.socket")
                wait_until(sockets[-1].exists, service, log)
            joined = subprocess.run(
                [
                    "socat",
                    "-t60",
                    "-b262144",
                    *(f"UNIX-CONNECT:{path},retry=50,interval=0.1" for path in sockets),
                ],
                timeout=DEADLINE,
            )
            assert joined.returncode == 0
            assert [service.poll() for service, _ in services] == [None, None]
        finally:
            for service, _ in services:
                end(service)
        assert [log.read_text() for _, log in services] == ["", ""]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(self.root / LIBRARY),
            "PYTHONNOUSERSITE": "1",
        }


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], stderr: Path) -> None:
    """Wait for something a program does; fails with its messages when it ends or takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert process.poll() is None, stderr.read_text()
        assert time.monotonic() < deadline, f"nothing for {DEADLINE} s: {stderr.read_text()}"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its group and reap it; does nothing when it has ended."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait(10)


def fetch_original(cache: Path) -> Original:
    """The original, from `cache` or the network; raises PeerUnavailableError. May be called side by side."""
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "root"
    with (cache / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as work:
                _fetch(Path(work))
                (Path(work) / "root").rename(root)
    return Original(root)


def peer_source(texts: Mapping[str, str]) -> tuple[str, str]:
    """Name and content of the apt source file to use, made of the machine's: file name -> content.

    The first Debian source in them, security and update suites apart, with its suite replaced. Raises
    PeerUnavailableError when there is none.
    """
    for name, text in sorted(texts.items()):
        if name.endswith(".sources"):
            for stanza in _stanzas(text):
                if _is_debian(stanza.get("types", ""), stanza.get("suites", "")) and _is_enabled(stanza):
                    changed = {**stanza, "types": "deb", "suites": SUITE, "components": "main"}
                    return "peer.sources", "".join(
                        f"{key.title()}: {value}\n" for key, value in changed.items()
                    )
        if name.endswith(".list"):
            for line in text.splitlines():
                kind, options, words = _one_line(line)
                if len(words) >= 3 and _is_debian(kind, words[1]):
                    return "peer.list", " ".join(("deb", *options, words[0], SUITE, "main")) + "\n"
    raise PeerUnavailableError("this machine's apt sources name no Debian archive")


def _fetch(work: Path) -> None:
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise PeerUnavailableError(f"there is no {program} here")
    for directory in ("state/lists/partial", "cache/archives/partial", "etc", "download"):
        (work / directory).mkdir(parents=True)
    name, content = peer_source(_machine_sources())
    (work / "etc" / name).write_text(content, "utf-8")
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": work / "etc",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
    _call([*apt, "-oAPT::Update::Error-Mode=any", "update"], work)
    _call([*apt, "download", PACKAGE], work / "download")
    archives = list((work / "download").glob(f"{PACKAGE}_0.5.0-*.deb"))
    if not archives:
        raise PeerUnavailableError(f"{SUITE} has no {PACKAGE} 0.5.0")
    _call(["dpkg", "-x", str(archives[0]), str(work / "root")], work)


def _call(argv: list[str], directory: Path) -> None:
    try:
        result = subprocess.run(
            argv,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailableError(f"{argv[0]} did not end within {FETCH_TIMEOUT:.0f} s") from error
    if result.returncode != 0:
        last_lines = " ".join(result.stdout.splitlines()[-3:])
        raise PeerUnavailableError(f"{argv[0]} exited with status {result.returncode}: {last_lines}")


def _machine_sources() -> dict[str, str]:
    directory = Path("/etc/apt")
    files = [directory / "sources.list", *directory.glob("sources.list.d/*")]
    return {str(file): file.read_text("utf-8", "replace") for file in files if file.is_file()}


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    """The paragraphs of a deb822 file as field -> value, field names in lower case."""
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in paragraph.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                fields[last] += "\n" + line
            else:
                last, _, value = line.partition(":")
                last = last.lower()
                fields[last] = value.strip()
        if fields:
            yield fields


def _one_line(line: str) -> tuple[str, tuple[str, ...], list[str]]:
    """Type, `[options]` and words of a line of the older format."""
    kind, _, rest = line.partition("#")[0].strip().partition(" ")
    rest = rest.strip()
    options: tuple[str, ...] = ()
    if rest.startswith("["):
        inside, _, rest = rest.partition("]")
        options = (inside + "]",)
    return kind, options, rest.split()


def _is_debian(types: str, suites: str) -> bool:
    return "deb" in types.split() and not DEBIAN_SUITES.isdisjoint(suites.split())


def _is_enabled(stanza: Mapping[str, str]) -> bool:
    return stanza.get("enabled", "yes").lower() not in ("no", "false", "without", "off", "disable")


def _python() -> str:
    """Debian's own, as the original's first lines name it, or whichever there is."""
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
