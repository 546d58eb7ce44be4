"""A command line run within the process, and configuration directories to run it on."""

import json
import logging
from dataclasses import dataclass

import pytest

from guerillabackup.cli.main import run


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs one command line; what it printed and its exit status come back."""
    monkeypatch.delenv("GUERILLABACKUP_CONFIG_DIR", raising=False)
    handlers = list(logging.getLogger().handlers)

    def execute(*arguments):
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    yield execute
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def made(tmp_path, command):
    """A configuration as `config init` makes it, below tmp_path, with a key to encrypt for."""
    etc, private = tmp_path / "etc", tmp_path / "private"
    options = ("--config-dir", etc)
    keyring = ("--private-keyring", private)
    assert (
        command(
            "config", "init", "--yes", "--base", tmp_path, "--encryption-key", "backup", *keyring, *options
        ).status
        == 0
    )
    assert command("key", "create", "backup", "--purpose", "encrypt", *keyring, *options).status == 0
    return etc
