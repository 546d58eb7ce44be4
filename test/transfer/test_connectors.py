"""All connectors with real sockets, commands and descriptors, against an end of ours."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from transfer_ends import OfferingServer, TakingPolicy

from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.osfile_socket import connect, listen
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.agent import DefaultTransferAgent
from guerillabackup.transfer.dial_command import CommandDialler
from guerillabackup.transfer.dial_connector import DialConnectorService
from guerillabackup.transfer.dial_schedule import DialSchedule
from guerillabackup.transfer.dial_socket import SocketDialler
from guerillabackup.transfer.interface import PeerRules
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.socket_connector import SocketConnectorService
from guerillabackup.transfer.stdio_connector import StdioConnectorService
from guerillabackup.transfer.stdio_relay import relay_stdio

WAIT = 60.0
ON_DEMAND = DialSchedule(interval=None, at_start=False, first_retry=0.01, max_retry=0.02)
NEVER_AGAIN = DialSchedule(interval=None, at_start=False)


class Side:
    """One service: an agent, its profiles and what runs for it."""

    def __init__(self):
        self.agent = DefaultTransferAgent()
        self._services = []

    def profile(self, agent_id="peer", elements=None, receiver=None):
        return PeerProfile(
            PeerRules(agent_id),
            MemoryStorage(),
            None,
            receiver,
            self.agent,
            lambda context: OfferingServer(elements or {}),
        )

    def start(self, service):
        thread = threading.Thread(target=service.run)
        thread.start()
        self._services.append((service, thread))
        return service

    def close(self):
        for service, _ in self._services:
            service.shutdown(0)
        for _, thread in self._services:
            thread.join(WAIT)
            assert not thread.is_alive()
        assert self.agent.join(WAIT)


@pytest.fixture
def make_side():
    sides = []

    def make():
        sides.append(Side())
        return sides[-1]

    yield make
    for side in sides:
        side.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("transfer-")] == []


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "transfer.socket")


def wait_until(is_so):
    deadline = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fetch(side, dialler, receiver, agent_id="peer"):
    """Fetch once by a dialler; what the attempt ended by."""
    service = side.start(
        DialConnectorService(dialler, side.profile(agent_id, {}, receiver), ON_DEMAND, lambda: 0.0)
    )
    assert service.wait_for_attempt(service.demand(), WAIT)
    return service.last_error


def test_a_peer_is_dialled_at_its_socket(make_side, path, caplog):
    caplog.set_level(logging.DEBUG)
    server, client = make_side(), make_side()
    server.start(SocketConnectorService(listen(path), server.profile("caller", {"a": b"1", "b": b"22"})))
    policy = TakingPolicy()
    assert fetch(client, SocketDialler(path), policy) is None
    assert policy.taken == {"a": b"1", "b": b"22"}
    assert f"peer caller: connected at {path} by user {os.geteuid()}, process {os.getpid()}" in caplog.text


def test_the_socket_is_gone_when_its_connector_has_ended(make_side, path):
    side = make_side()
    service = side.start(SocketConnectorService(listen(path), side.profile()))
    service.shutdown(0)
    wait_until(lambda: not os.path.exists(path))


def test_many_peers_are_served_at_once_while_one_is_silent(make_side, path):
    server = make_side()
    server.start(SocketConnectorService(listen(path), server.profile("x", {"a": os.urandom(300_000)})))
    silent = connect(path)
    policies = [TakingPolicy() for _ in range(8)]
    clients = [make_side() for _ in policies]
    threads = [
        threading.Thread(target=fetch, args=(client, SocketDialler(path), policy))
        for client, policy in zip(clients, policies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len({policy.taken["a"] for policy in policies}) == 1
    silent.close()


def test_a_peer_that_is_not_there_is_dialled_again_until_it_is(make_side, path, caplog):
    caplog.set_level(logging.INFO)
    server, client = make_side(), make_side()
    policy = TakingPolicy()
    service = client.start(
        DialConnectorService(
            SocketDialler(path),
            client.profile("far", {}, policy),
            DialSchedule(first_retry=0.01),
            lambda: 0.0,
        )
    )
    assert service.wait_for_attempt(3, WAIT)
    assert str(service.last_error) == f"nobody listens at {path}"
    assert "peer far: cannot be reached: nobody listens at" in caplog.text
    (status,) = client.agent.status()
    assert status.last_error == f"nobody listens at {path}"
    server.start(SocketConnectorService(listen(path), server.profile("x", {"a": b"1"})))
    wait_until(lambda: policy.taken == {"a": b"1"})


def test_only_one_connection_is_dialled_at_a_time(make_side, path):
    server, client = make_side(), make_side()
    server.start(SocketConnectorService(listen(path), server.profile("x", {"a": b"1"})))
    service = client.start(
        DialConnectorService(SocketDialler(path), client.profile("x"), ON_DEMAND, lambda: 0.0)
    )
    numbers = [service.demand() for _ in range(5)]
    assert service.wait_for_attempt(numbers[-1], WAIT)
    assert client.agent.count <= 1
    assert service.seconds_until_next is None or service.seconds_until_next >= 0


@pytest.mark.parametrize("program", ["socat", "cat"])
def test_a_peer_is_reached_by_a_command(make_side, path, program, tmp_path):
    server, client = make_side(), make_side()
    server.start(SocketConnectorService(listen(path), server.profile("x", {"a": os.urandom(3_000_000)})))
    policy = TakingPolicy()
    argv = ["socat", "-b262144", "-", f"UNIX-CONNECT:{path}"]
    if program == "cat":
        # Through a shell with further processes in between.
        argv = ["bash", "-c", f"cat | socat - UNIX-CONNECT:{path} | cat"]
    assert fetch(client, CommandDialler(argv, dict(os.environ)), policy) is None
    assert len(policy.taken["a"]) == 3_000_000


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo host key changed >&2; exit 255", "bash exited with status 255: host key changed"),
        ("kill -9 $$", "bash was ended by SIGKILL"),
        ("seq 100000 >&2; echo last >&2; exit 3", "exited with status 3: "),
        ("exit 0", "bash exited with status 0"),
        ("while read -r line; do :; done & wait; exit 1", "the other side may have refused this one"),
        ("exec 1>&-; cat >&2; echo refused >&2; exit 1", "bash exited with status 1: "),
        ("echo no protocol", "it began with b'no protocol"),
    ],
)
def test_what_a_command_says_is_in_the_error(make_side, script, words):
    error = fetch(make_side(), CommandDialler(["bash", "-c", script], dict(os.environ)), TakingPolicy())
    assert words in str(error)


def test_a_program_that_does_not_exist_is_said(make_side):
    error = fetch(make_side(), CommandDialler(["/no/such/program"], {}), TakingPolicy())
    assert str(error) == "cannot start /no/such/program: No such file or directory"


def test_nothing_of_a_commands_group_is_left(make_side, tmp_path):
    pids = tmp_path / "pids"
    script = (
        f"sleep 1000 </dev/null >/dev/null & echo $! > {pids}.new; mv {pids}.new {pids}; exec 0<&- 1>&-; wait"
    )
    fetch(make_side(), CommandDialler(["bash", "-c", script], dict(os.environ), 0.1), TakingPolicy())
    state = Path(f"/proc/{pids.read_text().strip()}/stat")
    wait_until(lambda: not state.exists() or state.read_text().split()[2] == "Z")


RELAY = """
import sys
from guerillabackup.transfer.stdio_relay import relay_stdio
relay_stdio(sys.argv[1], sys.argv[2])
"""


def relay_argv(path, agent_id):
    return [sys.executable, "-c", RELAY, path, agent_id]


@pytest.fixture
def relayed(make_side, path):
    """A service that knows the agent `pull` by its stdio socket."""
    server = make_side()
    profile = server.profile("pull", {"a": os.urandom(2_000_000)})
    server.start(
        StdioConnectorService(
            listen(path), {"pull": profile}.get, lambda seconds: server.agent.shutdown(seconds)
        )
    )
    return server


def relay_environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_relay_hands_its_descriptors_to_the_service(make_side, relayed, path):
    client, policy = make_side(), TakingPolicy()
    assert fetch(client, CommandDialler(relay_argv(path, "pull"), relay_environment()), policy) is None
    assert len(policy.taken["a"]) == 2_000_000
    (status,) = relayed.agent.status()
    assert (status.agent_id, status.last_error) == ("pull", None)


def test_a_relay_for_an_unknown_agent_is_told_so(make_side, relayed, path):
    error = fetch(make_side(), CommandDialler(relay_argv(path, "evil"), relay_environment()), TakingPolicy())
    assert "no agent is named evil here" in str(error)


def test_a_relay_without_a_service_says_so(path):
    with pytest.raises(StorageError, match="no transfer service runs: nobody listens at"):
        relay_stdio(path, "pull")


def test_a_relay_that_is_killed_ends_its_connection(relayed, path):
    ours, theirs = socket.socketpair()
    relay = subprocess.Popen(
        relay_argv(path, "pull"),
        stdin=theirs,
        stdout=theirs,
        env=relay_environment(),
        stderr=subprocess.DEVNULL,
    )
    theirs.close()
    wait_until(lambda: relayed.agent.count == 1)
    relay.kill()
    relay.wait()
    wait_until(lambda: relayed.agent.count == 0)
    ours.close()


@pytest.mark.parametrize(
    "request_bytes", [b"", b"x\n", b"{}\n", b"[1]\n", b'{"agent": 5}\n', b'{"agent": "pull"}\n']
)
def test_a_relay_that_asks_wrongly_is_refused_and_the_next_one_served(
    make_side, relayed, path, request_bytes
):
    with connect(path) as relay:
        relay.sendall(request_bytes)
        relay.shutdown(socket.SHUT_WR)
        assert b"error" in relay.recv(4096)
    policy = TakingPolicy()
    assert fetch(make_side(), CommandDialler(relay_argv(path, "pull"), relay_environment()), policy) is None
    assert len(policy.taken["a"]) == 2_000_000


def test_a_relay_trusts_no_stranger_with_its_descriptors(tmp_path):
    os.chmod(tmp_path, 0o777)
    with pytest.raises(ConfigError, match="others can write it"):
        listen(str(tmp_path / "stdio.socket"))


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_no_connection_leaves_a_descriptor_open(make_side, path):
    server, client = make_side(), make_side()
    server.start(SocketConnectorService(listen(path), server.profile("x", {"a": os.urandom(100_000)})))
    ways = [
        SocketDialler(path),
        SocketDialler(path + ".none"),
        CommandDialler(["socat", "-", f"UNIX-CONNECT:{path}"], dict(os.environ)),
        CommandDialler(["bash", "-c", "echo nonsense; exit 1"], dict(os.environ)),
        CommandDialler(["/no/such/program"], {}),
    ]
    services = [
        client.start(
            DialConnectorService(
                way, client.profile(str(index), {}, TakingPolicy()), NEVER_AGAIN, lambda: 0.0
            )
        )
        for index, way in enumerate(ways)
    ]

    def dial_all():
        for service in services:
            assert service.wait_for_attempt(service.demand(), WAIT)
        wait_until(lambda: server.agent.count == 0 and client.agent.count == 0)

    connect(path).close()
    dial_all()
    before = open_descriptors()
    for _ in range(5):
        connect(path).close()
        dial_all()
    wait_until(lambda: open_descriptors() <= before)


def test_a_relay_without_a_thread_is_let_go_and_the_next_one_is_served(make_side, relayed, path, caplog):
    before = threading.stack_size(1 << 46)
    try:
        with connect(path) as relay:
            relay.settimeout(WAIT)
            assert relay.recv(1) == b""
    finally:
        threading.stack_size(before)
    assert "a relay has no thread: can't start new thread" in caplog.text
    policy = TakingPolicy()
    assert fetch(make_side(), CommandDialler(relay_argv(path, "pull"), relay_environment()), policy) is None
    assert len(policy.taken["a"]) == 2_000_000
