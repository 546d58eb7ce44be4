"""A predecessor is offered before its successors; else what comes first by priority and arrival does."""

import random
import tracemalloc

import pytest

from guerillabackup.storage.interface import ElementFacts
from guerillabackup.transfer.sender_order import OfferOrder


def facts(
    name: str, arrival: float, own: bytes | None, before: bytes | None, source: str = "/host/etc"
) -> ElementFacts:
    return ElementFacts(name, source, "inc", 0, own, before, b"", False, arrival, 1)


def ordered(elements: list[ElementFacts], priorities: dict[str, int] | None = None) -> list[str]:
    order = OfferOrder()
    for each in elements:
        order.add(each, (priorities or {}).get(each.element_id, 0))
    assert len(order) == len(elements)
    return list(order.take())


def random_forest(chance: random.Random) -> list[ElementFacts]:
    """Chains that fork, of several sources, whose arrival tells nothing of their order."""
    elements: list[ElementFacts] = []
    for number in range(chance.randrange(60)):
        source = f"/host/{chance.randrange(3)}"
        of_source = [each for each in elements if each.source_url == source]
        before = chance.choice([None, b"gone", *(each.data_uuid for each in of_source)])
        own = chance.choice([None, f"uuid {number}".encode()])
        if of_source and chance.random() < 0.05:
            own = chance.choice(of_source).data_uuid
        arrival = float(chance.randrange(20))
        elements.append(facts(f"{number}", arrival, own, before if before != own else None, source))
    chance.shuffle(elements)
    return elements


def has_ring(elements: list[ElementFacts]) -> bool:
    """Two elements of one DataUuid, which one of them may follow the other by, make a ring at times."""
    keys = [each.data_uuid for each in elements if each.data_uuid is not None]
    return len(keys) != len(set(keys))


@pytest.mark.parametrize("seed", range(300))
def test_whatever_the_arrival_and_priority_every_predecessor_comes_first_and_nothing_is_lost(seed):
    chance = random.Random(seed)
    elements = random_forest(chance)
    priorities = {each.element_id: chance.choice([0, 0, -5, 3, 9]) for each in elements}
    found = ordered(elements, priorities)
    assert sorted(found) == sorted(each.element_id for each in elements)
    if has_ring(elements):
        return
    place = {name: number for number, name in enumerate(found)}
    by_uuid = {(each.source_url, each.data_uuid): each for each in elements if each.data_uuid is not None}
    for each in elements:
        before = by_uuid.get((each.source_url, each.predecessor))
        if each.predecessor is not None and before is not None:
            assert place[before.element_id] < place[each.element_id]


@pytest.mark.parametrize("seed", range(100))
def test_nothing_comes_first_that_could_as_well_have_waited(seed):
    """Each next one is, of all whose predecessors came already, the one that ranks first."""
    chance = random.Random(seed)
    elements = random_forest(chance)
    if has_ring(elements):
        elements = [each._replace(data_uuid=each.element_id.encode()) for each in elements]
    priorities = {each.element_id: chance.choice([0, 0, -5, 3, 9]) for each in elements}
    left = list(elements)
    for name in ordered(elements, priorities):
        there = {(each.source_url, each.data_uuid) for each in left}
        free = [
            each
            for each in left
            if each.predecessor is None or (each.source_url, each.predecessor) not in there
        ]
        best = min((-priorities[each.element_id], each.arrival) for each in free)
        (taken,) = [each for each in left if each.element_id == name]
        assert taken in free
        assert (-priorities[name], taken.arrival) == best
        left.remove(taken)


def test_without_chains_and_priorities_what_arrived_first_comes_first():
    elements = [
        facts(str(number), arrival, None, None) for number, arrival in enumerate((3.0, 1.0, 2.0, 1.0))
    ]
    assert ordered(elements) == ["1", "3", "2", "0"]


def test_a_larger_priority_comes_first_but_not_before_its_predecessor():
    chain = [facts("full", 5.0, b"1", None), facts("inc", 6.0, b"2", b"1")]
    others = [facts("other", 1.0, b"3", None, "/other"), facts("urgent", 9.0, b"4", None, "/urgent")]
    priorities = {"inc": 7, "urgent": 1}
    assert ordered([*chain, *others], priorities) == ["urgent", "other", "full", "inc"]


def test_chains_are_those_of_one_source():
    elements = [facts("a", 1.0, b"1", b"2", "/a"), facts("b", 2.0, b"2", b"1", "/b")]
    assert ordered(elements) == ["a", "b"]


def test_elements_that_follow_themselves_or_each_other_come_once_and_last():
    elements = [
        facts("itself", 1.0, b"0", b"0"),
        facts("one", 2.0, b"1", b"2"),
        facts("two", 3.0, b"2", b"1"),
        facts("after", 4.0, b"3", b"2"),
        facts("honest", 5.0, b"4", None),
    ]
    assert ordered(elements) == ["itself", "honest", "one", "two", "after"]


def test_an_order_of_nothing_is_empty():
    assert ordered([]) == []


@pytest.mark.exhaustive
def test_twenty_thousand_elements_take_a_few_hundred_bytes_each():
    count = 20_000
    order = OfferOrder()
    tracemalloc.start()
    for number in range(count):
        name = f"/host/www.example.org/var/log/{number:014d}-access.log-inc"
        before = f"{number - 1:064d}".encode()
        order.add(facts(name, float(number), f"{number:064d}".encode(), before))
    after = sum(1 for _ in order.take())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after == count
    assert peak / count < 400
