"""What is found about one element."""

import hashlib
import os

import pytest
from sample_source import SampleSource

from guerillabackup.element import ElementId
from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.events import VerifyProgress
from guerillabackup.restore.verify import (
    BUFFER_SIZE,
    VerifyRules,
    digest_data,
    verify_data,
    verify_element,
    verify_metadata,
)
from guerillabackup.signature_values import SignatureResult, SignatureStatus
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.storage.registry import open_storage

STRICT = {"unsigned_is_violation": True, "unverifiable_is_violation": True}


def judged(status, **strictness):
    result = SignatureResult(status, status.value, "F" * 40)
    return VerifyRules(
        lambda metainfo, source_url: result, lambda descriptor, signature: result, **strictness
    )


@pytest.fixture
def source(tmp_path):
    return SampleSource(MemoryStorage(), tmp_path)


def signed(source, **changes):
    return source.store("full", b"content", MetaDataSignature=b"signature", **changes)


def test_an_element_that_is_what_it_claims_is_ok(source):
    result = verify_element(signed(source), judged(SignatureStatus.VALID, **STRICT))
    assert (result.is_ok, result.warnings, result.signed_by) == (True, (), "F" * 40)
    result.require_ok()


@pytest.fixture
def files(tmp_path):
    """A source in files, and the path of one of its elements' files."""
    storage = open_storage(str(tmp_path / "data"), create=True)
    source = SampleSource(storage, tmp_path)
    yield source, lambda element, suffix: tmp_path / "data" / f"{str(element.get_element_id())[1:]}.{suffix}"
    storage.close()


def test_other_data_than_the_checksum_says_is_a_violation(files):
    source, path = files
    element = source.store("full", b"content")
    path(element, "data").write_bytes(b"damaged")
    result = verify_element(element, VerifyRules())
    assert result.violations == ("its data is not what its checksum says",)
    with pytest.raises(IntegrityError, match=str(element.get_element_id())):
        result.require_ok()


def test_a_missing_checksum_is_a_warning_or_where_signatures_are_required_a_violation(source):
    element = signed(source, StorageFileChecksumSha512=None)
    assert len(verify_element(element, judged(SignatureStatus.VALID)).warnings) == 1
    assert len(verify_element(element, judged(SignatureStatus.VALID, **STRICT)).violations) == 1


def test_an_unsigned_element_is_a_warning_or_a_violation_as_asked(source):
    element = source.store("full", b"content")
    assert verify_element(element, VerifyRules()).warnings == ("it is not signed",)
    assert verify_element(element, VerifyRules(unsigned_is_violation=True)).violations == (
        "it is not signed",
    )


def test_a_signature_nobody_can_judge_is_a_warning_or_a_violation_as_asked(source):
    element = signed(source)
    assert "no keyring" in verify_element(element, VerifyRules()).warnings[0]
    assert "no keyring" in verify_element(element, VerifyRules(unverifiable_is_violation=True)).violations[0]


@pytest.mark.parametrize(
    "status", [SignatureStatus.UNKNOWN_KEY, SignatureStatus.EXPIRED, SignatureStatus.REVOKED]
)
def test_a_signature_of_an_unknown_expired_or_revoked_key_is_a_violation_only_where_required(source, status):
    element = signed(source)
    assert len(verify_element(element, judged(status)).warnings) == 1
    assert len(verify_element(element, judged(status, **STRICT)).violations) == 1


@pytest.mark.parametrize(
    "status",
    [SignatureStatus.BAD, SignatureStatus.WRONG_SOURCE, SignatureStatus.UNTRUSTED],
)
def test_a_signature_that_speaks_against_the_element_is_always_a_violation(source, status):
    result = verify_element(signed(source), judged(status))
    assert len(result.violations) == 1
    assert result.signed_by is None


def test_a_revoked_key_is_told_of_with_the_way_to_go_on_all_the_same(source):
    (text,) = verify_element(signed(source), judged(SignatureStatus.REVOKED, **STRICT)).violations
    assert "--accept-unverified" in text


def test_a_bad_signature_of_the_data_is_a_violation(source):
    element = source.store("full", b"content", StorageFileSignature=b"signature")
    assert "the signature of its data" in verify_element(element, judged(SignatureStatus.BAD)).violations[0]


def test_metadata_made_for_another_source_is_a_violation(source):
    result = verify_element(source.store("full", b"content", SourceUrl="/other"), VerifyRules())
    assert result.violations == ("its metadata was made for source /other",)


def test_an_element_that_is_gone_is_not_found(source):
    element = source.store("full", b"content")
    element.delete()
    with pytest.raises(ElementNotFoundError):
        verify_element(element, VerifyRules())


def test_progress_begins_with_nothing_and_ends_with_everything(source):
    events = []
    element = source.store("full", bytes(40 << 20), pack=False)
    verify_element(element, VerifyRules(), events.append)
    assert {type(event) for event in events} == {VerifyProgress}
    done = [event.bytes_read for event in events]
    assert done == sorted(done)
    assert (done[0], done[-1], events[-1].size) == (0, 40 << 20, 40 << 20)
    assert len(done) > 3


@pytest.mark.parametrize("size", [0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, 5 * BUFFER_SIZE + 17])
def test_the_digest_of_any_size_is_that_of_hashlib(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "data").write_bytes(data)
    with open(tmp_path / "data", "rb") as stream:
        assert digest_data(stream.fileno()) == (hashlib.sha512(data).digest(), size)


def test_metadata_that_cannot_be_read_is_a_violation(files):
    source, path = files
    element = source.store("full", b"content")
    path(element, "info").write_bytes(b"no JSON")
    fresh = source.storage.get_backup_data_element(element.get_element_id())
    assert "cannot be read" in verify_element(fresh, VerifyRules()).violations[0]


def test_metadata_is_judged_without_the_data(source):
    element = signed(source)
    events = []
    bad = SignatureResult(SignatureStatus.BAD, "bad")
    rules = VerifyRules(lambda metainfo, url: events.append("signature") or bad)
    before = verify_metadata(element, rules)
    assert (before.size, before.is_ok) == (0, False)
    result = verify_data(element, before, rules, events.append)
    assert result.violations == before.violations
    assert events[0] == "signature"
    assert events.count("signature") == 1


@pytest.mark.parametrize("kind", ["full", "inc"])
def test_an_element_whose_files_were_renamed_to_another_type_is_a_violation(source, kind):
    source.storage = open_storage(str(source.tree.parent / "data"), create=True)
    element = source.store(kind, b"content", MetaDataSignature=b"signature")
    name = str(element.get_element_id())
    other = name.removesuffix(kind) + {"full": "inc", "inc": "full"}[kind]
    for suffix in ("data", "info"):
        data = source.tree.parent / "data"
        os.rename(f"{data}{name}.{suffix}", f"{data}{other}.{suffix}")
    with source.storage:
        renamed = source.storage.get_backup_data_element(ElementId.parse(other))
        result = verify_element(renamed, judged(SignatureStatus.VALID))
    assert [f"it was made as {kind}" in text for text in result.violations] == [True]
