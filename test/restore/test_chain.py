"""What the chain of a source answers, for every shape a storage can have."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerillabackup.element import BackupType, ElementId, SourceUrl
from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.chain import find_chain, find_dependents, last_before_damage
from guerillabackup.restore.chain_check import Severity, examine_chain
from guerillabackup.restore.chain_graph import ChainLink

SOURCE = SourceUrl("/host/root")
FULL, INC = BackupType.FULL, BackupType.INC


def link(number, kind, predecessor, *, timestamp=None, arrival=None, uuid=..., serial=None, checksum=b"c"):
    """Element `number`; its DataUuid is the number in eight bytes, as is its predecessor's."""
    timestamp = 1000 + number if timestamp is None else timestamp
    return ChainLink(
        ElementId.label(SOURCE, 1000 + number, kind, serial),
        kind,
        timestamp,
        number.to_bytes(8) if uuid is ... else uuid,
        None if predecessor is None else predecessor.to_bytes(8),
        checksum,
        5000.0 + number if arrival is None else arrival,
    )


def numbers(chain):
    return [int.from_bytes(each.data_uuid) for each in chain.links]


@pytest.fixture
def regular():
    """Full 1, incrementals 2 and 3, full 4, incrementals 5 and 6."""
    kinds = {1: FULL, 4: FULL}
    return [link(n, kinds.get(n, INC), n - 1 if n > 1 else None) for n in range(1, 7)]


def test_the_head_and_what_it_needs_back_to_its_full_are_restored(regular):
    chain = find_chain(regular)
    assert numbers(chain) == [4, 5, 6]
    assert chain.warnings == ()


def test_a_time_takes_the_last_element_not_newer(regular):
    assert numbers(find_chain(regular, at=1003)) == [1, 2, 3]
    assert numbers(find_chain(regular, at=1004.5)) == [4]
    assert numbers(find_chain(regular, at=99999)) == [4, 5, 6]


def test_a_time_before_the_first_element_finds_nothing_and_names_the_oldest(regular):
    with pytest.raises(ElementNotFoundError, match="oldest"):
        find_chain(regular, at=1000)


def test_a_named_element_is_restored_whatever_came_after_it(regular):
    assert numbers(find_chain(regular, element_id=regular[1].element_id)) == [1, 2]


def test_a_named_element_that_is_not_there_is_not_found(regular):
    with pytest.raises(ElementNotFoundError):
        find_chain(regular[:3], element_id=regular[5].element_id)


def test_a_source_without_elements_is_not_found():
    with pytest.raises(ElementNotFoundError):
        find_chain([])


def test_chain_order_decides_when_the_clock_stepped_backwards():
    links = [link(1, FULL, None), link(2, INC, 1, timestamp=500), link(3, INC, 2, timestamp=700)]
    assert numbers(find_chain(links)) == [1, 2, 3]
    assert numbers(find_chain(links, at=600)) == [1, 2]


def test_a_gap_between_target_and_full_is_an_integrity_error_that_names_what_can_be_restored(regular):
    del regular[4]
    with pytest.raises(IntegrityError, match="not here") as caught:
        find_chain(regular)
    assert str(regular[3].element_id) in str(caught.value)


@pytest.mark.parametrize("named", [False, True])
def test_behind_a_gap_the_last_one_before_what_was_asked_for_is_named_and_none_that_is_later(named):
    links = [link(1, FULL, None), link(2, INC, 1), link(4, INC, 3), link(5, FULL, 4), link(6, INC, 5)]
    asked = {"element_id": links[2].element_id} if named else {"at": links[2].timestamp}
    with pytest.raises(IntegrityError, match=f"complete is {links[1].element_id}"):
        find_chain(links, **asked)
    with pytest.raises(IntegrityError, match=f"nothing before.* is {links[3].element_id}, which is later"):
        find_chain(links[2:], **asked)


def test_a_gap_before_the_full_does_not_matter_and_is_not_mentioned(regular):
    del regular[2]
    chain = find_chain(regular)
    assert numbers(chain) == [4, 5, 6]
    assert chain.warnings == ()


def test_an_incremental_without_predecessor_cannot_be_restored():
    with pytest.raises(IntegrityError, match="names no predecessor"):
        find_chain([link(1, INC, None)])


def test_a_fork_within_what_is_needed_is_not_guessed_at(regular):
    regular.append(link(7, INC, 4))
    with pytest.raises(IntegrityError, match="followed by 2 elements"):
        find_chain(regular)


def test_naming_the_element_settles_a_fork_with_a_warning(regular):
    regular.append(link(7, INC, 4))
    chain = find_chain(regular, element_id=regular[-1].element_id)
    assert numbers(chain) == [4, 7]
    assert "followed by 2 elements" in chain.warnings[0]


def test_a_fork_before_the_full_needs_no_word(regular):
    regular.append(link(7, INC, 2, arrival=5002.5, timestamp=1002))
    chain = find_chain(regular)
    assert (numbers(chain), chain.warnings) == ([4, 5, 6], ())


def test_of_separate_chains_the_one_that_is_last_by_arrival_and_timestamp_is_taken():
    links = [link(1, FULL, None), link(2, INC, 1), link(3, FULL, None), link(4, INC, 3)]
    chain = find_chain(links)
    assert (numbers(chain), chain.warnings) == ([3, 4], ())


def test_nothing_is_guessed_when_arrival_and_timestamps_of_separate_chains_disagree():
    links = [link(1, FULL, None, timestamp=9000), link(2, FULL, None, timestamp=10)]
    for genuine in ([], links[:1], links[1:]):
        known = {each.element_id for each in genuine}
        with pytest.raises(IntegrityError, match="2 separate chains") as caught:
            find_chain(links, is_genuine=known.__contains__)
        assert str(caught.value).endswith(f"name the element to restore: --element {links[0].element_id}")
    assert numbers(find_chain(links, element_id=links[0].element_id)) == [1]


def test_signed_timestamps_decide_between_separate_chains_with_one_warning():
    links = [
        link(3, FULL, None),
        link(4, INC, 3),
        link(1, FULL, None, arrival=9000),
        link(2, INC, 1, arrival=9001),
    ]
    chain = find_chain(links, is_genuine=lambda element_id: True)
    assert numbers(chain) == [3, 4]
    (warning,) = chain.warnings
    assert f"{links[3].element_id} arrived last" in warning
    assert f"{links[1].element_id} is later, as is signed" in warning
    assert numbers(find_chain(links, at=1003, is_genuine=lambda element_id: True)) == [3]
    assert find_chain(links, at=1002).warnings == ()


def test_a_lone_full_without_any_identity_is_restored():
    lone = link(1, FULL, None, uuid=None)
    assert find_chain([lone]).links == (lone,)


def test_elements_that_follow_one_another_in_a_ring_are_refused():
    with pytest.raises(IntegrityError, match="ring"):
        find_chain([link(1, INC, 3), link(2, INC, 1), link(3, INC, 2)])
    with pytest.raises(IntegrityError):
        find_chain([link(1, INC, 2), link(2, INC, 1), link(3, INC, 2)])
    with pytest.raises(IntegrityError, match="ring"):
        find_chain([link(1, INC, 1)])


@pytest.mark.parametrize("second", [link(3, INC, 3), link(3, INC, 4)])
def test_a_ring_beside_the_chain_is_refused_unless_the_element_is_named(second):
    links = [link(1, FULL, None), link(2, INC, 1), second, link(4, INC, 3)]
    with pytest.raises(IntegrityError, match="ring") as caught:
        find_chain(links)
    assert str(second.element_id) in str(caught.value)
    with pytest.raises(IntegrityError, match="ring"):
        find_chain(links, at=1002)
    assert numbers(find_chain(links, element_id=links[1].element_id)) == [1, 2]


def test_a_copy_of_an_element_under_another_serial_changes_nothing(regular):
    copies = [link(n, INC, n - 1, serial=0) for n in (5, 6)]
    assert numbers(find_chain(regular + copies)) == [4, 5, 6]


def test_two_contents_with_one_identity_are_not_guessed_at(regular):
    with pytest.raises(IntegrityError, match="several elements claim"):
        find_chain([*regular, link(5, INC, 4, serial=0, checksum=b"other")])


def test_a_head_whose_identity_another_claims_is_restored_only_by_name(regular):
    rival = link(6, INC, 5, serial=0, checksum=b"other")
    with pytest.raises(IntegrityError):
        find_chain([*regular, rival])
    chain = find_chain([*regular, rival], element_id=rival.element_id)
    assert chain.target is rival
    assert any("other content" in text for text in chain.warnings)


@pytest.mark.exhaustive
def test_a_hundred_thousand_elements_need_no_recursion():
    count = 100_000
    links = [link(1, FULL, None)] + [link(n, INC, n - 1) for n in range(2, count + 1)]
    random.Random(1).shuffle(links)
    chain = find_chain(links)
    assert len(chain.links) == count
    assert next(examine_chain(links), None) is None
    assert find_chain(links, at=1005).links == chain.links[:5]


def test_a_hundred_thousand_heads_over_one_long_tail_are_answered():
    count = 20_000
    links = [link(1, FULL, None)] + [link(n, INC, n - 1) for n in range(2, count + 1)]
    links += [link(count + n, INC, count, checksum=str(n).encode()) for n in range(1, count)]
    assert numbers(find_chain(links, at=1002)) == [1, 2]


def test_many_contents_with_one_identity_are_answered():
    links = [link(1, FULL, None, serial=n, checksum=str(n).encode()) for n in range(20_000)]
    with pytest.raises(IntegrityError, match="other content"):
        find_chain(links)
    assert sum(1 for _ in examine_chain(links)) == len(links)


def test_a_regular_chain_has_no_findings(regular):
    assert list(examine_chain(regular)) == []


def test_every_incremental_behind_a_gap_is_a_violation(regular):
    del regular[4]
    findings = list(examine_chain(regular))
    assert [(each.element_id, each.severity) for each in findings] == [
        (regular[4].element_id, Severity.VIOLATION)
    ]


def test_where_elements_leave_what_waits_behind_a_gap_is_warned_of():
    links = [link(3, INC, 2), link(4, INC, 3), link(5, FULL, 4)]
    found = list(examine_chain(links, elements_leave=True))
    assert [(each.element_id, each.severity) for each in found] == [
        (each.element_id, Severity.WARNING) for each in links[:2]
    ]
    assert "elements move on from here" in found[0].text
    nameless = [link(3, INC, None)]
    assert [each.severity for each in examine_chain(nameless, elements_leave=True)] == [Severity.VIOLATION]


def test_a_fork_is_a_warning_and_a_copy_too(regular):
    regular += [link(7, INC, 4), link(6, INC, 5, serial=1)]
    findings = list(examine_chain(regular))
    assert {each.severity for each in findings} == {Severity.WARNING}
    assert {each.element_id for each in findings} == {regular[3].element_id, regular[7].element_id}


def test_elements_in_and_behind_a_ring_are_violations():
    links = [link(1, FULL, 2), link(2, INC, 1), link(3, INC, 2)]
    findings = list(examine_chain(links))
    assert len(findings) == 3
    assert all("ring" in each.text for each in findings)


def test_deleting_an_element_names_all_that_need_it(regular):
    by_number = {int.from_bytes(each.data_uuid): each.element_id for each in regular}
    assert find_dependents(regular, [by_number[1]]) == {by_number[1]: [by_number[2], by_number[3]]}
    assert find_dependents(regular, [by_number[3], by_number[6]]) == {}
    assert find_dependents(regular, [by_number[4], by_number[5]]) == {
        by_number[4]: [by_number[6]],
        by_number[5]: [by_number[6]],
    }


def test_an_element_of_which_a_copy_stays_can_be_deleted(regular):
    copy = link(5, INC, 4, serial=0)
    assert find_dependents([*regular, copy], [copy.element_id]) == {}
    assert len(find_dependents([*regular, copy], [copy.element_id, regular[4].element_id])) >= 1


@st.composite
def stored_chains(draw):
    """A chain with fulls anywhere, any timestamps, some elements deleted; in any order of listing."""
    size = draw(st.integers(1, 20))
    kinds = [FULL] + [draw(st.sampled_from([FULL, INC, INC])) for _ in range(size - 1)]
    links = [
        link(n + 1, kind, n if n else None, timestamp=draw(st.integers(0, 50)))
        for n, kind in enumerate(kinds)
    ]
    kept = draw(st.sets(st.sampled_from(range(size)), min_size=1))
    return [links[n] for n in draw(st.permutations(sorted(kept)))], links


@given(stored_chains())
@settings(max_examples=300, deadline=None)
def test_a_chain_is_a_full_and_all_its_followers_or_an_error(stored):
    kept, _ = stored
    last = max(kept, key=lambda each: each.arrival)
    try:
        chain = find_chain(kept)
    except IntegrityError:
        assert not last.is_full or any(each.timestamp > last.timestamp for each in kept)
        return
    assert chain.target is last
    assert chain.links[0].is_full
    assert not any(each.is_full for each in chain.links[1:])
    for before, after in zip(chain.links, chain.links[1:], strict=False):
        assert after.predecessor == before.data_uuid


@given(stored_chains())
@settings(max_examples=200, deadline=None)
def test_what_has_no_violation_is_what_can_be_restored(stored):
    kept, _ = stored
    violated = {each.element_id for each in examine_chain(kept) if each.severity is Severity.VIOLATION}
    for each in kept:
        try:
            find_chain(kept, element_id=each.element_id)
        except IntegrityError:
            assert each.element_id in violated
        else:
            assert each.element_id not in violated


@given(stored_chains(), st.data())
@settings(max_examples=200, deadline=None)
def test_deleting_what_nobody_depends_on_leaves_the_rest_restorable(stored, data):
    _, links = stored
    deleted = {each.element_id for each in data.draw(st.sets(st.sampled_from(links)))}
    dependents = find_dependents(links, deleted)
    rest = [each for each in links if each.element_id not in deleted]
    broken = {each.element_id for each in examine_chain(rest) if each.severity is Severity.VIOLATION}
    assert broken == {element_id for ids in dependents.values() for element_id in ids}


@given(stored_chains(), st.integers(-1, 51))
@settings(max_examples=200, deadline=None)
def test_as_of_a_time_is_the_last_in_chain_order_of_a_whole_chain(stored, at):
    _, links = stored
    expected = [each for each in links if each.timestamp <= at]
    if expected:
        assert find_chain(links, at=at).target is expected[-1]
    else:
        with pytest.raises(ElementNotFoundError):
            find_chain(links, at=at)


@pytest.mark.parametrize(
    ("at", "damaged", "last"), [(None, 6, 5), (None, 5, 4), (None, 4, 3), (1002, 1, None)]
)
def test_what_is_left_after_damage_is_the_one_before_it_whatever_came_later(regular, at, damaged, last):
    chain = find_chain(regular, at=at)
    found = last_before_damage(regular, chain, regular[damaged - 1].element_id)
    assert found == (() if last is None else (regular[last - 1].element_id,))


def copied(links, order):
    """As a copy of the storage has it that was made in that order of numbers."""
    return [
        dataclasses.replace(each, arrival=9000.0 + order.index(int.from_bytes(each.data_uuid)))
        for each in links
    ]


def test_a_copy_with_a_gap_tells_the_last_complete_one_by_its_signed_timestamp(regular):
    links = copied([*regular[:2], *regular[3:4], *regular[5:]], [6, 4, 2, 1])
    with pytest.raises(IntegrityError) as caught:
        find_chain(links, element_id=regular[5].element_id, is_genuine=lambda element_id: True)
    assert f"the last one whose chain is complete is {regular[3].element_id}" in str(caught.value)
    with pytest.raises(IntegrityError) as caught:
        find_chain(links, element_id=regular[5].element_id)
    both = f"{regular[3].element_id} by its own timestamp and {regular[1].element_id} by arrival"
    assert f"the last ones whose chains are complete are {both}" in str(caught.value)


def test_in_a_copy_what_is_left_before_a_damaged_full_is_the_one_before_it_in_its_chain(regular):
    links = copied(regular, [6, 5, 4, 3, 2, 1])
    assert last_before_damage(links, find_chain(links), links[3].element_id) == (links[2].element_id,)
    behind_gap = [*links[:1], *links[2:]]  # 3 cannot be restored then
    chain = find_chain(behind_gap, element_id=links[5].element_id)
    assert last_before_damage(behind_gap, chain, links[3].element_id, lambda element_id: True) == (
        links[0].element_id,
    )


@pytest.mark.parametrize(("is_signed", "expected"), [(True, [4]), (False, [4, 2])])
def test_in_a_copy_what_is_left_before_a_damaged_lone_full_is_the_latest_where_it_is_signed(
    is_signed, expected
):
    links = [link(1, FULL, None), link(2, INC, 1), link(4, FULL, 3), link(7, FULL, 6), link(8, FULL, 7)]
    links = copied(links, [4, 1, 2, 7, 8])
    chain = find_chain(links, element_id=links[3].element_id)
    found = last_before_damage(links, chain, links[3].element_id, lambda element_id: is_signed)
    assert found == tuple(link(n, INC if n == 2 else FULL, None).element_id for n in expected)
