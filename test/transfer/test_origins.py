"""What came from whom."""

import pytest

from guerillabackup.transfer import origins
from guerillabackup.transfer.origins import Origins
from guerillabackup.transfer.plan import SOCKET_AGENT


def test_an_element_is_known_to_have_come_from_who_brought_it_and_from_nobody_else():
    known = Origins()
    assert known.is_empty
    known.note("a", b"1")
    assert not known.is_empty
    assert [known.has(*each) for each in (("a", b"1"), ("b", b"1"), ("a", b"2"))] == [True, False, False]


def test_who_comes_through_the_socket_of_all_is_nobody_in_particular():
    known = Origins()
    known.note(SOCKET_AGENT, b"1")
    assert not known.has(SOCKET_AGENT, b"1")


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(origins, "MAX_REMEMBERED", 2)
    known = Origins()
    for key in (b"1", b"2", b"1", b"3"):
        known.note("a", key)
    assert [known.has("a", key) for key in (b"1", b"2", b"3")] == [True, False, True]
