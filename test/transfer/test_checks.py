"""What is decided about an element from what is said of it."""

import hashlib

import pytest

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.transfer.checks import (
    Verdict,
    doubt_time,
    judge_content,
    judge_offer,
    matches,
)
from guerillabackup.transfer.interface import ElementOffer, PeerRules
from guerillabackup.transfer.receiver_settings import ReceiverSettings

VALUES = {"BackupType": "full", "Timestamp": 1000, "StorageFileChecksumSha512": hashlib.sha512(b"a").digest()}


@pytest.mark.parametrize(
    ("source", "patterns", "expected"),
    [
        ("/host/a", ("*",), True),
        ("/host/a", (), False),
        ("/host/a", ("/host/a",), True),
        ("/host/a/b", ("/host/*",), True),
        ("/host/a", ("/host",), False),
        ("/host/ab", ("/host/a",), False),
        ("/host/a", ("/HOST/a",), False),
        ("/host/a.members", ("/host/a",), True),
        ("/host/a.members", ("/host/?",), True),
        ("/host/.members", ("/host/",), False),
        ("/host/a", ("/x", "/host/[ab]"), True),
    ],
)
def test_patterns_match_whole_sources_and_their_lists_of_members(source, patterns, expected):
    assert matches(SourceUrl(source), patterns) is expected


def judge(settings=ReceiverSettings(), accepted=("*",), **values):  # noqa: B008
    metainfo = BackupElementMetainfo({**VALUES, **values})
    offer = ElementOffer(SourceUrl("/host/a"), metainfo)
    return judge_offer(offer, PeerRules("peer", accepted), settings, 2000).verdict


def test_what_a_peer_may_not_send_is_refused_even_if_it_is_not_wanted_either():
    assert judge(ReceiverSettings(sources=("/x",)), ("/x",)) is Verdict.REFUSE


def test_the_ends_of_an_age_belong_to_it():
    assert judge(ReceiverSettings(max_age=1000, min_age=1000)) is Verdict.TAKE
    assert judge(ReceiverSettings(max_age=999)) is Verdict.LEAVE
    assert judge(ReceiverSettings(min_age=1001)) is Verdict.LEAVE


def test_a_source_in_the_metadata_is_that_of_the_offer():
    assert judge(SourceUrl="/host/a") is Verdict.TAKE
    assert judge(SourceUrl="/host/b") is Verdict.QUARANTINE
    assert judge(SourceUrl=None) is Verdict.TAKE


def test_content_is_judged_by_its_checksum_where_there_is_one():
    metainfo = BackupElementMetainfo(VALUES)
    assert judge_content(metainfo, hashlib.sha512(b"a").digest(), 1).verdict is Verdict.TAKE
    assert judge_content(metainfo, hashlib.sha512(b"b").digest(), 1).verdict is Verdict.QUARANTINE
    bare = metainfo.replace(StorageFileChecksumSha512=None)
    assert judge_content(bare, hashlib.sha512(b"b").digest(), 1).verdict is Verdict.TAKE


def test_a_time_is_doubted_only_when_it_is_far_ahead():
    metainfo = BackupElementMetainfo(VALUES)
    assert doubt_time(metainfo, 0) is None
    assert doubt_time(metainfo, 1 << 40) is None
    assert doubt_time(metainfo.replace(Timestamp=200_000), 0) == "its Timestamp is 200000 s in the future"
