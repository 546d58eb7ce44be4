"""Later elements that are damaged or gone."""

import pytest

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import IntegrityError
from guerillabackup.restore.newest import find_later, require_last, require_newest, tell_of_lonely_lists

NOON = 1_769_947_200


def element(time, suffix="full"):
    return ElementId.parse(f"/h/20260201{time}00-s-{suffix}")


TARGET = element("1200")


def test_what_is_labelled_as_no_older_is_later():
    ids = [element("1300"), element("1159"), element("1200", "inc")]
    assert find_later(TARGET, ids, None) == [element("1200", "inc"), element("1300")]


def test_what_is_newer_than_was_asked_for_does_not_count():
    ids = [element("1230"), element("1300")]
    assert find_later(TARGET, ids, NOON + 1800) == [element("1230")]


def test_damage_to_what_is_older_is_no_error():
    require_newest(TARGET, {element("1100"): "torn"}, None)


def test_damage_to_what_is_newer_is_an_error_that_names_the_way_out():
    with pytest.raises(IntegrityError, match=f"torn.*--element {TARGET}.*--at"):
        require_newest(TARGET, {element("1300"): "torn"}, None)


def test_much_damage_is_counted():
    damaged = {element(f"13{minute}"): f"torn {minute}" for minute in range(10, 20)}
    with pytest.raises(IntegrityError, match="torn 13; and 6 more"):
        require_newest(TARGET, damaged, None)


def test_lists_of_newer_elements_are_told():
    lists = [ElementId.parse(f"/h/20260201{time}00-s.members-full") for time in ("1100", "1300")]
    (text,) = tell_of_lonely_lists(TARGET, lists, None)
    assert str(lists[1]) in text


def remembered(last, *, move_on=False):
    ids = {} if last is None else {b"uuid": last}
    return LastElements({SourceUrl("/h/s"): frozenset([b"uuid"])}, ids, move_on)


@pytest.mark.parametrize(
    ("lost", "lists"), [(element("1300"), []), (None, []), (None, [element("1300")]), (TARGET, [])]
)
def test_what_was_stored_later_and_is_gone_is_an_error_that_names_the_way_out(lost, lists):
    known = None if lists else remembered(lost)
    with pytest.raises(IntegrityError, match=f"not here.*--element {TARGET}"):
        require_last(TARGET, lists, known, gaps_are_meant=False)


def test_what_may_have_gone_on_purpose_or_was_stored_before_is_told():
    assert len(require_last(TARGET, [element("1300")], None, gaps_are_meant=True)) == 1
    assert len(require_last(TARGET, [], remembered(element("1300"), move_on=True), gaps_are_meant=True)) == 1
    assert len(require_last(TARGET, [], remembered(element("1100")), gaps_are_meant=False)) == 1
    assert require_last(TARGET, [element("1100")], None, gaps_are_meant=False) == []
