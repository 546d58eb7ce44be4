"""An element is fetched by one connection at a time, unless nothing comes there."""

import pytest

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.claims import STALLED_SECONDS, ClaimTable


class Waiting:
    """How long somebody has waited for its peer."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def test_what_is_claimed_is_not_claimed_again_before_it_is_released():
    claims = ClaimTable()
    first = claims.claim(b"a")
    assert claims.claim(b"a") is None
    assert claims.claim(b"b") is not None
    first.release()
    assert claims.claim(b"a") is not None


def test_that_one_of_several_is_free_is_seen():
    claims = ClaimTable()
    waiting = Waiting()
    claims.claim(b"a", waiting)
    second = claims.claim(b"b")
    assert not claims.any_is_free([b"a", b"b"])
    waiting.seconds = STALLED_SECONDS
    assert claims.any_is_free([b"a", b"b"])
    waiting.seconds = 0.0
    second.release()
    assert claims.any_is_free([b"a", b"b"])
    assert not claims.any_is_free([])


def test_what_another_one_offers_has_to_come_at_a_pace_and_nothing_else_has():
    claims = ClaimTable()
    claim = claims.claim(b"a")
    for _ in range(10):
        claim.moved(1, 100.0)
    assert not claim.is_wanted
    claims.claim(b"a")
    with pytest.raises(
        ConnectionLostError, match="and another one offers the same element: 65536 bytes were due"
    ):
        claim.moved(1, 1.0)
    claim.release()
    assert not claims.claim(b"a").is_wanted


def test_data_that_comes_fast_enough_keeps_its_claim():
    claims = ClaimTable()
    claim = claims.claim(b"a")
    claims.claim(b"a")
    for _ in range(10):
        claim.moved(40_000, 25.0)


@pytest.mark.parametrize("slow_is_first", [True, False])
def test_whoever_has_a_stalled_element_whole_first_stores_it_and_nobody_else_does(slow_is_first):
    claims, waiting = ClaimTable(), Waiting()
    slow = claims.claim(b"a", waiting)
    waiting.seconds = STALLED_SECONDS
    quick = claims.claim(b"a")
    assert quick is not None
    assert slow.is_wanted
    assert claims.claim(b"a") is None, "data comes at one of the two"
    first, second = (slow, quick) if slow_is_first else (quick, slow)
    assert first.begin_storing()
    assert not second.begin_storing()
    assert claims.claim(b"a") is None, "it is being stored"
    first.stored()
    first.release()
    later = claims.claim(b"a")
    assert not second.begin_storing()
    second.release()
    assert claims.claim(b"a") is None, "who let go was not the one who has it now"
    later.release()


def test_what_could_not_be_stored_is_stored_by_the_other_one():
    claims, waiting = ClaimTable(), Waiting()
    slow = claims.claim(b"a", waiting)
    waiting.seconds = STALLED_SECONDS
    quick = claims.claim(b"a")
    assert quick.begin_storing()
    quick.release()
    assert slow.begin_storing()
