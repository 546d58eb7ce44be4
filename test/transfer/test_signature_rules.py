"""Real signatures on received elements: whose count, and when gpg is asked at all."""

import hashlib

import pytest
from memory_peer import chain, connect, offered

from guerillabackup.element import SourceUrl
from guerillabackup.restore.rules import knows_signers, make_rules
from guerillabackup.restore.verify import verify_element
from guerillabackup.signature import KeyPurpose, Keyring, sign_metainfo
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.checks import NO_SIGNATURES
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy
from guerillabackup.transfer.signature_rules import make_signature_rules


@pytest.fixture(scope="module")
def keyring(tmp_path_factory):
    """A keyring with two keys that sign, and one that encrypts."""
    path = tmp_path_factory.mktemp("keys")
    path.chmod(0o700)
    with Keyring(str(path)) as opened:
        opened.create_key("alpha", KeyPurpose.SIGN)
        opened.create_key("beta", KeyPurpose.SIGN)
        opened.create_key("vault", KeyPurpose.ENCRYPT)
        yield opened


def fingerprint(keyring, name):
    return next(key.fingerprint for key in keyring.list_keys() if name in key.names)


def signed(keyring, element, key="alpha", source=None):
    element.metainfo = sign_metainfo(keyring, key, element.metainfo, SourceUrl(source or element.source))
    return element


def taken(rules, elements):
    """Which of the elements are acknowledged."""
    ReceiverStoreDataTransferPolicy(signatures=rules).apply_policy(connect(MemoryStorage(), elements))
    return [one.acknowledged for one in elements]


def altered(element):
    element.metainfo = element.metainfo.replace(HandlingPolicy=["altered"])
    return element


def test_what_is_signed_for_its_source_by_any_key_there_is_taken(keyring):
    elements = [
        signed(keyring, offered(source="/a")),
        signed(keyring, offered(source="/b"), "beta"),
        signed(keyring, offered(source="/c"), source="/other"),
        altered(signed(keyring, offered(source="/d"))),
        offered(source="/e"),
    ]
    assert taken(make_signature_rules(keyring, None), elements) == [1, 1, 0, 0, 0]
    left = elements[2:]
    assert taken(make_signature_rules(keyring, None, requires_signatures=False), left) == [0, 0, 1]


def test_signatures_may_be_required_of_all(keyring):
    elements = [signed(keyring, offered(source="/a")), offered(source="/b")]
    assert taken(make_signature_rules(keyring, None, requires_signatures=True), elements) == [1, 0]


def test_a_named_source_needs_a_signature_of_its_own_key_and_others_are_not_taken(keyring):
    trusted = {"/a/.*": [fingerprint(keyring, "alpha")]}
    elements = [
        signed(keyring, offered(source="/a/x")),
        signed(keyring, offered(source="/a/x.members")),
        signed(keyring, offered(source="/a/y"), "beta"),
        offered(source="/a/z"),
        offered(source="/b"),
        altered(signed(keyring, offered(source="/c"))),
    ]
    assert taken(make_signature_rules(keyring, trusted), elements) == [1, 1, 0, 0, 0, 0]
    rules = make_signature_rules(keyring, trusted, requires_signatures=False)
    assert taken(rules, elements[2:]) == [0, 1, 1, 0]


def test_the_signature_of_the_data_counts_too(keyring):
    good, bad = offered(b"data", "/a"), offered(b"data", "/b")
    good.metainfo = good.metainfo.replace(StorageFileSignature=keyring.sign("alpha", b"data"))
    bad.metainfo = bad.metainfo.replace(StorageFileSignature=keyring.sign("alpha", b"other"))
    assert bad.metainfo.checksum == hashlib.sha512(b"data").digest()
    rules = make_signature_rules(keyring, None, requires_signatures=False)
    assert taken(rules, [good, bad]) == [1, 0]


def test_without_a_key_that_signs_nothing_is_asked(tmp_path):
    tmp_path.chmod(0o700)
    assert make_signature_rules(None, None) is NO_SIGNATURES
    with Keyring(str(tmp_path)) as keyring:
        assert make_signature_rules(keyring, None) is NO_SIGNATURES
        keyring.create_key("vault", KeyPurpose.ENCRYPT)
        assert make_signature_rules(keyring, None) is NO_SIGNATURES
        assert make_signature_rules(keyring, {}) is NO_SIGNATURES


def test_elements_of_a_chain_are_each_verified(keyring):
    elements = [signed(keyring, one) for one in chain(3)]
    altered(elements[1])
    assert taken(make_signature_rules(keyring, None), elements) == [1, 0, 1]


def test_without_a_key_to_check_by_nothing_is_taken_where_signatures_are_asked_for(keyring):
    for rules in (
        make_signature_rules(None, None, requires_signatures=True),
        make_signature_rules(None, None, signs_here=True),
    ):
        assert taken(rules, [signed(keyring, offered(source="/a")), offered(source="/b")]) == [0, 0]
    assert make_signature_rules(None, None, requires_signatures=False, signs_here=True) is NO_SIGNATURES


@pytest.mark.parametrize("required", [None, True, False])
@pytest.mark.parametrize("has_trusted", [True, False])
def test_what_a_verification_here_calls_a_violation_is_not_taken(keyring, tmp_path, required, has_trusted):
    trusted = {"/a/.*": [fingerprint(keyring, "alpha")]} if has_trusted else None
    elements = [
        signed(keyring, offered(source="/a/x")),
        signed(keyring, offered(source="/a/y"), "beta"),
        signed(keyring, offered(source="/b")),
        offered(source="/a/z"),
        offered(source="/c"),
        altered(signed(keyring, offered(source="/d"))),
    ]
    is_required = knows_signers([keyring]) if required is None else required
    verify = make_rules([keyring], trusted, is_required=is_required, accept_unverified=False)
    (tmp_path / "data").mkdir()
    violated = []
    with DefaultFileStorage(str(tmp_path / "data")) as storage:
        for element in elements:
            with storage.get_sink_handle(SourceUrl(element.source)) as handle:
                handle.write(element.data)
                stored = handle.close(element.metainfo)
            violated.append(bool(verify_element(stored, verify, lambda event: None).violations))
    acknowledged = taken(make_signature_rules(keyring, trusted, requires_signatures=required), elements)
    assert acknowledged == [int(not is_violation) for is_violation in violated]
