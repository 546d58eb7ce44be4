"""Who waits for which run: many for one, one for many, and those who have gone."""

from guerillabackup.generator.schedule import Asked
from guerillabackup.generator.waiting_list import WaitingList


def test_one_client_waits_for_many_runs_and_is_done_after_the_last():
    waiting = WaitingList()
    waiting.add(1, Asked(10), "A")
    waiting.add(1, Asked(11), "B")
    assert waiting.watched_units == {"A", "B"}
    assert (waiting.unit_of(11), waiting.unit_of(12)) == ("B", None)
    assert waiting.end(10) == []
    assert waiting.end(11) == [1]
    assert waiting.watched_units == frozenset()


def test_many_clients_wait_for_one_run():
    waiting = WaitingList()
    for client in (3, 1, 2):
        waiting.add(client, Asked(10), "A")
    assert waiting.clients(10) == [1, 2, 3]
    waiting.forget(2)
    assert waiting.end(10) == [1, 3]
    assert waiting.end(10) == []


def test_what_nobody_waits_for_is_watched_by_nobody():
    waiting = WaitingList()
    waiting.add(1, Asked(10), "A")
    assert waiting.is_waiting(1)
    waiting.forget(1)
    assert not waiting.is_waiting(1)
    assert waiting.all_clients == set()
    assert waiting.watched_units == frozenset()
