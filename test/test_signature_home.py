"""The short-lived home beside a keyring: links to its keys, an agent of its own, nothing left behind."""

import os
import select
import signal
import subprocess
import sys
import tempfile

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.signature_home import GpgHome, read_passphrase, why_no_keyring


@pytest.fixture
def directory(tmp_path):
    tmp_path.chmod(0o700)
    return str(tmp_path)


def ask_agent(path, command="/bye"):
    """Whether an agent answers in a home."""
    arguments = ["gpg-connect-agent", "--homedir", path, "--no-autostart", command, "/bye"]
    return subprocess.run(arguments, capture_output=True, check=False, timeout=60)


def test_an_agent_answers_from_start_to_close(directory):
    home = GpgHome(directory)
    home.start_agent()
    home.start_agent()
    assert b"OK" in ask_agent(home.path, "getinfo version").stdout
    home.close()
    home.close()
    assert not os.path.exists(home.path)


def test_the_agent_ends_with_the_process_that_started_it(directory):
    program = (
        "import os, sys; from guerillabackup.signature_home import GpgHome\n"
        "home = GpgHome(sys.argv[1]); home.start_agent(); print(home.path, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        path = process.stdout.readline().strip()
        answer = ask_agent(path, "getinfo pid").stdout.split()
        agent = int(answer[answer.index(b"D") + 1])
        descriptor = os.pidfd_open(agent)
        process.send_signal(signal.SIGKILL)
    poll = select.poll()
    poll.register(descriptor)
    assert poll.poll(60_000)
    os.close(descriptor)
    subprocess.run(["rm", "-rf", "--", path], check=True)


def test_keys_are_reached_through_links_and_nothing_is_made_before_it_is_needed(directory):
    home = GpgHome(directory)
    assert os.listdir(directory) == []
    home.prepare_writing()
    home.prepare_writing()
    assert sorted(os.listdir(directory)) == ["openpgp-revocs.d", "private-keys-v1.d"]
    assert os.path.realpath(os.path.join(home.path, "private-keys-v1.d")) == os.path.join(
        directory, "private-keys-v1.d"
    )
    home.close()
    assert sorted(os.listdir(directory)) == ["openpgp-revocs.d", "private-keys-v1.d"]


def test_the_old_form_of_a_keyring_is_used_when_it_is_all_there_is(directory):
    home = GpgHome(directory)
    assert home.keyring_path == os.path.join(directory, "pubring.kbx")
    for name in ("pubring.gpg", "pubring.kbx"):
        with open(os.path.join(directory, name), "wb"):
            assert home.keyring_path == os.path.join(directory, name)
    home.close()


def test_without_the_agent_program_the_error_says_so(directory, monkeypatch):
    home = GpgHome(directory)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(ConfigError, match="gpg-agent cannot be started"):
            home.start_agent()
    home.close()


@pytest.fixture
def temporary(monkeypatch):
    """A short directory for temporary files alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield path


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(directory, temporary):
    os.mkdir(os.path.join(directory, "private-keys-v1.d"))
    program = (
        "import os, sys, signal, tempfile; tempfile.tempdir = sys.argv[2]\n"
        "from guerillabackup.signature_home import GpgHome\n"
        "home = GpgHome(sys.argv[1]); home.start_agent(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, directory, temporary], check=False)
    (left,) = os.listdir(temporary)
    others = ["guerillabackup-notes", "guerillabackup-gpg-mine"]
    for name in others:
        os.mkdir(os.path.join(temporary, name))
    homes = [GpgHome(directory) for _ in range(3)]
    names = [os.path.basename(home.path) for home in homes]
    assert sorted(os.listdir(temporary)) == sorted([*names, *others])
    assert left not in names
    for home in homes:
        home.close()
    assert sorted(os.listdir(temporary)) == sorted(others)
    assert os.listdir(directory) == ["private-keys-v1.d"]


def test_an_agent_that_is_killed_at_its_start_is_started_again_once(directory, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gpg-agent").write_text(
        '#!/bin/sh\necho >> "$0.runs"\n'
        '[ -e "$0.fails" ] || [ $(wc -l < "$0.runs") = 1 ] && kill -9 $$\nexec cat\n'
    )
    (programs / "gpg-agent").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    home = GpgHome(directory)
    home.start_agent()
    home.close()
    (programs / "gpg-agent.fails").touch()
    home = GpgHome(directory)
    with pytest.raises(ConfigError, match="gpg-agent ended twice before it was ready"):
        home.start_agent()
    home.close()
    assert (programs / "gpg-agent.runs").read_text().count("\n") == 4


def test_a_directory_without_keys_is_no_keyring_and_those_in_it_are_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert why_no_keyring(str(tmp_path)) == f"{tmp_path} is no keyring: there are no keys in it"
    (tmp_path / "b" / "pubring.kbx").touch()
    assert f"is it {tmp_path}/b that is meant" in why_no_keyring(str(tmp_path))
    assert why_no_keyring(str(tmp_path / "b")) is None
    assert why_no_keyring(str(tmp_path / "not there")) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"secret\r\n", "ends with a carriage return, as on Windows"), (b"\xff\n", "is not UTF-8 text")],
)
def test_a_passphrase_file_that_cannot_be_used_says_why(tmp_path, content, reason):
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(ConfigError, match=reason):
        read_passphrase(str(tmp_path / "file"))


def test_a_passphrase_file_that_is_not_there_says_so_in_words(tmp_path):
    with pytest.raises(ConfigError, match=r"none: cannot be read: No such file or directory$"):
        read_passphrase(str(tmp_path / "none"))
