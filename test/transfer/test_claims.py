"""An element is fetched by one connection at a time."""

import pytest

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.claims import ClaimPace, ClaimTable


def test_what_is_claimed_is_not_claimed_again_before_it_is_released():
    claims = ClaimTable()
    assert claims.claim(b"a")
    assert not claims.claim(b"a")
    assert claims.claim(b"b")
    claims.release(b"a")
    assert claims.claim(b"a")


def test_that_one_of_several_is_free_is_seen():
    claims = ClaimTable()
    claims.claim(b"a")
    claims.claim(b"b")
    assert not claims.any_is_free([b"a", b"b"])
    claims.release(b"b")
    assert claims.any_is_free([b"a", b"b"])
    assert not claims.any_is_free([])


def test_what_another_one_offers_has_to_come_at_a_pace_and_nothing_else_has():
    claims = ClaimTable()
    claims.claim(b"a")
    pace = ClaimPace(claims, b"a")
    for _ in range(10):
        pace.moved(1, 100.0)
    assert not claims.is_wanted(b"a")
    claims.claim(b"a")
    with pytest.raises(
        ConnectionLostError, match="and another one offers the same element: 65536 bytes were due"
    ):
        pace.moved(1, 1.0)
    claims.release(b"a")
    assert not claims.is_wanted(b"a")


def test_data_that_comes_fast_enough_keeps_its_claim():
    claims = ClaimTable()
    claims.claim(b"a")
    claims.claim(b"a")
    pace = ClaimPace(claims, b"a")
    for _ in range(10):
        pace.moved(40_000, 25.0)
