"""Goal: the tunnels of doc/Tunnels.txt, as they are written there, carry elements with the real programs."""

import ast
import os
import pwd
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transfer_service_host import MAIN, PATIENCE, RECEIVES, SENDS, TREE

PAGE = (Path(__file__).parents[2] / "doc" / "Tunnels.txt").read_text()
PEER_SOCKET = "/run/guerillabackup/peers/central.socket"
TLS = "/etc/guerillabackup/tls"


def lines_with(text):
    """The lines of the page, without what surrounds a command there, that have this in them."""
    found = [line.strip() for line in PAGE.splitlines() if line.startswith("    ") and text in line]
    assert found, text
    return found


def connect_with(text):
    """The value of a Connect that has this in it."""
    (line,) = [line for line in lines_with("'Connect': ['") if text in line]
    return ast.literal_eval(re.search(r"'Connect': (\[.*\])", line)[1])


def substitute(argv, changes):
    """A recipe with this test's places; each of them must be in it."""
    text = "\0".join(argv)
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, str(after))
    return text.split("\0")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)


def peers(**settings):
    return f"TransferPeers = {settings!r}"


@pytest.fixture
def source(make_host, short_directory):
    """A host with elements, for the peer `central` and for others; its service runs."""
    socket_path = short_directory / "peers" / "central.socket"
    settings = {"Listen": str(socket_path), "Stdio": True, "OfferSources": ["/alpha/*"]}
    host = make_host("alpha", SENDS, peers(central=settings))
    host.peer_socket = socket_path
    host.store("/alpha/system", os.urandom(3_000_000))
    host.store("/other/system", b"for nobody")
    host.start()
    return host


@pytest.fixture
def run():
    """Starts programs, and ends them."""
    started = []

    def start(argv, **options):
        started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, 15)
        process.wait(PATIENCE)


def fetch(make_host, connect, name="central"):
    """What a central host gets that dials so."""
    settings = {"Connect": connect, "AcceptSources": ["/alpha/*"]}
    central = make_host(name, RECEIVES, peers(alpha=settings))
    return central, central.run("transfer", "connect", "alpha")


def assert_moved(source, central, result, content):
    assert (result.returncode, result.stderr) == (0, ""), result.stderr + source.log()
    assert central.content() == {"/alpha/system": content["/alpha/system"]}
    source.wait_for(lambda: source.content() == {"/other/system": b"for nobody"})


def test_socat_joins_two_sockets_of_one_host(make_host):
    source, central = make_host("alpha", SENDS), make_host("central", RECEIVES)
    content = {"/alpha/s": os.urandom(3_000_000), "/alpha/t": b"small"}
    for url, data in content.items():
        source.store(url, data)
    source.start()
    central.start()
    (line,) = lines_with("UNIX-CONNECT:/run/central/transfer.socket")
    places = {
        "/run/guerillabackup/transfer.socket": source.socket,
        "/run/central/transfer.socket": central.socket,
    }
    done = subprocess.run(substitute(shlex.split(line), places), timeout=PATIENCE)
    assert done.returncode == 0
    assert (central.content(), source.content()) == (content, {})


@pytest.fixture
def certificates(short_directory):
    """An authority, and files with key and certificate of alpha, central, and a stranger of another one."""
    directory = short_directory / "tls"
    directory.mkdir()
    for authority, names in (("ca", ("alpha", "central", "beta")), ("other", ("stranger",))):
        for name in names:
            for line in lines_with("openssl "):
                if "-x509" in line and (directory / f"{authority}.key").exists():
                    continue
                text = line.replace("alpha", name).replace("backup-ca", authority)
                text = re.sub(r"\bca\.", f"{authority}.", text)
                subprocess.run(shlex.split(text), cwd=directory, check=True, capture_output=True)
            parts = [(directory / f"{name}.{kind}").read_bytes() for kind in ("key", "crt")]
            (directory / f"{name}.pem").write_bytes(b"".join(parts))
    return directory


def test_tls_needs_the_certificate_of_the_one_peer_that_it_is_for(make_host, source, certificates, run):
    content, port = source.content(), free_port()
    (line,) = lines_with("OPENSSL-LISTEN")
    places = {TLS: certificates, PEER_SOCKET: source.peer_socket, ":7645,": f":{port},bind=127.0.0.1,"}
    listener = run(substitute(shlex.split(line), places), stderr=subprocess.DEVNULL)
    wait_for_port(port, listener)
    recipe = connect_with("OPENSSL:")
    places = {TLS: certificates, "alpha.example.org:7645": f"127.0.0.1:{port}"}
    connect = substitute(recipe, places)
    for wrong in ("stranger", "beta"):
        other = [part.replace("central.pem", f"{wrong}.pem") for part in connect]
        central, result = fetch(make_host, other, wrong)
        assert (result.returncode, central.content()) == (3, {}), wrong
        assert "peer alpha: " in result.stderr
    none = [re.sub(r"cert=[^,]*,", "", part) for part in connect]
    central, result = fetch(make_host, none, "without")
    assert (result.returncode, central.content()) == (3, {})
    assert source.content() == content
    central, result = fetch(make_host, connect)
    assert_moved(source, central, result, content)
    assert source.peer("central")["elements_sent"] == 1


def test_a_server_with_another_name_is_not_talked_to(make_host, source, certificates, run):
    port = free_port()
    (line,) = lines_with("OPENSSL-LISTEN")
    places = {
        f"{TLS}/alpha.pem": certificates / "beta.pem",
        TLS: certificates,
        PEER_SOCKET: source.peer_socket,
    }
    places[":7645,"] = f":{port},bind=127.0.0.1,"
    listener = run(substitute(shlex.split(line), places), stderr=subprocess.DEVNULL)
    wait_for_port(port, listener)
    places = {TLS: certificates, "alpha.example.org:7645": f"127.0.0.1:{port}"}
    central, result = fetch(make_host, substitute(connect_with("OPENSSL:"), places))
    assert (result.returncode, central.content()) == (3, {})


class Sshd:
    """A real sshd of this user at a high port; keys are made for it."""

    def __init__(self, directory, run):
        self.directory = directory
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.port = free_port()
        directory.mkdir(mode=0o700)
        for name in ("host", "key", "other"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
            subprocess.run(command, check=True)
        (directory / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin forced-commands-only\n"
        )
        host_key = (directory / "host.pub").read_text()
        (directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (directory / "authorized_keys").write_text("")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        command = ["/usr/sbin/sshd", "-D", "-f", str(directory / "config"), "-E", str(directory / "log")]
        wait_for_port(self.port, run(command))

    def authorize(self, line, command):
        """A line of the page, with this test's key and command in it."""
        key = " ".join((self.directory / "key.pub").read_text().split()[:2])
        before = re.search(r'command="(.*?)"', line)[1]
        assert "ssh-ed25519 AAAA..." in line
        text = line.replace("ssh-ed25519 AAAA...", key).replace(before, command(before))
        (self.directory / "authorized_keys").write_text(text + "\n")

    def connect(self, key="key"):
        """The Connect of the page."""
        places = {
            "/root/.ssh/guerillabackup": self.directory / key,
            "root@alpha.example.org": f"{self.user}@127.0.0.1",
        }
        argv = substitute(connect_with("'ssh'"), places)
        options = [
            "-p",
            str(self.port),
            "-F",
            "none",
            "-o",
            f"UserKnownHostsFile={self.directory}/known_hosts",
        ]
        return [argv[0], *options, "-o", "IdentitiesOnly=yes", *argv[1:]]


@pytest.fixture
def sshd(short_directory, run):
    return Sshd(short_directory / "ssh", run)


def test_ssh_with_a_forced_command_lets_that_key_do_nothing_else(make_host, source, sshd, short_directory):
    content = source.content()
    program = short_directory / "guerillabackup"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={TREE} GUERILLABACKUP_CONFIG_DIR={source.conf} "
        f'exec {sys.executable} -c "{MAIN}" "$@"\n'
    )
    program.chmod(0o755)
    (line,) = lines_with('command="guerillabackup transfer stdio')
    sshd.authorize(line, lambda command: command.replace("guerillabackup", str(program), 1))
    central, result = fetch(make_host, sshd.connect("other"), "stranger")
    assert (result.returncode, central.content()) == (3, {})
    assert "Permission denied" in result.stderr
    marker = short_directory / "marker"
    subprocess.run([*sshd.connect(), f"touch {marker}"], stdin=subprocess.DEVNULL, timeout=PATIENCE)
    forward = [*sshd.connect()[:-1], "-N", "-o", "ExitOnForwardFailure=yes"]
    forward += ["-R", f"127.0.0.1:{free_port()}:127.0.0.1:1", sshd.connect()[-1]]
    refused = subprocess.run(forward, stdin=subprocess.DEVNULL, timeout=PATIENCE, capture_output=True)
    assert (refused.returncode != 0, marker.exists()) == (True, False)
    assert source.content() == content
    central, result = fetch(make_host, sshd.connect())
    assert_moved(source, central, result, content)
    assert source.peer("central")["elements_sent"] == 1


def test_ssh_with_socat_as_its_forced_command_does_it_too(make_host, source, sshd):
    content = source.content()
    (line,) = lines_with('command="socat')
    sshd.authorize(line, lambda command: command.replace(PEER_SOCKET, str(source.peer_socket)))
    central, result = fetch(make_host, sshd.connect())
    assert_moved(source, central, result, content)
