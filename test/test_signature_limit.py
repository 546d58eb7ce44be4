"""A gpg that does nothing, and one that takes its time."""

import pytest

from guerillabackup import signature_limit
from guerillabackup.errors import KeyUnusableError
from guerillabackup.signature import Keyring


@pytest.fixture
def gpg(tmp_path, monkeypatch):
    """Puts a program of these lines in gpg's place, and makes the limit short."""
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "bin").mkdir()

    def make(*lines):
        program = tmp_path / "bin" / "gpg"
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        monkeypatch.setattr(signature_limit, "STALL_SECONDS", 0.3)
        return str(tmp_path / "keys")

    return make


def test_a_gpg_that_does_nothing_is_ended_and_told_of(gpg):
    with pytest.raises(KeyUnusableError, match=r"did nothing for 0\.3 seconds"):
        Keyring(gpg("exec sleep 1000"))


def test_a_gpg_that_hangs_while_it_verifies_is_ended_and_told_of(gpg):
    directory = gpg('case "$*" in *--verify*) exec sleep 1000;; esac', 'exec /usr/bin/gpg "$@"')
    signature = b"\x88\x75\x04\x00\x16" + bytes(0x72)  # enough of one to be handed to gpg
    with Keyring(directory) as keyring, pytest.raises(KeyUnusableError, match="did nothing"):
        keyring.verify(b"data", signature)


def test_a_gpg_that_is_busy_for_longer_than_the_limit_is_left_alone(gpg):
    busy = "i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done"
    with Keyring(gpg(busy, 'exec /usr/bin/gpg "$@"')) as keyring:
        assert keyring.list_keys() == []
