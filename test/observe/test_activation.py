import json
import os
import socket
import subprocess
import sys

import pytest

CHILD = """
import json, os, sys
from guerillabackup.errors import ConfigError
from guerillabackup.observe.activation import inherited_sockets
environment = json.loads(sys.argv[1])
environment.setdefault("LISTEN_PID", str(os.getpid()))
try:
    found = inherited_sockets(environment)
except ConfigError as error:
    print(json.dumps(str(error)))
else:
    described = {
        name: [one.getsockname(), os.get_inheritable(one.fileno())] for name, one in found.items()
    }
    print(json.dumps(described))
"""


@pytest.fixture
def two_sockets(tmp_path):
    """At descriptors 3 and 4 of a shell that starts the child."""
    found = []
    for name in ("a", "b"):
        one = socket.socket(socket.AF_UNIX)
        one.bind(str(tmp_path / name))
        one.listen()
        found.append(one)
    yield found
    for one in found:
        one.close()


def hand_over(sockets, **environment):
    numbers = [one.fileno() for one in sockets]
    redirected = " ".join(f"{index + 3}<&{number}" for index, number in enumerate(numbers))
    result = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirected}', "-", sys.executable, "-c", CHILD, json.dumps(environment)],
        pass_fds=numbers,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_sockets_come_by_their_names_and_go_to_no_child(two_sockets, tmp_path):
    found = hand_over(two_sockets, LISTEN_FDS="2", LISTEN_FDNAMES="transfer:stdio")
    assert found == {"transfer": [str(tmp_path / "a"), False], "stdio": [str(tmp_path / "b"), False]}


@pytest.mark.parametrize("environment", [{}, {"LISTEN_FDS": "2", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x"}])
def test_there_are_none_when_systemd_hands_none_to_this_process(two_sockets, environment):
    assert hand_over(two_sockets, **environment) == {}


def test_two_sockets_of_one_name_are_refused(two_sockets):
    assert "two sockets named t" in hand_over(two_sockets, LISTEN_FDS="2", LISTEN_FDNAMES="t:t")


def test_what_does_not_listen_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        assert "no listening UNIX stream socket" in hand_over([one], LISTEN_FDS="1", LISTEN_FDNAMES="t")
