from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.interface import PeerRules, TransferContext, TransferCounters
from guerillabackup.transfer.peers import PeerBook, describe_counters


def make_context(agent_id, **counted):
    context = TransferContext(PeerRules(agent_id), MemoryStorage(), None, None)
    context.counters = TransferCounters(**counted)
    return context


def test_counts_of_running_and_ended_connections_add_up():
    now = [100.0]
    book = PeerBook(lambda: now[0])
    old, new = make_context("a", elements_sent=2), make_context("a", elements_sent=3, current="/x")
    book.began(old)
    now[0] = 110.0
    book.ended(old, None)
    book.began(new)
    (status,) = book.status()
    assert (status.counters.elements_sent, status.counters.current) == (5, "/x")
    assert (status.connections, status.connected_since, status.last_success) == (1, 110.0, 110.0)


def test_the_last_error_stays_with_its_time_when_a_connection_goes_well_later():
    now = [100.0]
    book = PeerBook(lambda: now[0])
    context = make_context("a")
    book.began(context)
    book.ended(context, ValueError("the cause"))
    now[0] = 200.0
    book.began(context)
    book.ended(context, None)
    (status,) = book.status()
    assert (status.last_error, status.last_error_time, status.last_success) == ("the cause", 100.0, 200.0)


def test_peers_are_listed_by_name():
    book = PeerBook(lambda: 0.0)
    for agent_id in ("b", "a"):
        book.waits(make_context(agent_id), 1)
    assert [(each.agent_id, each.waiting) for each in book.status()] == [("a", 1), ("b", 1)]


def test_what_was_moved_reads_as_one_line():
    counters = TransferCounters(elements_received=2, bytes_received=30, elements_refused=1)
    assert describe_counters(counters) == "2 elements received (30 bytes), 0 sent (0 bytes), 1 refused"
