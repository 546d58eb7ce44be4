"""Clients at a real socket: slow, silent, many, hostile; none of them takes anything from the others."""

import json
import os
import select
import socket

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.generator.control_messages import GENERATOR, Request
from guerillabackup.observe.control_client import ServiceClient
from guerillabackup.observe.control_lines import encode
from guerillabackup.observe.control_server import (
    MAX_CLIENTS,
    MAX_QUEUED,
    MAX_QUEUED_EVENTS,
    MAX_REQUESTS,
    REQUEST_SECONDS,
    ControlServer,
)
from guerillabackup.observe.control_socket import NoServiceError, ServiceSocket, connect

SOCKET_NAME = GENERATOR.socket_name


class Bench:
    """A server whose clock is set by hand, and its clients."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.now = 0.0
        self.socket = ServiceSocket(self.directory, SOCKET_NAME)
        self.server = ControlServer(self.socket, lambda: self.now, Request.parse)
        self.clients = []

    def connect(self):
        self.clients.append(connect(self.directory, GENERATOR))
        return self.clients[-1]

    def turn(self):
        """One turn of the loop, without waiting."""
        poll = select.poll()
        for descriptor, events in self.server.poll_set().items():
            poll.register(descriptor, events)
        return self.server.handle(dict(poll.poll(0)))

    def turns(self, count=4):
        return [request for _ in range(count) for request in self.turn()]

    def close(self):
        self.server.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "run")
    yield made
    made.close()


def read(client):
    client.setblocking(False)
    data = b""
    try:
        while piece := client.recv(1 << 16):
            data += piece
    except BlockingIOError:
        return data, True
    except ConnectionError:
        pass
    return data, False


def test_a_request_comes_in_whatever_pieces_and_its_answer_goes_to_who_asked(bench):
    one, other = bench.connect(), bench.connect()
    line = encode(Request("list").describe())
    for at in range(len(line)):
        one.send(line[at : at + 1])
        requests = bench.turns(2)
    ((number, request),) = requests
    assert request == Request("list")
    bench.server.answer(number, {"ok": True})
    assert read(one) == (b'{"ok": true}\n', True)
    assert read(other) == (b"", True)


@pytest.mark.parametrize("data", [b"\0" * 100_000, b"{}\n", b"no json\n", b'{"command": "shutdown"}\n'])
def test_what_is_no_request_is_answered_with_an_error_and_the_end(bench, data):
    client = bench.connect()
    client.sendall(data)
    assert bench.turns() == []
    answer, is_open = read(client)
    assert not is_open
    # What it had sent and nobody read makes the kernel drop the answer on its way.
    assert answer == b"" or json.loads(answer)["ok"] is False


def test_who_says_nothing_is_ended_in_time_and_who_watches_is_not(bench):
    silent, watching = bench.connect(), bench.connect()
    watching.send(encode(Request("trigger", ("A",), wait=True).describe()))
    ((number, _),) = bench.turns()
    bench.server.answer(number, {"ok": True}, is_watching=True)
    assert bench.server.wake_time() == REQUEST_SECONDS
    bench.now = REQUEST_SECONDS
    bench.server.expire()
    assert read(silent) == (b"", False)
    assert read(watching)[1]
    assert bench.server.wake_time() is None
    bench.now = 1e6
    bench.server.tell(number, {"event": 1}, droppable=True)
    bench.server.expire()
    assert read(watching) == (b'{"event": 1}\n', True)


def test_those_beyond_the_limit_wait_until_others_go(bench):
    first = [bench.connect() for _ in range(MAX_CLIENTS)]
    late = bench.connect()
    late.send(encode(Request("status").describe()))
    assert bench.turns() == []
    assert bench.socket.listener.fileno() not in bench.server.poll_set()
    first[0].close()
    assert [request for _, request in bench.turns()] == [Request("status")]


def test_a_watcher_that_reads_nothing_misses_events_and_is_told_how_many(bench):
    client = bench.connect()
    client.send(encode(Request("trigger", ("A",), wait=True).describe()))
    ((number, _),) = bench.turns()
    bench.server.answer(number, {"ok": True}, is_watching=True)
    event = {"event": "x" * 1000}
    count = 4 * MAX_QUEUED_EVENTS // 1000
    for _ in range(count):
        bench.server.tell(number, event, droppable=True)
    bench.server.tell(number, {"ended": 1}, droppable=False)
    received = b""
    for _ in range(1000):
        received += read(client)[0]
        bench.turn()
        if b"ended" in received:
            break
    messages = [json.loads(line) for line in received.splitlines()]
    dropped = sum(message.get("dropped", 0) for message in messages)
    assert dropped > 0
    assert sum("event" in message for message in messages) + dropped == count
    assert messages[-1] == {"ended": 1}


def test_a_watcher_that_reads_nothing_of_what_must_not_be_dropped_is_ended(bench):
    client = bench.connect()
    client.send(encode(Request("trigger", ("A",), wait=True).describe()))
    ((number, _),) = bench.turns()
    bench.server.answer(number, {"ok": True}, is_watching=True)
    for _ in range(2 * MAX_QUEUED // 1_000_000):
        bench.server.tell(number, {"ended": "x" * 1_000_000}, droppable=False)
    assert not bench.server.is_there(number)


def test_a_client_gets_so_many_answers_and_no_more(bench):
    client = bench.connect()
    client.send(encode(Request("list").describe()) * (MAX_REQUESTS + 50))
    requests = bench.turns()
    assert len(requests) == MAX_REQUESTS
    for number, _ in requests:
        bench.server.answer(number, {"ok": True})
    assert not bench.server.is_there(requests[0][0])


def test_who_is_released_gets_everything_and_then_the_end(bench):
    client = bench.connect()
    client.send(encode(Request("trigger", ("A",), wait=True).describe()))
    ((number, _),) = bench.turns()
    bench.server.answer(number, {"ok": True}, is_watching=True)
    bench.server.tell(number, {"ended": 1}, droppable=False)
    bench.server.release(number)
    assert read(client) == (b'{"ok": true}\n{"ended": 1}\n', False)


def test_the_number_of_one_who_went_is_nobody_elses(bench):
    client = bench.connect()
    client.send(encode(Request("list").describe()))
    ((number, _),) = bench.turns()
    client.close()
    other = bench.connect()
    bench.turns()
    bench.server.answer(number, {"ok": True})
    bench.server.tell(number, {"event": 1}, droppable=True)
    assert read(other) == (b"", True)


def test_the_socket_is_its_owners_alone_and_gone_with_the_service(tmp_path):
    made = ServiceSocket(str(tmp_path / "run"), SOCKET_NAME)
    path = tmp_path / "run" / SOCKET_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="another service listens"):
        ServiceSocket(str(tmp_path / "run"), SOCKET_NAME)
    assert path.exists()
    made.close()
    made.close()
    assert not path.exists()


def test_a_path_of_any_length_will_do(tmp_path):
    directory = tmp_path / ("long" * 50)
    made = ServiceSocket(str(directory), SOCKET_NAME)
    connect(str(directory), GENERATOR).close()
    made.close()


def test_a_dead_socket_is_replaced_and_what_is_no_socket_is_not(tmp_path):
    path = tmp_path / SOCKET_NAME
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(SOCKET_NAME)
    finally:
        os.chdir(here)
    ServiceSocket(str(tmp_path), SOCKET_NAME).close()
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is not a socket"):
        ServiceSocket(str(tmp_path), SOCKET_NAME)
    assert path.read_text() == "mine"


def test_a_directory_that_others_can_write_is_refused_on_both_sides(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write it"):
        ServiceSocket(str(tmp_path), SOCKET_NAME)
    with pytest.raises(ConfigError, match="others can write it"):
        ServiceClient(str(tmp_path), GENERATOR)


@pytest.mark.parametrize("name", ["run", "none"])
def test_without_a_service_a_client_says_how_to_have_one(tmp_path, name):
    (tmp_path / "run").mkdir()
    with pytest.raises(NoServiceError, match="generator run --once"):
        ServiceClient(str(tmp_path / name), GENERATOR)
