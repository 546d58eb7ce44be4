import shutil
import subprocess
import tempfile

import pytest

from guerillabackup.errors import ConfigError, IntegrityError, KeyUnusableError, StorageFullError
from guerillabackup.pipeline.compression import CompressionPipelineElement, decompression_element
from guerillabackup.pipeline.gpg import GpgDecryptionPipelineElement, GpgEncryptionPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline

ORIGINAL_ARGV = [
    *("/usr/bin/gpg", "--batch", "--lock-never", "--no-options", "--homedir", "/etc/guerillabackup/keys"),
    *("--trust-model", "always", "--throw-keyids", "--no-emit-version", "--encrypt"),
]
CONTENT = b"some secret content\n" * 20_000


def transform(directory, data: bytes, *elements) -> bytes:
    (directory / "in").write_bytes(data)
    with open(directory / "in", "rb") as source, open(directory / "out", "wb") as target:
        run_pipeline(instantiate_pipeline(elements, source.fileno(), target.fileno()), stall_timeout=30)
    return (directory / "out").read_bytes()


def test_the_arguments_are_the_originals_and_no_lookup_on_the_network():
    arguments = GpgEncryptionPipelineElement("key").get_arguments()
    assert [part for part in arguments if part in ORIGINAL_ARGV] == ORIGINAL_ARGV
    assert arguments[-2:] == ("--hidden-recipient", "key")
    added = [part for part in arguments[:-2] if part not in ORIGINAL_ARGV]
    assert added == ["--no-auto-key-locate", "--status-fd", "2"]


def test_arguments_of_a_configuration_stay_but_never_ask_the_network():
    arguments = GpgEncryptionPipelineElement("key", ["/opt/gpg", "--encrypt"]).get_arguments()
    assert arguments == ("/opt/gpg", "--no-auto-key-locate", "--encrypt", "--hidden-recipient", "key")
    asking = ["gpg", "--auto-key-locate", "local", "--encrypt"]
    assert GpgEncryptionPipelineElement("key", asking).get_arguments()[:4] == tuple(asking)


def test_each_use_of_an_element_leaves_its_arguments_as_they_were():
    argv = list(ORIGINAL_ARGV)
    element = GpgEncryptionPipelineElement("one", argv)
    before = element.get_arguments()
    for key in ("two", "three"):
        assert element.replace_key(key).get_arguments()[-2:] == ("--hidden-recipient", key)
        element.without_compression().get_execution_instance(None).stop()
    assert element.get_arguments() == before
    assert argv == ORIGINAL_ARGV
    assert GpgEncryptionPipelineElement("four").get_arguments().count("--hidden-recipient") == 1


def test_compression_is_switched_off_once_and_never_against_the_arguments():
    plain = GpgEncryptionPipelineElement("key").without_compression()
    assert plain.get_arguments()[1:5] == ("--compress-algo", "none", "--compress-level", "0")
    assert plain.without_compression().get_arguments() == plain.get_arguments()
    chosen = GpgEncryptionPipelineElement("key", ["gpg", "--compress-algo", "bzip2", "--encrypt"])
    assert chosen.without_compression().get_arguments() == chosen.get_arguments()


@pytest.mark.parametrize("key", ["", [], ["good", ""], [1]])
def test_a_key_that_is_no_name_is_refused(key):
    with pytest.raises(ConfigError):
        GpgEncryptionPipelineElement(key)


@pytest.mark.parametrize("argv", ["gpg --encrypt", []])
def test_arguments_that_are_no_list_are_refused(argv):
    with pytest.raises(ConfigError):
        GpgEncryptionPipelineElement("key", argv)


def test_what_is_encrypted_comes_back_and_names_nobody(keys, tmp_path):
    encryption = GpgEncryptionPipelineElement("good@example.org", home=keys.home)
    elements = [CompressionPipelineElement(), encryption.without_compression()]
    encrypted = transform(tmp_path, CONTENT, *elements)
    decryption = [GpgDecryptionPipelineElement(keys.home), decompression_element("zstd")]
    assert transform(tmp_path, encrypted, *decryption) == CONTENT


def test_each_of_several_recipients_can_decrypt(keys, tmp_path):
    encryption = GpgEncryptionPipelineElement(["second@example.org", "good@example.org"], home=keys.home)
    assert encryption.get_arguments().count("--hidden-recipient") == 2
    encrypted = transform(tmp_path, CONTENT, encryption)
    assert transform(tmp_path, encrypted, GpgDecryptionPipelineElement(keys.home)) == CONTENT


@pytest.mark.parametrize("key", ["nobody@example.org", "old@example.org", "sign@example.org"])
def test_a_key_that_cannot_encrypt_is_named(keys, tmp_path, key):
    with pytest.raises(KeyUnusableError, match=f"encryption key '{key}'"):
        transform(tmp_path, CONTENT, GpgEncryptionPipelineElement(key, home=keys.home))


def test_one_unusable_key_of_several_is_enough(keys, tmp_path):
    names = ["good@example.org", "nobody@example.org"]
    with pytest.raises(KeyUnusableError, match=r"encryption key 'nobody@example\.org'"):
        transform(tmp_path, CONTENT, GpgEncryptionPipelineElement(names, home=keys.home))


def test_an_expired_key_is_named_by_its_fingerprint_too(keys, tmp_path):
    with pytest.raises(KeyUnusableError, match=keys.expired_fingerprint):
        transform(tmp_path, CONTENT, GpgEncryptionPipelineElement(keys.expired_fingerprint, home=keys.home))


def test_arguments_without_status_lines_tell_an_unusable_key_as_well(keys, tmp_path):
    argv = ["/usr/bin/gpg", "--batch", "--homedir", keys.home, "--trust-model", "always", "--encrypt"]
    with pytest.raises(KeyUnusableError, match=r"encryption key 'nobody@example\.org'"):
        transform(tmp_path, CONTENT, GpgEncryptionPipelineElement("nobody@example.org", argv))


def test_a_missing_home_is_an_unusable_key(tmp_path):
    element = GpgEncryptionPipelineElement("key", home=str(tmp_path / "missing"))
    with pytest.raises(KeyUnusableError, match="'key'"):
        transform(tmp_path, CONTENT, element)


def test_messages_hold_none_of_the_status_lines(keys, tmp_path):
    with pytest.raises(KeyUnusableError) as caught:
        transform(tmp_path, CONTENT, GpgEncryptionPipelineElement("nobody@example.org", home=keys.home))
    assert "GNUPG" not in str(caught.value)


def test_a_missing_secret_key_is_told(keys, tmp_path):
    encryption = GpgEncryptionPipelineElement("second@example.org", home=keys.home)
    encrypted = transform(tmp_path, CONTENT, encryption)
    with pytest.raises(KeyUnusableError, match=f"no secret key in {keys.other_home}"):
        transform(tmp_path, encrypted, GpgDecryptionPipelineElement(keys.other_home))


def test_a_full_disk_is_no_damage_though_gpg_says_that_it_decrypted(keys, tmp_path):
    names = ["second@example.org", "good@example.org"]
    encrypted = transform(tmp_path, CONTENT, GpgEncryptionPipelineElement(names, home=keys.home))
    (tmp_path / "in").write_bytes(encrypted)
    with open(tmp_path / "in", "rb") as source, open("/dev/full", "wb", buffering=0) as full:
        elements = [GpgDecryptionPipelineElement(keys.home)]
        with pytest.raises(StorageFullError, match="No space left"):
            run_pipeline(instantiate_pipeline(elements, source.fileno(), full.fileno()), stall_timeout=30)


def test_changed_or_cut_data_is_damage(keys, tmp_path):
    encrypted = transform(tmp_path, CONTENT, GpgEncryptionPipelineElement("good@example.org", home=keys.home))
    middle = len(encrypted) // 2
    changed = encrypted[:middle] + bytes([encrypted[middle] ^ 1]) + encrypted[middle + 1 :]
    last = encrypted[:-1] + bytes([encrypted[-1] ^ 1])
    for damaged in (changed, last, encrypted[:middle], encrypted[:-1], b"", b"no encrypted data" * 10):
        with pytest.raises(IntegrityError):
            transform(tmp_path, damaged, GpgDecryptionPipelineElement(keys.home))


def test_a_home_is_given_only_to_who_has_none():
    own = GpgEncryptionPipelineElement("key", home="/own")
    assert own.replace_home("/other") is own
    assert "/other" in GpgEncryptionPipelineElement("key").replace_home("/other").get_arguments()
    argv = GpgEncryptionPipelineElement("key", ORIGINAL_ARGV)
    assert argv.replace_home("/other").get_arguments() == argv.get_arguments()


LOCKED = """Key-Type: RSA
Key-Length: 2048
Name-Real: locked
Passphrase: right
%commit
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A gpg home whose key has the passphrase `right`, and files: passphrases, encrypted data."""
    home = tempfile.mkdtemp(prefix="gb", dir="/tmp")
    work = tmp_path_factory.mktemp("locked")
    argv = ["gpg", "--batch", "--homedir", home, "--trust-model", "always"]
    for name in ("right", "wrong"):
        (work / name).write_text(name)
        (work / name).chmod(0o600)
    try:
        subprocess.run([*argv, "--gen-key"], input=LOCKED, text=True, check=True, capture_output=True)
        subprocess.run(
            [*argv, "--output", work / "data", "--recipient", "locked", "--encrypt", work / "right"],
            check=True,
            capture_output=True,
        )
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
        yield home, work
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    ("passphrase", "said"),
    [("wrong", "^the passphrase of the secret key is wrong"), (None, "has a passphrase, and none was given")],
)
def test_a_passphrase_that_is_wrong_is_told_from_one_that_is_missing(locked, monkeypatch, passphrase, said):
    home, work = locked
    monkeypatch.delenv("GPG_TTY", raising=False)
    element = GpgDecryptionPipelineElement(home, passphrase and str(work / passphrase))
    with open(work / "data", "rb") as data, pytest.raises(KeyUnusableError, match=said):
        run_pipeline(instantiate_pipeline([element], data.fileno(), None), stall_timeout=60)


def test_of_a_key_that_is_not_there_its_name_is_told_where_the_data_has_it(locked, keys):
    _, work = locked
    element = GpgDecryptionPipelineElement(keys.other_home)
    with (
        open(work / "data", "rb") as data,
        pytest.raises(KeyUnusableError, match=r"encrypted for [0-9A-F]{16}:"),
    ):
        run_pipeline(instantiate_pipeline([element], data.fileno(), None), stall_timeout=60)
