"""A keyring is made ready beside other work, and what is wrong with it is said when it is wanted."""

import threading

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.keys import KeyringAhead
from guerillabackup.signature import KeyPurpose, Keyring


@pytest.fixture
def keyring(tmp_path):
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    with Keyring(str(directory)) as opened:
        opened.create_key("signing", KeyPurpose.SIGN)
    return str(directory)


def test_the_keys_are_there_when_they_are_wanted(keyring):
    with KeyringAhead(keyring) as ahead:
        assert [key.names for key in ahead.get().list_keys()] == [("signing",)]


def test_what_was_prepared_signs(keyring):
    with KeyringAhead(keyring) as ahead:
        ahead.prepare_signing()
        signature = ahead.get().sign("signing", b"data")
        assert ahead.get().verify(b"data", signature).is_valid


def test_no_thread_is_left(keyring):
    with KeyringAhead(keyring) as ahead:
        ahead.prepare_signing()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("keyring")]


def test_who_needs_no_key_does_not_hear_of_a_missing_keyring(tmp_path):
    with KeyringAhead(str(tmp_path / "none")):
        pass


def test_who_needs_one_hears_each_time(tmp_path):
    with KeyringAhead(str(tmp_path / "none")) as ahead:
        for _ in range(2):
            with pytest.raises(ConfigError, match="No such file"):
                ahead.get()


def test_a_key_that_is_about_to_expire_is_warned_of_once_with_what_to_do(tmp_path, caplog):
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    with Keyring(str(directory)) as opened:
        opened.create_key("old", KeyPurpose.SIGN, expires_in=40 * 86400)
        made = opened.create_key("box", KeyPurpose.ENCRYPT, expires_in=40 * 86400)
    with KeyringAhead(str(directory)) as ahead:
        ahead.check_signing_key("old", made.created)
        assert caplog.messages == []
        for _ in range(2):
            ahead.check_signing_key("old", made.created + 20 * 86400)
            ahead.find_encryption_key("box", made.created + 20 * 86400)
        signing, encrypting = caplog.messages
        assert [getattr(record, "is_standing", False) for record in caplog.records] == [True, True]
    with KeyringAhead(str(directory)) as ahead:
        ahead.check_signing_key("old", made.created + 34 * 86400)
        assert getattr(caplog.records[-1], "is_standing", False) is False
    assert f"prolong it with: gpg --homedir {directory} --quick-set-expire" in signing
    assert "20 days are left; give it a new expiry" in encrypting


def test_a_source_that_is_signed_with_a_key_not_trusted_for_it_is_warned_of_once(keyring, caplog):
    with KeyringAhead(keyring) as ahead:
        (key,) = ahead.get().list_keys()
        trusted = {"/host/good": [key.fingerprint.lower()], "/host/bad": ["0" * 40]}
        for url in ("/host/good", "/host/bad", "/host/bad.members", "/host/bad"):
            ahead.warn_of_distrust("signing", SourceUrl(url), trusted, key.created)
        ahead.warn_of_distrust("signing", SourceUrl("/host/other"), None, key.created)
    (message,) = caplog.messages
    assert "GeneralTrustedSigningKeys does not trust the key 'signing'" in message
    assert "for source /host/bad: element verify and restore refuse" in message
    assert f"'/host/bad': ['{key.fingerprint}']" in message
