"""Passphrases that are asked for at a terminal, and nowhere else."""

import subprocess
from pathlib import Path

import pytest
from terminal import PROGRAM, run_at_terminal

from guerillabackup.cli.passphrase import keep_in_memory, passphrase_source
from guerillabackup.errors import ConfigError
from guerillabackup.signature import read_passphrase

SECRET = "correct höarse"
ASKED = "Passphrase of the secret key in"


@pytest.fixture
def host(tmp_path, command):
    """A host with one encrypted element of `/host/tree`; its private key has a passphrase."""
    etc, private = tmp_path / "etc", tmp_path / "private"
    options = ("--config-dir", etc)
    arguments = ("--base", tmp_path, "--encryption-key", "backup", "--private-keyring", private)
    assert command("config", "init", "--yes", *arguments, *options).status == 0
    (tmp_path / "passphrase").write_text(SECRET + "\n")
    (tmp_path / "passphrase").chmod(0o600)
    with_file = ("--passphrase-file", tmp_path / "passphrase")
    assert command("key", "create", "backup", "--purpose", "encrypt", *with_file, *options).status == 0
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content")
    unit = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
    (etc / "units" / "Tar").write_text(unit)
    timing = [10**7, 10**8, None, 0]
    settings = {"Root": str(tmp_path / "tree"), "FullBackupTiming": timing, "IncBackupTiming": timing}
    (etc / "units" / "Tar.config").write_text(f"TarBackupUnitConfigList = { ({'/host/tree': settings})!r}\n")
    assert command("generator", "run", "--once", *options).status == 0
    return tmp_path


def test_a_restore_asks_once_and_shows_nothing_of_the_answer(host):
    arguments = ("restore", "/host/tree", "--to", host / "out", "--config-dir", host / "etc")
    status, _, shown = run_at_terminal(arguments, [(ASKED, SECRET)])
    assert (status, shown.count(ASKED)) == (0, 1)
    assert SECRET not in shown
    assert (host / "out" / "file").read_text() == "content"


def test_after_a_wrong_answer_it_is_asked_for_again_three_times_in_all(host):
    arguments = ("restore", "/host/tree", "--to", host / "out", "--config-dir", host / "etc")
    status, _, shown = run_at_terminal(arguments, [(ASKED, "wrong")] * 3)
    assert (status, shown.count(ASKED)) == (5, 3)
    assert "the passphrase typed is wrong, 3 times: no secret key in" in shown
    assert "/proc/" not in shown
    assert not (host / "out").exists()
    assert run_at_terminal(arguments, [(ASKED, "wrong"), (ASKED, SECRET)])[0] == 0


def test_an_empty_answer_ends_with_5(host):
    arguments = ("restore", "/host/tree", "--to", host / "out", "--config-dir", host / "etc")
    assert run_at_terminal(arguments, [(ASKED, "")])[0] == 5
    assert not (host / "out").exists()


def test_a_passphrase_may_come_out_of_a_pipe(host):
    shell = 'exec "$@" --passphrase-file <(cat "$0")'
    arguments = ("restore", "/host/tree", "--to", host / "out", "--config-dir", host / "etc")
    argv = ["bash", "-c", shell, host / "passphrase", *PROGRAM, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_secret_key_is_not_exported_without_its_passphrase(host, command):
    export = ("key", "export", "backup", "--secret", "--config-dir", host / "etc")
    outcome = command(*export)
    assert (outcome.status, outcome.out) == (5, "")
    assert "has it a passphrase; name the file with the right one by --passphrase-file" in outcome.err


def test_an_element_and_a_secret_key_are_asked_for_too_and_raw_data_is_not(host, command):
    options = ("--config-dir", host / "etc")
    (element_id,) = (
        each
        for each in command("element", "list", *options).out.split()
        if not each.endswith(".members-full")
    )
    status, output, _ = run_at_terminal(
        ("element", "cat", f"{element_id.rpartition('-')[0]}.members-full", *options), [(ASKED, SECRET)]
    )
    assert status == 0
    assert "file" in output
    status, output, _ = run_at_terminal(("key", "export", "backup", "--secret", *options), [(ASKED, SECRET)])
    assert (status, "PRIVATE KEY BLOCK" in output) == (0, True)
    assert run_at_terminal(("key", "export", "backup", *options))[0] == 0


def test_a_new_key_is_asked_for_twice_when_that_is_wanted(host):
    create = ("key", "create", "second", "--purpose", "encrypt", "--config-dir", host / "etc")
    dialogue = [("new key 'second'", SECRET), ("The same again", "another")]
    status, _, shown = run_at_terminal((*create, "--passphrase"), dialogue)
    assert (status, "are not the same: no key was made" in shown) == (2, True)
    dialogue[1] = ("The same again", SECRET)
    assert run_at_terminal((*create, "--passphrase"), dialogue)[0] == 0
    assert run_at_terminal((*create, "--passphrase", "--passphrase-file", "x"))[0] == 2


def test_without_a_terminal_nobody_is_asked(host):
    for arguments, status in (
        (["restore", "/host/tree", "--to", host / "out"], 5),
        (["key", "create", "x", "--purpose", "sign", "--passphrase"], 2),
    ):
        done = subprocess.run(
            [*PROGRAM, *arguments, "--config-dir", host / "etc"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            check=False,
        )
        assert (done.returncode, ASKED.encode() in done.stderr) == (status, False)


def test_a_file_that_is_named_is_taken_as_it_is(tmp_path):
    assert passphrase_source(str(tmp_path / "file"), str(tmp_path)) == str(tmp_path / "file")
    assert passphrase_source(None, None) is None


def test_what_was_typed_is_read_like_a_file_and_is_in_none():
    path = keep_in_memory(SECRET)
    assert read_passphrase(path) == SECRET
    assert str(Path(path).readlink()).startswith("/memfd:")
    with pytest.raises(ConfigError, match="begins or ends with a blank"):
        keep_in_memory(" x")
