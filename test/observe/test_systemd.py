"""What systemd is told, on a real socket of it, and that nothing of it ever waits."""

import os
import socket

import pytest

from guerillabackup.observe.systemd import ServiceManager


@pytest.fixture
def notices(tmp_path, monkeypatch):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind("\0" + f"guerillabackup-test-{os.getpid()}")
    listener.settimeout(60)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + f"guerillabackup-test-{os.getpid()}")
    yield listener
    listener.close()


def test_each_message_is_one_datagram(notices):
    manager = ServiceManager(os.environ)
    manager.ready()
    manager.alive()
    manager.stopping()
    manager.reloading()
    assert [notices.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert notices.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    manager.close()


def test_a_status_is_one_line_and_said_when_it_has_changed(notices):
    manager = ServiceManager(os.environ)
    for text in ("two\nlines", "two lines", "ümlaut"):
        manager.status(text)
    manager.ready()
    assert [notices.recv(100) for _ in range(3)] == [b"STATUS=two lines", b"STATUS=?mlaut", b"READY=1"]
    manager.close()


def test_a_manager_that_reads_nothing_stops_nobody(notices):
    manager = ServiceManager(os.environ)
    for _ in range(10_000):
        manager.alive()
    manager.close()


def test_without_systemd_nothing_is_said():
    manager = ServiceManager({})
    manager.ready()
    manager.status("text")
    manager.close()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_told_twice_in_its_time_and_only_where_it_is_meant(environment, interval):
    assert ServiceManager(environment).watchdog_interval == interval
