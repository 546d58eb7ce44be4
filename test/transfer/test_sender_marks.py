"""What is noted beside an element, and how an operator takes a claim for true."""

import pytest
from sender_bench import TIME, ids, put

from guerillabackup.errors import ElementLockedError, ElementNotFoundError, StorageError
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.sender_marks import (
    CLAIMED,
    TRANSFERRED,
    ClaimedElement,
    add_mark,
    confirm_element,
    list_claimed,
    note_transfer,
    read_marks,
    read_priority,
    withdraw_claim,
)


def test_a_mark_is_made_once_for_each_agent():
    element = put(MemoryStorage())
    assert read_marks(element, CLAIMED) == {}
    assert add_mark(element, CLAIMED, "one", 5.5)
    assert not add_mark(element, CLAIMED, "one", 6)
    assert add_mark(element, CLAIMED, "two", 7)
    assert element.get_extra_data(CLAIMED) == b'{"one": 5, "two": 7}'
    assert read_marks(element, TRANSFERRED) == {}


def test_claimed_elements_are_listed_with_who_claims_them():
    storage = MemoryStorage()
    put(storage)
    element = put(storage)
    add_mark(element, CLAIMED, "one", TIME)
    put(storage).set_extra_data(CLAIMED, b"{}")
    assert list(list_claimed(storage)) == [ClaimedElement(element.get_element_id(), {"one": TIME})]


def test_a_confirmed_claim_deletes_the_element_and_no_other():
    storage = MemoryStorage()
    element, other = put(storage), put(storage)
    for each in (element, other):
        add_mark(each, CLAIMED, "one", TIME)
    confirm_element(storage, element.get_element_id(), "one", TIME)
    assert ids(storage) == [str(other.get_element_id())]
    with pytest.raises(ElementNotFoundError):
        confirm_element(storage, element.get_element_id(), "one", TIME)


def test_a_confirmed_claim_marks_the_element_where_that_is_wanted():
    storage = MemoryStorage()
    element = put(storage)
    for agent in ("one", "two"):
        add_mark(element, CLAIMED, agent, TIME)
    confirm_element(storage, element.get_element_id(), "one", TIME + 1, mark_only=True)
    assert read_marks(element, TRANSFERRED) == {"one": TIME + 1}
    assert read_marks(element, CLAIMED) == {"two": TIME}
    confirm_element(storage, element.get_element_id(), "two", TIME + 2, mark_only=True)
    assert element.list_extra_data() == [TRANSFERRED]


def test_a_claim_that_is_withdrawn_leaves_the_element_as_if_it_had_not_been_made():
    storage = MemoryStorage()
    element = put(storage)
    for agent in ("one", "two"):
        add_mark(element, CLAIMED, agent, TIME)
    withdraw_claim(storage, element.get_element_id(), "one")
    assert read_marks(element, CLAIMED) == {"two": TIME}
    withdraw_claim(storage, element.get_element_id(), "two")
    assert element.list_extra_data() == []
    with pytest.raises(StorageError, match="not claimed by agent 'two'"):
        withdraw_claim(storage, element.get_element_id(), "two")


def test_who_has_an_element_claims_it_no_more():
    element = put(MemoryStorage())
    add_mark(element, CLAIMED, "one", TIME)
    note_transfer(element, "one", TIME)
    assert element.list_extra_data() == [TRANSFERRED]


def test_what_nobody_claims_is_not_confirmed():
    storage = MemoryStorage()
    element = put(storage)
    with pytest.raises(StorageError, match="nobody does"):
        confirm_element(storage, element.get_element_id(), "one", TIME)
    add_mark(element, CLAIMED, "two", TIME)
    with pytest.raises(StorageError, match="claimed by: two"):
        confirm_element(storage, element.get_element_id(), "one", TIME)
    element.lock()
    with pytest.raises(ElementLockedError):
        confirm_element(storage, element.get_element_id(), "two", TIME)
    assert len(ids(storage)) == 1


@pytest.mark.parametrize(
    ("value", "priority"), [(None, 0), (b"7", 7), (b" -3\n", -3), (b"+999999999", 10**9 - 1)]
)
def test_a_priority_is_a_whole_number(value, priority):
    element = put(MemoryStorage())
    element.set_extra_data("priority", value)
    assert read_priority(element) == priority


@pytest.mark.parametrize("value", [b"", b"high", b"1.5", b"1000000000", b"1 2", "٣".encode()])
def test_what_is_no_whole_number_is_no_priority(value):
    element = put(MemoryStorage())
    element.set_extra_data("priority", value)
    with pytest.raises(StorageError, match="not a whole number"):
        read_priority(element)
