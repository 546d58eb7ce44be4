"""An element is fetched by one connection at a time."""

from guerillabackup.transfer.claims import ClaimTable


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
