"""A short-lived GnuPG home of our own beside a keyring directory, with an agent that ends when we do.

The socket of an agent lives in its home, and its path may have 107 bytes: the home is a new short directory
whose links lead to the keys. So a keyring's path may be of any length, other programs' agents are neither
used nor ended, and nothing is written into a keyring that is only read. Touches: os, select, shutil,
subprocess, tempfile.
"""

import contextlib
import os
import select
import shutil
import stat
import subprocess
import tempfile
import threading

from guerillabackup.errors import ConfigError

AGENT_TIMEOUT = 30.0
"""Seconds for an agent to start or to end."""
MAX_TEMPORARY_PATH = 60
_SECRET_KEYS = "private-keys-v1.d"
_REVOCATIONS = "openpgp-revocs.d"


class GpgHome:
    """The home for work on one keyring directory; `close` ends the agent and removes the home.

    A directory that others can read, or that belongs to neither root nor us, raises ConfigError.
    """

    def __init__(self, keyring_directory: str) -> None:
        _check_keyring_directory(keyring_directory)
        self._directory = os.path.realpath(keyring_directory)
        base = tempfile.gettempdir()
        self._path = tempfile.mkdtemp(
            prefix="guerillabackup-", dir=base if len(base) <= MAX_TEMPORARY_PATH else "/tmp"
        )
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

    def start_agent(self) -> None:
        """Have an agent for what needs secret keys; does nothing when it runs. Raises ConfigError."""
        with self._lock:
            if self._agent is None or self._agent.poll() is not None:
                self._agent = self._run_agent()

    def close(self) -> None:
        """End the agent and remove the home; called again it does nothing. Never raises."""
        with self._lock:
            if self._agent is not None:
                self._run_gpgconf("--kill", "gpg-agent")
                _end(self._agent)
                self._run_gpgconf("--remove-socketdir")
                self._agent = None
            shutil.rmtree(self._path, ignore_errors=True)

    def _link(self, name: str) -> None:
        target, link = os.path.join(self._directory, name), os.path.join(self._path, name)
        if os.path.islink(link) or not os.path.isdir(target):
            return
        if os.path.isdir(link):
            os.rmdir(link)  # an agent that was started before there were keys made it
        os.symlink(target, link)

    def _run_agent(self) -> subprocess.Popen[bytes]:
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
        if not readable or not os.read(agent.stdout.fileno(), 1):
            _end(agent)
            raise ConfigError(f"gpg-agent did not start within {AGENT_TIMEOUT:.0f} seconds")
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


def _check_keyring_directory(path: str) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(
            f"keyring {path}: {error.strerror}; make one with: guerillabackup key create"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"keyring {path}: is not a directory")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"keyring {path}: belongs to user {status.st_uid}, neither root nor you; take it over with: "
            f"chown -R {os.geteuid()} {path}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"keyring {path}: others can enter it (mode {mode:04o}); forbid that with: chmod 0700 {path}"
        )
