"""A short-lived GnuPG home of our own beside a keyring directory, with an agent that ends when we do.

The socket of an agent lives in its home, and its path may have 107 bytes: the home is a new short directory
whose links lead to the keys. So a keyring's path may be of any length, other programs' agents are neither
used nor ended, and nothing is written into a keyring that is only read. Touches: fcntl, os, select,
shutil, socket, subprocess, tempfile.
"""

import contextlib
import fcntl
import os
import re
import select
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import threading

from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.osfile import name_user

AGENT_TIMEOUT = 30.0
"""Seconds for an agent to start or to end."""
MAX_TEMPORARY_PATH = 50
_PREFIX = "guerillabackup-gpg-"
_HOME_NAME = re.compile(_PREFIX + "[a-z0-9_]{8}")
MAX_KEY_FILE = 1 << 16
_PROTECTED = b"protected-private-key"
"""What gpg-agent writes of a key that has a passphrase or was imported, in both forms of its files."""
_PASSPHRASE_NONE = re.compile(rb"\((?:10:)?protection ?(?:4:)?none\)")
"""What it writes besides of one that was imported without a passphrase, and is not used yet."""
_CONTINUED = b"\n "
_SECRET_KEYS = "private-keys-v1.d"
_KEYRING_FILES = ("pubring.kbx", "pubring.gpg", "secring.gpg", _SECRET_KEYS)
MAX_NAMED = 4
_REVOCATIONS = "openpgp-revocs.d"


class GpgHome:
    """The home for work on one keyring directory; `close` ends the agent and removes the home.

    A directory that others can read, that belongs to neither root nor us, or that is not there, raises
    KeyUnusableError.
    """

    def __init__(self, keyring_directory: str) -> None:
        _check_keyring_directory(keyring_directory)
        self._directory = os.path.realpath(keyring_directory)
        base = tempfile.gettempdir()
        if len(base) > MAX_TEMPORARY_PATH:
            base = "/tmp"
        _remove_left_homes(base)
        self._path, self._descriptor = _make_home(base)
        self._lock = threading.Lock()  # guards the start and the end of the agent
        self._agent: subprocess.Popen[bytes] | None = None
        self._link(_SECRET_KEYS)
        self._link(_REVOCATIONS)

    @property
    def path(self) -> str:
        """What to give gpg as its home."""
        return self._path

    @property
    def keyring_path(self) -> str:
        """The file with the public keys, in the keyring directory itself."""
        for name in ("pubring.kbx", "pubring.gpg"):
            path = os.path.join(self._directory, name)
            if os.path.exists(path):
                return path
        return os.path.join(self._directory, "pubring.kbx")

    def prepare_writing(self) -> None:
        """Make the directories for new secret keys and revocation certificates."""
        for name in (_SECRET_KEYS, _REVOCATIONS):
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(self._directory, name), 0o700)
            self._link(name)

    def join(self, other: "GpgHome") -> None:
        """Have the secret keys of another keyring here too, to be read; before the agent starts.

        Raises ConfigError for those that cannot be listed.
        """
        place = os.path.join(self._path, _SECRET_KEYS)
        homes = [self, other] if os.path.islink(place) else [other]
        if os.path.islink(place):
            os.unlink(place)
        os.makedirs(place, mode=0o700, exist_ok=True)
        for home in homes:
            for name in home.list_secret_keys():
                with contextlib.suppress(FileExistsError):  # the same key is in both
                    os.symlink(os.path.join(home._directory, _SECRET_KEYS, name), os.path.join(place, name))

    def list_secret_keys(self) -> list[str]:
        """Names of the files with the secret keys, as the agent keeps them; raises ConfigError."""
        path = os.path.join(self._directory, _SECRET_KEYS)
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{path} cannot be listed: {error.strerror}") from error

    def list_protected_keys(self) -> list[str]:
        """The names of those that have a passphrase; raises ConfigError."""
        return [name for name in self.list_secret_keys() if self._is_protected(name)]

    def _is_protected(self, name: str) -> bool:
        path = os.path.join(self._directory, _SECRET_KEYS, name)
        try:
            return _is_protected(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error

    def start_agent(self) -> None:
        """Have an agent for what needs secret keys; does nothing when it runs. Raises ConfigError."""
        with self._lock:
            if self._agent is None or self._agent.poll() is not None:
                self._agent = self._run_agent() or self._run_agent()
                if self._agent is None:
                    raise ConfigError("gpg-agent ended twice before it was ready: was it killed")

    def close(self) -> None:
        """End the agent and remove the home; called again it does nothing. Never raises."""
        with self._lock:
            if self._agent is not None:
                if not self._end_agent():
                    # Its socket is in a directory of the user's session, whose name gpgconf knows.
                    self._run_gpgconf("--kill", "gpg-agent")
                    self._run_gpgconf("--remove-socketdir")
                _end(self._agent)
                self._agent = None
            shutil.rmtree(self._path, ignore_errors=True)
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                os.close(descriptor)

    def _end_agent(self) -> bool:
        """Tell the agent to end, over its socket; False when that is not in the home, or nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(AGENT_TIMEOUT)
                connection.connect(os.path.join(self._path, "S.gpg-agent"))
                connection.sendall(b"KILLAGENT\n")
                # Its greeting, its answer, and the end of the connection.
                while connection.recv(4096):
                    pass
        except OSError:
            return False
        return True

    def _link(self, name: str) -> None:
        target, link = os.path.join(self._directory, name), os.path.join(self._path, name)
        if os.path.islink(link) or not os.path.isdir(target):
            return
        if os.path.isdir(link):
            os.rmdir(link)  # an agent that was started before there were keys made it
        os.symlink(target, link)

    def _run_agent(self) -> subprocess.Popen[bytes] | None:
        """An agent that is ready; None when it ended before it was. Raises ConfigError."""
        # gpg-agent listens, forks, and turns into the program it is given; it ends when that one has ended.
        # cat ends with its standard input, which the kernel closes whatever becomes of us.
        arguments = ["gpg-agent", "--homedir", self._path, "--quiet", "--disable-scdaemon"]
        environment = {**os.environ, "LC_ALL": "C"}
        environment.pop("GPG_TTY", None)
        try:
            agent = subprocess.Popen(
                [*arguments, "--daemon", "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(f"gpg-agent cannot be started: {error.strerror}; is gnupg installed") from error
        assert agent.stdin is not None
        assert agent.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            agent.stdin.write(b"\n")
            agent.stdin.flush()
        readable, _, _ = select.select([agent.stdout], [], [], AGENT_TIMEOUT)
        if not readable:
            agent.kill()
            _end(agent)
            raise ConfigError(f"gpg-agent did not start within {AGENT_TIMEOUT:.0f} seconds")
        if not os.read(agent.stdout.fileno(), 1):
            _end(agent)
            return None
        return agent

    def _run_gpgconf(self, *arguments: str) -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["gpgconf", "--homedir", self._path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                timeout=AGENT_TIMEOUT,
                check=False,
            )


def read_passphrase(path: str) -> str:
    """The first line of a file that only its owner may read; raises ConfigError."""
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
                raise ConfigError(
                    f"passphrase file {path}: others can read it; forbid that with: chmod 0600 {path}"
                )
            line = stream.read(4096).split(b"\n", 1)[0]
        text = line.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"passphrase file {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"passphrase file {path}: its first line is not UTF-8 text") from error
    if text.endswith("\r"):
        raise ConfigError(
            f"passphrase file {path}: its first line ends with a carriage return, as on Windows; remove it "
            f"with: sed -i 's/\\r$//' {shlex.quote(path)}"
        )
    return check_passphrase(text, f"passphrase file {path}")


def check_passphrase(text: str, where: str) -> str:
    """The same text; raises ConfigError for one that gpg would not take as it is."""
    if text != text.strip():
        # gpg itself drops them in some places and not in others.
        raise ConfigError(f"{where}: the passphrase begins or ends with a blank")
    if not text or not text.isprintable():
        raise ConfigError(f"{where}: its first line is no passphrase of printable characters")
    return text


def has_protected_keys(keyring_directory: str) -> bool:
    """Whether a secret key in it, as gpg-agent keeps them, has a passphrase; False where none is seen."""
    try:
        with os.scandir(os.path.join(keyring_directory, _SECRET_KEYS)) as entries:
            return any(_is_protected(entry.path) for entry in entries if entry.name.endswith(".key"))
    except OSError:
        return False


def _is_protected(path: str) -> bool:
    with open(path, "rb") as stream:
        text = stream.read(MAX_KEY_FILE).replace(_CONTINUED, b"")
    return _PROTECTED in text and _PASSPHRASE_NONE.search(text) is None


def _make_home(base: str) -> tuple[str, int]:
    """A new directory, and a descriptor that locks it for as long as it is open."""
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        descriptor = _lock(path, fcntl.LOCK_EX)
        if descriptor is not None:
            return path, descriptor


def _remove_left_homes(base: str) -> None:
    """Remove homes of ours whose process was killed: nobody locks them any more. Never raises."""
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if not _HOME_NAME.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            descriptor = _lock(entry.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if descriptor is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(descriptor)


def _lock(path: str, operation: int) -> int | None:
    """A descriptor of a directory, locked; None when it is locked already, or was removed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, operation)
        if os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End cat by closing its input, by force when that is not enough, and reap it."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(AGENT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def why_no_keyring(path: str) -> str | None:
    """What to say of a directory that holds no keys but may be taken for a keyring; None for one.

    Names the keyrings that are in it. What cannot be listed is not judged.
    """
    try:
        with os.scandir(path) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return None
    if any(name in _KEYRING_FILES for name, _ in names):
        return None
    below = [os.path.join(path, name) for name, is_directory in names if is_directory]
    found = [each for each in below if _is_keyring(each)][:MAX_NAMED]
    hint = f"; is it {' or '.join(found)} that is meant" if found else ""
    return f"{path} is no keyring: there are no keys in it{hint}"


def why_not_readable(path: str) -> str | None:
    """What to say of a keyring that is there, or may be, and that we may not read; None for others.

    gpg takes what it cannot read for empty.
    """
    try:
        os.stat(path)
        parts = [path, *(os.path.join(path, name) for name in _KEYRING_FILES)]
        needed = [(part, os.R_OK | (os.X_OK if os.path.isdir(part) else 0)) for part in parts]
        is_denied = any(
            os.path.exists(part) and not os.access(part, mode, effective_ids=True) for part, mode in needed
        )
    except PermissionError:
        is_denied = True
    except OSError:
        is_denied = False
    return f"keyring {path}: permission denied" if is_denied else None


def _is_keyring(path: str) -> bool:
    return any(os.path.lexists(os.path.join(path, name)) for name in _KEYRING_FILES)


def _check_keyring_directory(path: str) -> None:
    if (denied := why_not_readable(path)) is not None:
        raise KeyUnusableError(denied)
    try:
        status = os.stat(path)
    except OSError as error:
        raise KeyUnusableError(
            f"keyring {path}: {error.strerror}; is what it is on not mounted; only if there never was one, "
            "make one with: guerillabackup key create"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise KeyUnusableError(f"keyring {path}: is not a directory")
    if status.st_uid not in (0, os.geteuid()):
        remedy = f"take it over with: chown -R {os.geteuid()} {path}"
        if os.geteuid() == 0 and not stat.S_IMODE(status.st_mode) & 0o022:
            # It would be taken from the service that runs as that user.
            remedy = f"run the command as that user, with: sudo -u {name_user(status.st_uid)} …"
        raise KeyUnusableError(
            f"keyring {path}: belongs to user {status.st_uid}, neither root nor you; {remedy}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise KeyUnusableError(
            f"keyring {path}: others can enter it (mode {mode:04o}); forbid that with: chmod 0700 {path}"
        )
