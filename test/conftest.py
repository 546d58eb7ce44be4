"""For all tests: none is slow or fast by the clock, and none touches the machine it runs on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine is slow at anything.
settings.register_profile("guerillabackup", deadline=None)
settings.load_profile("guerillabackup")

# A shell has what it starts in the background ignore these, and so would all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

MAX_NAMED_VALUE = 80
NOT_OURS = ("/etc/passwd", "/etc/group", "/etc/fstab", "/bin/sh")
"""Files that hostile links and names in tests like to lead to."""


@pytest.fixture(autouse=True)
def _the_machine_stays_as_it_is():
    """As root a test that follows its own hostile link would change it; the test that does so fails."""
    before = [_look(path) for path in NOT_OURS]
    yield
    after = [_look(path) for path in NOT_OURS]
    assert after == before, "a file of the machine itself was changed while this test ran"


@pytest.fixture(autouse=True)
def _what_a_command_sets_is_put_back():
    """One that is run within the test's process answers signals in its own way, and works in longer turns."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before, hook = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    policy = os.sched_getscheduler(0)
    yield
    if os.sched_getscheduler(0) != policy:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    sys.unraisablehook = hook


def pytest_make_parametrize_id(config, val, argname):
    """A test's name is an environment variable of its children: long values are named by their length."""
    if isinstance(val, str | bytes) and len(val) > MAX_NAMED_VALUE:
        return f"{argname}-of-{len(val)}"
    return None


def _look(path):
    try:
        status = os.stat(path)
    except OSError:
        return path, None
    return path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets; its gpg-agent, if there is one, is ended."""
    directory = Path(tempfile.mkdtemp(prefix="gb-", dir="/tmp"))
    yield directory
    for homedir in {path.parent for path in directory.rglob("S.gpg-agent")}:
        subprocess.run(["gpgconf", "--homedir", str(homedir), "--kill", "all"], check=False, timeout=30)
    shutil.rmtree(directory, ignore_errors=True)  # the agent removes its sockets meanwhile


@pytest.fixture
def make_host(short_directory):
    """Makes hosts with a transfer service, by name and lines of configuration; ends them."""
    from transfer_service_host import TransferHost

    hosts: list[TransferHost] = []

    def make(name: str, *lines: str) -> TransferHost:
        hosts.append(TransferHost(short_directory / name, *lines))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
