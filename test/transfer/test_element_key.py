"""Keys are equal for what is the same element, and for nothing else."""

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.transfer.element_key import element_key, plain_key, uuid_key

VALUES = {
    "BackupType": "full",
    "Timestamp": 7,
    "DataUuid": b"uuid",
    "StorageFileChecksumSha512": bytes(64),
}
URL = SourceUrl("/host/log")


def key(url=URL, **changes):
    return element_key(url, BackupElementMetainfo({**VALUES, **changes}))


def test_what_does_not_make_an_element_another_one_does_not_change_its_key():
    assert key() == key(HandlingPolicy=["default"], Predecessor=b"x", TransferAttributes={"a": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"BackupType": "inc"},
        {"Timestamp": 8},
        {"DataUuid": b"other"},
        {"DataUuid": None},
        {"DataUuid": b""},
        {"StorageFileChecksumSha512": bytes(63) + b"1"},
        {"StorageFileChecksumSha512": None},
        {"DataUuid": b"uuid" + bytes(64), "StorageFileChecksumSha512": None},
        {"url": SourceUrl("/host/log2")},
    ],
)
def test_what_makes_an_element_another_one_changes_its_key(changes):
    assert key(**changes) != key()


def test_a_listing_leads_to_the_same_key():
    assert plain_key("/host/log", "full", 7, b"uuid", bytes(64)) == key()


def test_a_uuid_of_any_size_has_a_short_key():
    assert len(uuid_key(bytes(100_000))) == 16
    assert uuid_key(b"a") != uuid_key(b"b")
