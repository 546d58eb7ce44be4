import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.osfile_socket import (
    ListeningSocket,
    SocketAccess,
    connect,
    listen,
    peer_credentials,
)

WAIT = 30.0


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run" / "transfer.socket")


def test_who_connects_is_accepted_and_known(path):
    listener = listen(path)
    with connect(path) as client:
        accepted = listener.accept(WAIT)
        assert peer_credentials(accepted).user_id == os.geteuid()
        assert peer_credentials(accepted).process_id == os.getpid()
        accepted.sendall(b"hello")
        assert client.recv(5) == b"hello"
        accepted.close()
    listener.close()
    assert not os.path.exists(path)
    listener.close()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_socket_has_the_mode_whatever_the_umask(path, mode):
    before = os.umask(0o077)
    try:
        listener = listen(path, SocketAccess(mode, os.geteuid(), os.getegid()))
    finally:
        os.umask(before)
    status = os.stat(path)
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, os.geteuid(), os.getegid())
    listener.close()


def test_a_socket_that_a_dead_service_left_is_replaced(path):
    os.mkdir(os.path.dirname(path), 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listener = listen(path)
    connect(path).close()
    listener.close()


def test_a_socket_at_which_somebody_listens_is_left_alone(path):
    listener = listen(path)
    with pytest.raises(ConfigError, match="another service listens at"):
        listen(path)
    connect(path).close()
    listener.close()


def test_what_is_no_socket_is_left_alone(path):
    os.mkdir(os.path.dirname(path), 0o700)
    Path(path).write_text("precious")
    with pytest.raises(ConfigError, match="is not a socket: remove it"):
        listen(path)
    assert Path(path).read_text() == "precious"


def test_a_directory_that_others_can_write_is_refused(path):
    os.mkdir(os.path.dirname(path))
    os.chmod(os.path.dirname(path), 0o777)
    with pytest.raises(ConfigError, match="others can write it"):
        listen(path)


def test_a_path_of_any_length_can_be_used(tmp_path):
    path = str(tmp_path / ("long" * 50) / "transfer.socket")
    listener = listen(path)
    connect(path).close()
    listener.close()


def test_a_wait_for_connections_ends_with_its_time_or_by_another_thread(path):
    listener = listen(path)
    assert listener.accept(0.01) is None
    timer = threading.Timer(0.05, listener.interrupt)
    timer.start()
    assert listener.accept(WAIT) is None
    timer.join()
    assert listener.accept() is None
    listener.close()


def test_a_file_that_another_service_put_there_meanwhile_stays(path):
    listener = listen(path)
    os.remove(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        listener.close()
    assert os.path.exists(path)


def test_a_socket_that_was_handed_over_is_used_and_its_file_stays(path):
    os.mkdir(os.path.dirname(path), 0o700)
    inherited = socket.socket(socket.AF_UNIX)
    inherited.bind(path)
    inherited.listen()
    listener = ListeningSocket(inherited)
    assert listener.path == path
    client = connect(path)
    listener.accept(WAIT).close()
    client.close()
    listener.close()
    assert os.path.exists(path)
