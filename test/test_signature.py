"""Real keys, real signatures: what counts as one, whose it is, and what else gpg would let pass."""

import os
import shutil
import stat
import subprocess
import tempfile
import time

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.signature import (
    KeyPurpose,
    Keyring,
    SignatureStatus,
    sign_metainfo,
    verify_metainfo,
)
from guerillabackup.signature_home import has_protected_keys

SOURCE = SourceUrl("/host/system/root")
METAINFO = BackupElementMetainfo(
    {"BackupType": "full", "Timestamp": 1700000000, "StorageFileChecksumSha512": bytes(64)}
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A keyring with one key for each purpose; tests only read it."""
    path = tmp_path_factory.mktemp("keys")
    path.chmod(0o700)
    with Keyring(str(path)) as keyring:
        keyring.create_key("Höst <signing@example.org>", KeyPurpose.SIGN)
        keyring.create_key("other", KeyPurpose.SIGN, expires_in=86400)
        keyring.create_key("--foo", KeyPurpose.ENCRYPT)
        keyring.create_key("-u", KeyPurpose.SIGN)
    return str(path)


@pytest.fixture
def keyring(directory):
    with Keyring(directory) as opened:
        yield opened


@pytest.fixture
def empty(tmp_path):
    tmp_path.chmod(0o700)
    return str(tmp_path)


@pytest.fixture
def gpg():
    """Runs gpg as one does by hand, in a home of its own, at any time."""
    home = tempfile.mkdtemp(dir="/tmp")

    def run(*arguments, at="20200101T000000", data=b"data"):
        command = ["gpg", "--homedir", home, "--batch", "--passphrase", "", "--pinentry-mode", "loopback"]
        command += ["--faked-system-time", f"{at}!", *arguments]
        return subprocess.run(command, input=data, check=True, capture_output=True).stdout

    run.home = home
    yield run
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    shutil.rmtree(home, ignore_errors=True)  # the agent removes its sockets meanwhile


def fingerprint_of(keyring, name):
    return next(key.fingerprint for key in keyring.list_keys() if name in key.names)


def test_a_signature_is_valid_for_its_data_and_names_its_key(keyring):
    result = keyring.verify(b"data", keyring.sign("other", b"data"))
    assert result.status is SignatureStatus.VALID
    assert result.fingerprint == result.signing_fingerprint == fingerprint_of(keyring, "other")
    assert abs(result.made_at - time.time()) < 3600


def test_a_signature_over_other_data_is_bad(keyring):
    signature = keyring.sign("other", b"data")
    assert keyring.verify(b"Data", signature).status is SignatureStatus.BAD


def test_empty_data_can_be_signed(keyring):
    assert keyring.verify(b"", keyring.sign("other", b"")).is_valid


def test_a_file_without_a_name_is_signed_whole_wherever_its_descriptor_stands(keyring, tmp_path):
    with open(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR), "w+b") as stream:
        stream.write(b"data")
        stream.flush()
        signature = keyring.sign_file("other", stream.fileno())
        assert keyring.verify_file(stream.fileno(), signature).is_valid
        assert keyring.verify(b"data", signature).is_valid
        stream.write(b"more")
        stream.flush()
        assert keyring.verify_file(stream.fileno(), signature).status is SignatureStatus.BAD


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", b"\x88", bytes(range(256)) * 4096, b"-----BEGIN PGP SIGNATURE-----\n", b"\x88\x04\4\0\0\0"],
    ids=["nothing", "zero", "a tag", "a mebibyte", "armor", "a cut"],
)
def test_garbage_is_a_bad_signature_and_no_error(keyring, garbage):
    assert keyring.verify(b"data", garbage).status is SignatureStatus.BAD


def test_exactly_one_signature_is_wanted(keyring):
    signature = keyring.sign("other", b"data")
    for several in (signature * 2, signature + keyring.sign("-u", b"data"), signature + b"\0"):
        assert keyring.verify(b"data", several).status is SignatureStatus.BAD


def test_a_signed_message_with_its_own_content_is_no_detached_signature(keyring, gpg):
    gpg("--quick-generate-key", "by hand", "ed25519", "sign", "never")
    message = gpg("--sign", "--compress-algo", "none")
    text_signature = gpg("--detach-sign", "--textmode")
    assert keyring.verify(b"data", message).status is SignatureStatus.BAD
    assert "type 0x01" in keyring.verify(b"data", text_signature).text


def test_a_key_that_is_not_in_the_keyring_is_unknown(keyring, empty):
    with Keyring(empty) as other:
        result = other.verify(b"data", keyring.sign("other", b"data"))
    assert result.status is SignatureStatus.UNKNOWN_KEY
    assert result.fingerprint is None


@pytest.mark.parametrize("name", ["Höst <signing@example.org>", "höst", "signing@example.org", "-u"])
def test_a_key_is_found_by_its_user_id_name_or_mail(keyring, name):
    assert keyring.verify(b"data", keyring.sign(name, b"data")).is_valid


def test_a_key_is_found_by_its_fingerprint(keyring):
    fingerprint = fingerprint_of(keyring, "other")
    for name in (fingerprint, fingerprint.lower(), fingerprint[-16:]):
        assert keyring.check_usable(name, KeyPurpose.SIGN).fingerprint == fingerprint


@pytest.mark.parametrize("name", ["nobody", "", "--version", "--foo", "%", "\n", "*"])
def test_a_name_that_is_no_key_that_signs_is_refused(keyring, name):
    with pytest.raises(KeyUnusableError):
        keyring.sign(name, b"data")


def test_a_key_says_what_it_is_for_and_why_not_for_more(keyring):
    with pytest.raises(KeyUnusableError, match="cannot sign, only encrypt"):
        keyring.check_usable("--foo", KeyPurpose.SIGN)
    with pytest.raises(KeyUnusableError, match="cannot encrypt, only sign"):
        keyring.check_usable("other", KeyPurpose.ENCRYPT)
    assert keyring.check_usable("--foo", KeyPurpose.ENCRYPT).purposes == (KeyPurpose.ENCRYPT,)


def test_a_key_is_usable_until_it_expires(keyring):
    key = keyring.check_usable("other", KeyPurpose.SIGN)
    assert key.expiry(KeyPurpose.SIGN) - key.created == 86400
    with pytest.raises(KeyUnusableError, match=r"expired on .*; prolong it with: gpg --homedir /"):
        keyring.check_usable("other", KeyPurpose.SIGN, now=key.created + 86400)


def test_a_key_that_is_named_by_its_fingerprint_is_told_by_it_once(keyring):
    key = keyring.check_usable("other", KeyPurpose.SIGN)
    with pytest.raises(KeyUnusableError) as error:
        keyring.check_usable(key.fingerprint, KeyPurpose.ENCRYPT)
    assert str(error.value).count(key.fingerprint) == 1


def test_a_signature_stays_valid_when_its_key_expires_later(gpg, empty):
    gpg("--quick-generate-key", "old", "ed25519", "sign", "1y")
    signature = gpg("--detach-sign", at="20200601T000000")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        result = keyring.verify(b"data", signature)
        assert result.status is SignatureStatus.VALID
        assert "before the key expired on 2020-12-31" in result.text
        assert keyring.list_keys()[0].unusable_reason(KeyPurpose.SIGN, time.time()) == "expired on 2020-12-31"


def test_a_signature_made_after_its_key_expired_does_not_count(gpg, empty):
    gpg("--quick-generate-key", "old", "ed25519", "sign", "never")
    signature = gpg("--detach-sign", at="20240601T000000")
    (fingerprint,) = {
        line.split(":")[9]
        for line in gpg("--list-keys", "--with-colons").decode().splitlines()
        if line[:3] == "fpr"
    }
    gpg("--quick-set-expire", fingerprint, "1y", at="20220601T000000")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        assert keyring.verify(b"data", signature).status is SignatureStatus.EXPIRED


def test_a_signature_that_has_expired_itself_does_not_count(gpg, empty):
    gpg("--quick-generate-key", "old", "ed25519", "sign", "never")
    signature = gpg("--detach-sign", "--default-sig-expire", "1d")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        assert keyring.verify(b"data", signature).status is SignatureStatus.EXPIRED


def test_a_signature_of_a_revoked_key_does_not_count(gpg, empty):
    gpg("--quick-generate-key", "lost", "ed25519", "sign", "never")
    signature = gpg("--detach-sign")
    (name,) = os.listdir(os.path.join(gpg.home, "openpgp-revocs.d"))
    with open(os.path.join(gpg.home, "openpgp-revocs.d", name), encoding="utf-8") as stream:
        certificate = stream.read().replace(":-----BEGIN", "-----BEGIN")
    gpg("--import", data=certificate.encode())
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        assert keyring.verify(b"data", signature).status is SignatureStatus.REVOKED
        with pytest.raises(KeyUnusableError, match=r"is revoked, .*make another with .* --purpose sign"):
            keyring.sign("lost", b"data")


def revoke(gpg, reason, at):
    """As somebody does by hand who answers gpg's questions."""
    (name,) = os.listdir(os.path.join(gpg.home, "openpgp-revocs.d"))
    command = ["gpg", "--homedir", gpg.home, "--no-tty", "--command-fd", "0", "--faked-system-time", f"{at}!"]
    answers = f"y\n{reason}\nnobody minds\n\ny\n".encode()
    argv = [*command, "--gen-revoke", name.removesuffix(".rev")]
    gpg("--import", data=subprocess.run(argv, input=answers, check=True, capture_output=True).stdout)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (0, SignatureStatus.REVOKED),
        (1, SignatureStatus.REVOKED),
        (2, SignatureStatus.VALID),
        (3, SignatureStatus.VALID),
    ],
    ids=["none", "compromised", "superseded", "no longer used"],
)
def test_the_reason_for_a_revocation_decides_what_was_signed_before(gpg, empty, reason, status):
    gpg("--quick-generate-key", "old", "ed25519", "sign", "never")
    signature = gpg("--detach-sign", at="20210101T000000")
    late = gpg("--detach-sign", at="20230101T000000")
    revoke(gpg, reason, "20220101T000000")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        result = keyring.verify(b"data", signature)
        assert result.status is status
        assert "revoked on 2022-01-01" in result.text
        assert keyring.verify(b"data", late).status is SignatureStatus.REVOKED
        assert keyring.verify(b"other", signature).status is SignatureStatus.BAD


def test_metadata_by_a_revoked_key_of_another_source_or_signer_is_called_so(gpg, empty):
    gpg("--quick-generate-key", "old", "ed25519", "sign", "never")
    named = METAINFO.replace(SourceUrl=str(SOURCE))
    signed = named.replace(MetaDataSignature=gpg("--detach-sign", data=named.signed_bytes()))
    revoke(gpg, 1, "20220101T000000")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        answers = [
            verify_metainfo(keyring, signed, SOURCE, None),
            verify_metainfo(keyring, signed, SourceUrl("/host/other"), None),
            verify_metainfo(keyring, signed, SOURCE, {".*": ["F" * 40]}),
        ]
    statuses = [answer.status for answer in answers]
    assert statuses == [SignatureStatus.REVOKED, SignatureStatus.WRONG_SOURCE, SignatureStatus.UNTRUSTED]


def test_a_signature_over_a_weak_hash_does_not_count(gpg, empty):
    gpg("--quick-generate-key", "old", "rsa2048", "sign", "never")
    signature = gpg("--detach-sign", "--digest-algo", "SHA1")
    with Keyring(empty) as keyring:
        keyring.import_key(gpg("--export", "--armor").decode())
        result = keyring.verify(b"data", signature)
    assert (result.status, "SHA-1" in result.text) == (SignatureStatus.BAD, True)


def test_signing_works_in_a_directory_whose_path_is_longer_than_any_socket(tmp_path):
    deep = tmp_path / ("x" * 150)
    deep.mkdir(mode=0o700)
    with Keyring(str(deep)) as keyring:
        keyring.create_key("host", KeyPurpose.SIGN)
        assert keyring.verify(b"data", keyring.sign("host", b"data")).is_valid


@pytest.fixture
def temporary(monkeypatch):
    """A short directory where temporary homes are made, of this test alone."""
    path = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", path)
    yield path
    shutil.rmtree(path)


def test_after_close_no_home_is_left(directory, temporary):
    with Keyring(directory) as keyring:
        keyring.sign("other", b"data")
        assert os.listdir(temporary)
    keyring.close()
    assert os.listdir(temporary) == []


def test_reading_and_signing_leave_nothing_new_in_the_keyring(directory):
    before = sorted(os.listdir(directory))
    with Keyring(directory) as keyring:
        assert keyring.verify(b"data", keyring.sign("other", b"data")).is_valid
    assert sorted(os.listdir(directory)) == before


def test_a_keyring_others_can_enter_is_refused_with_the_remedy(tmp_path):
    tmp_path.chmod(0o750)
    with pytest.raises(ConfigError, match=f"chmod 0700 {tmp_path}"):
        Keyring(str(tmp_path))


def test_a_keyring_that_is_not_there_or_no_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(ConfigError, match=str(tmp_path / name)):
            Keyring(str(tmp_path / name))


def test_keys_travel_as_text_and_secret_halves_only_when_told(keyring, empty):
    public, secret = keyring.export_key("--foo"), keyring.export_key("--foo", secret=True)
    with Keyring(empty) as other:
        with pytest.raises(KeyUnusableError, match="secret key"):
            other.import_key(secret)
        assert other.list_keys() == []
        assert [key.has_secret for key in other.import_key(public)] == [False]
        assert [key.has_secret for key in other.import_key(secret, secret=True)] == [True]
        assert other.list_keys()[0].names == ("--foo",)


def test_a_secret_key_under_a_public_heading_does_not_get_in(keyring, empty):
    disguised = keyring.export_key("--foo", secret=True).replace("PRIVATE KEY", "PUBLIC KEY")
    with Keyring(empty) as other:
        other.import_key(disguised)
        assert [key.has_secret for key in other.list_keys()] == [False]
        assert not os.path.exists(os.path.join(empty, "private-keys-v1.d"))


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "x" * (2 << 20)], ids=range(4)
)
def test_what_is_no_key_is_not_imported(empty, text):
    with Keyring(empty) as keyring, pytest.raises(KeyUnusableError):
        keyring.import_key(text)


@pytest.mark.parametrize("name", ["", " ", " x", "a\nKey-Type: RSA", "x" * 201, "\x1b[2J"])
def test_a_name_no_key_can_have_is_refused(empty, name):
    with Keyring(empty) as keyring, pytest.raises(ConfigError, match="printable"):
        keyring.create_key(name, KeyPurpose.SIGN)


@pytest.mark.parametrize("name", ["a", "5", "Ünï ☃", "#x", "%commit", "a: b", "Name (comment) <a@b>"])
def test_any_printable_name_is_kept_as_it_is(empty, name):
    with Keyring(empty) as keyring:
        assert keyring.create_key(name, KeyPurpose.SIGN).names == (name,)
        assert keyring.verify(b"x", keyring.sign(name, b"x")).is_valid


def test_a_name_is_given_once(keyring):
    with pytest.raises(ConfigError, match="already"):
        keyring.create_key("other", KeyPurpose.SIGN)


def test_keys_can_be_rsa(empty):
    with Keyring(empty) as keyring:
        key = keyring.create_key("rsa", KeyPurpose.ENCRYPT, algorithm="rsa4096", expires_in=86400)
        assert (key.algorithm, key.purposes) == ("rsa4096", (KeyPurpose.ENCRYPT,))
        with pytest.raises(ConfigError, match="none of ed25519, rsa4096"):
            keyring.create_key("dsa", KeyPurpose.SIGN, algorithm="dsa")


def test_a_key_with_a_passphrase_needs_its_file(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    with Keyring(str(keys), passphrase_file=str(passphrase)) as keyring:
        keyring.create_key("locked", KeyPurpose.SIGN)
        assert keyring.verify(b"data", keyring.sign("locked", b"data")).is_valid
        assert "PRIVATE" in keyring.export_key("locked", secret=True)
    with Keyring(str(keys)) as keyring, pytest.raises(KeyUnusableError, match=r"'locked'.*cannot sign"):
        keyring.sign("locked", b"data")


@pytest.mark.parametrize(("content", "mode"), [("x\n", 0o644), ("\n", 0o600), ("a\0b\n", 0o600)])
def test_a_passphrase_file_is_private_and_has_a_first_line(empty, tmp_path, content, mode):
    path = tmp_path / "passphrase"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=str(path)):
        Keyring(empty, passphrase_file=str(path))


def test_signed_metadata_is_valid_for_its_source_and_survives_storage_and_transfer(keyring):
    signed = sign_metainfo(keyring, "other", METAINFO, SOURCE)
    stored = BackupElementMetainfo.unserialize(signed.serialize())
    moved = stored.replace(TransferAttributes={"Timestamp": 5})
    for metainfo in (signed, stored, moved):
        assert verify_metainfo(keyring, metainfo, SOURCE, None).is_valid


def test_changed_metadata_is_bad(keyring):
    signed = sign_metainfo(keyring, "other", METAINFO, SOURCE)
    for changes in (
        {"Timestamp": 1},
        {"StorageFileChecksumSha512": b"x" * 64},
        {"Extra": 1},
        {"SourceUrl": "/x"},
    ):
        result = verify_metainfo(keyring, signed.replace(**changes), SOURCE, None)
        assert result.status is SignatureStatus.BAD


def test_unsigned_metadata_is_said_to_be(keyring):
    assert verify_metainfo(keyring, METAINFO, SOURCE, None).status is SignatureStatus.UNSIGNED


def test_metadata_of_one_source_is_not_valid_for_another(keyring):
    signed = sign_metainfo(keyring, "other", METAINFO, SOURCE)
    result = verify_metainfo(keyring, signed, SourceUrl("/host/system/home"), None)
    assert result.status is SignatureStatus.WRONG_SOURCE
    without = METAINFO.replace(MetaDataSignature=keyring.sign("other", METAINFO.signed_bytes()))
    assert verify_metainfo(keyring, without, SOURCE, None).status is SignatureStatus.WRONG_SOURCE


def test_a_source_is_signed_by_the_keys_that_are_trusted_for_it_alone(keyring):
    signed = sign_metainfo(keyring, "other", METAINFO, SOURCE)
    own, foreign = fingerprint_of(keyring, "other"), fingerprint_of(keyring, "-u")

    def status(trusted):
        return verify_metainfo(keyring, signed, SOURCE, trusted).status

    assert status({"/host/.*": [own.lower()]}) is SignatureStatus.VALID
    assert status({"/host/.*": [foreign], ".*": [own]}) is SignatureStatus.VALID
    assert status({"/host/.*": [foreign]}) is SignatureStatus.UNTRUSTED
    assert status({"/host": [own]}) is SignatureStatus.UNTRUSTED
    assert status({}) is SignatureStatus.UNTRUSTED
    assert verify_metainfo(keyring, signed, SOURCE, {}).refusal.startswith(
        f"is not by a key that GeneralTrustedSigningKeys trusts for source {SOURCE}: made by key {own} on "
    )


def test_who_may_sign_a_source_may_sign_its_members_list(keyring):
    signed = sign_metainfo(keyring, "other", METAINFO, SOURCE.members())
    trusted = {"/host/system/root": [fingerprint_of(keyring, "other")]}
    assert verify_metainfo(keyring, signed, SOURCE.members(), trusted).is_valid


def test_without_gpg_the_error_says_so_and_no_home_is_left(directory, temporary, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        with pytest.raises(ConfigError, match="gpg cannot be used"):
            Keyring(directory)
    assert os.listdir(temporary) == []


def test_keyrings_that_are_used_at_once_do_not_end_each_others_agents(directory):
    with Keyring(directory) as first:
        first.sign("other", b"data")
        with Keyring(directory) as second:
            second.sign("other", b"data")
        assert first.verify(b"more", first.sign("other", b"more")).is_valid


def test_secret_keys_and_their_directories_are_their_owners_alone(directory):
    for name in ("private-keys-v1.d", "openpgp-revocs.d"):
        path = os.path.join(directory, name)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        for entry in os.scandir(path):
            assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0


def test_a_key_of_the_future_is_told_from_one_that_cannot_sign(directory):
    message = r"is not valid before 20.*clock of this host says 2001-09-09"
    with (
        Keyring(directory, clock=lambda: 1_000_000_000.0) as keyring,
        pytest.raises(KeyUnusableError, match=message),
    ):
        keyring.check_usable("other", KeyPurpose.SIGN)


def test_gpg_that_cannot_be_run_is_told_with_the_reason(empty, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="gpg cannot be used: there is no program gpg; is gnupg installed"):
        Keyring(empty)


@pytest.mark.parametrize("passphrase", [None, "word of words"])
@pytest.mark.parametrize("algorithm", ["ed25519", "rsa4096"])
def test_an_imported_secret_key_has_the_passphrase_that_it_had(tmp_path, passphrase, algorithm):
    """gpg-agent keeps it in another form until it is used."""
    there, here, file = tmp_path / "there", tmp_path / "here", None
    for directory in (there, here):
        directory.mkdir(mode=0o700)
    if passphrase is not None:
        file = tmp_path / "passphrase"
        file.write_text(f"{passphrase}\n")
        file.chmod(0o600)
    named = None if file is None else str(file)
    with Keyring(str(there), passphrase_file=named) as keyring:
        keyring.create_key("box", KeyPurpose.ENCRYPT, algorithm=algorithm)
        text = keyring.export_key("box", secret=True)
    with Keyring(str(here), passphrase_file=named) as keyring:
        (key,) = keyring.import_key(text, secret=True)
        assert keyring.has_passphrase(key) is (passphrase is not None)
    assert has_protected_keys(str(here)) is (passphrase is not None)
