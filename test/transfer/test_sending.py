"""A peer's requests in any order: the policy is told once of each element, and of the truth."""

import itertools
from collections.abc import Iterator

import pytest
from sender_bench import connect, connected, put, read

from guerillabackup.errors import RemoteProtocolError, StorageError
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.interface import SenderTransferPolicy, TransferOutcome
from guerillabackup.transfer.sender_policy import SenderMoveDataTransferPolicy

REJECTED, ATTEMPTED = TransferOutcome.REJECTED, TransferOutcome.ATTEMPTED
SUCCESSFUL, CLAIMED = TransferOutcome.SUCCESSFUL, TransferOutcome.CLAIMED


class Recorder(SenderTransferPolicy):
    """Offers everything, deletes nothing, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, TransferOutcome]] = []
        self.offered = 0
        self.settled = 0
        self.closed = 0

    def get_policy_info(self):
        return "Recorder"

    def query_backup_data_elements(self, context, query_data):
        try:
            for element in context.local_storage.query_backup_data_elements():
                self.offered += 1
                yield element
        finally:
            self.closed += 1

    def apply_policy(self, context, element, outcome):
        self.told.append((element.get_metadata().timestamp, outcome))

    def settle(self, context):
        self.settled += 1


@pytest.fixture
def storage() -> Iterator[MemoryStorage]:
    storage = MemoryStorage()
    for number in range(3):
        put(storage, data=str(number).encode(), time=number)
    return storage


def test_each_outcome_is_what_happened(storage):
    put(storage, data=b"3", time=3)
    policy = Recorder()
    context, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    assert adapter.next_data_element(False)
    read(adapter)
    assert adapter.next_data_element(True)
    adapter.get_data_element_info()
    assert adapter.next_data_element(True)
    read(adapter)
    assert adapter.next_data_element(False)
    assert not adapter.next_data_element(False)
    assert policy.told == [(0, SUCCESSFUL), (1, CLAIMED), (2, ATTEMPTED), (3, REJECTED)]
    counters = context.counters
    assert (counters.elements_sent, counters.elements_claimed, counters.elements_refused) == (1, 1, 2)
    assert (policy.settled, policy.closed) == (1, 1)


@pytest.mark.parametrize("data", [b"", b"x"])
@pytest.mark.parametrize("asked", ["nothing", "metadata", "data", "both"])
def test_who_says_that_it_stored_an_element_must_have_asked_what_it_is_and_for_its_data(data, asked):
    storage = MemoryStorage()
    put(storage, data=data)
    policy = Recorder()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(False)
        if asked in ("metadata", "both"):
            adapter.element_described()
        if asked in ("data", "both"):
            adapter.get_data_element_stream().close()
            adapter.stream_ended(True)
        adapter.next_data_element(True)
    assert policy.told == [(1_700_000_000, SUCCESSFUL if asked == "both" else CLAIMED)]


@pytest.mark.parametrize("is_complete", [True, False, None])
def test_a_connection_that_ends_settles_the_open_element_without_an_acknowledgement(storage, is_complete):
    policy = Recorder()
    context, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    adapter.get_data_element_stream().close()
    assert context.counters.current.endswith("-etc-full")
    if is_complete is not None:
        adapter.stream_ended(is_complete)
        assert context.counters.current == ""
    adapter.end()
    assert policy.told == [(0, ATTEMPTED)]
    assert (policy.settled, policy.closed) == (1, 1)
    assert context.counters.elements_refused == 0


def test_the_current_element_is_described_and_read_as_often_as_asked(storage):
    with connected(storage, Recorder()) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(False)
        assert adapter.get_data_element_info() == adapter.get_data_element_info()
        assert read(adapter) == read(adapter) == b"0"


def test_what_a_peer_asks_out_of_order_is_answered_as_the_original_does_or_refused(storage):
    with connected(storage, Recorder()) as adapter:
        assert not adapter.next_data_element(True)
        assert adapter.get_data_element_info() is None
        with pytest.raises(RemoteProtocolError, match="without a current element"):
            adapter.get_data_element_stream()
        adapter.start_transaction(None)
        assert adapter.get_data_element_info() is None
        while adapter.next_data_element(False):
            pass
        with pytest.raises(RemoteProtocolError):
            adapter.get_data_element_stream()
        assert not adapter.next_data_element(True)


def test_an_agent_that_sends_nothing_says_so_and_refuses_a_transaction(storage):
    with connected(storage, None) as adapter:
        assert adapter.get_policy_info() is None
        assert not adapter.next_data_element(False)
        assert adapter.get_data_element_info() is None
        with pytest.raises(RemoteProtocolError, match="sends nothing"):
            adapter.start_transaction(None)
        with pytest.raises(RemoteProtocolError):
            adapter.get_data_element_stream()


def test_an_element_that_goes_as_it_is_its_turn_is_skipped(storage, caplog):
    class Late(Recorder):
        def query_backup_data_elements(self, context, query_data):
            for element in super().query_backup_data_elements(context, query_data):
                if element.get_metadata().timestamp == 1:
                    element.delete()
                yield element

    policy = Late()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(False)
        read(adapter)
        adapter.next_data_element(True)
        assert adapter.get_data_element_info().metainfo.timestamp == 2
    assert policy.told == [(0, SUCCESSFUL), (1, REJECTED), (2, REJECTED)]


def test_while_an_element_is_offered_nobody_else_deletes_it(storage):
    with connected(storage, Recorder()) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(False)
        (element, *_) = storage.query_backup_data_elements()
        with pytest.raises(StorageError):
            element.delete()
        adapter.next_data_element(False)
        element.delete()


STEPS = ("start", "next", "next stored", "info", "stream", "cut stream", "end")


def play(storage: MemoryStorage, policy: SenderTransferPolicy, steps: tuple[str, ...]) -> None:
    """The steps of a peer that knows no order, and the end of its connection."""
    _, adapter = connect(storage, policy)
    actions = {
        "start": lambda: adapter.start_transaction(None),
        "next": lambda: adapter.next_data_element(False),
        "next stored": lambda: adapter.next_data_element(True),
        "info": lambda: (adapter.get_data_element_info(), adapter.element_described()),
    }
    for step in steps:
        try:
            if step in actions:
                actions[step]()
            elif step == "end":
                break
            else:
                adapter.get_data_element_stream().close()
                adapter.stream_ended(step == "stream")
        except RemoteProtocolError:
            break
    adapter.end()


@pytest.mark.parametrize("first", STEPS)
@pytest.mark.parametrize("second", STEPS)
def test_in_any_order_the_policy_is_told_once_of_each_element_it_offered(storage, first, second):
    for rest in itertools.product(STEPS, repeat=3):
        policy = Recorder()
        play(storage, policy, ("start", first, second, *rest))
        assert len(policy.told) == policy.offered


def left_of_three(steps: tuple[str, ...]) -> int:
    """How many of three elements stay: all but those acknowledged after they were told of and sent whole."""
    there, coming, is_current, is_sent, is_described = 3, 0, False, False, False
    for step in steps:
        if step == "start":
            coming, is_current = there, False
        elif step in ("next", "next stored"):
            there -= is_current and is_sent and is_described and step == "next stored"
            is_current, coming = coming > 0, coming - 1
        elif step == "end" or (step != "info" and not is_current):
            break
        is_sent = step == "stream" or (is_sent and step in ("info", "cut stream"))
        is_described = step == "info" or (is_described and step in ("stream", "cut stream"))
    return there


@pytest.mark.parametrize("first", STEPS)
def test_in_any_order_nothing_is_deleted_that_was_not_sent_whole_and_acknowledged(first):
    for rest in itertools.product(STEPS, repeat=3):
        storage = MemoryStorage()
        for number in range(3):
            put(storage, data=str(number).encode(), time=number)
        steps = ("start", "next", first, *rest)
        play(storage, SenderMoveDataTransferPolicy(), steps)
        left = sum(1 for _ in storage.query_backup_data_elements())
        assert left == left_of_three(steps)
        for element in storage.query_backup_data_elements():
            assert not element.is_locked()


class Broken(Recorder):
    """A policy with a defect."""

    def apply_policy(self, context, element, outcome):
        super().apply_policy(context, element, outcome)
        raise ValueError("a defect")


def test_a_policy_that_raises_is_not_asked_again_of_that_element_and_the_end_never_raises(storage, caplog):
    policy = Broken()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    with pytest.raises(ValueError, match="a defect"):
        adapter.next_data_element(False)
    adapter.end()
    assert policy.told == [(0, REJECTED)]
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    adapter.end()
    assert policy.settled == 2
    assert "a defect" in caplog.text


def test_before_a_long_stream_what_was_put_off_is_done(storage):
    put(storage, data=bytes(8 << 20), time=3)
    put(storage, data=b"4", time=4)
    policy = SenderMoveDataTransferPolicy(max_group_seconds=1e9)
    with connected(storage, policy, is_ours=True) as adapter:
        adapter.start_transaction(None)
        for _ in range(3):
            adapter.next_data_element(True)
            read(adapter)
        adapter.next_data_element(True)
        assert sum(1 for _ in storage.query_backup_data_elements()) == 5
        read(adapter)
        assert sum(1 for _ in storage.query_backup_data_elements()) == 2


class LookingAhead(Recorder):
    looks_ahead = True


def test_what_comes_next_is_taken_while_the_peer_stores_what_it_was_sent(storage):
    policy = LookingAhead()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    assert adapter.next_data_element(False)
    adapter.look_ahead()
    assert policy.offered == 1  # it may go on without asking for the data
    read(adapter)
    for _ in range(3):
        adapter.look_ahead()
    assert (policy.offered, policy.told) == (2, [])
    assert adapter.get_data_element_info().metainfo.timestamp == 0
    assert adapter.next_data_element(True)
    assert (policy.offered, policy.told) == (2, [(0, SUCCESSFUL)])
    assert adapter.get_data_element_info().metainfo.timestamp == 1
    adapter.end()
    assert policy.told == [(0, SUCCESSFUL), (1, REJECTED)]


def test_what_was_taken_ahead_and_not_asked_for_is_settled_as_rejected(storage):
    policy = LookingAhead()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    read(adapter)
    adapter.look_ahead()
    adapter.end()
    assert policy.told == [(0, ATTEMPTED), (1, REJECTED)]
    assert policy.closed == policy.settled == 1


def test_no_policy_is_asked_ahead_that_does_not_say_it_may(storage):
    policy = Recorder()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    read(adapter)
    adapter.look_ahead()
    assert policy.offered == 1


def test_the_end_is_the_end_when_it_was_seen_ahead(storage):
    policy = LookingAhead()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    was_stored, count = False, 0
    while adapter.next_data_element(was_stored):
        read(adapter)
        adapter.look_ahead()
        was_stored, count = True, count + 1
    assert count == 3
    assert policy.told == [(number, SUCCESSFUL) for number in range(3)]
    assert policy.closed == policy.settled == 1
    adapter.end()
    assert len(policy.told) == 3


class FailingAhead(LookingAhead):
    """Its listing fails after the first element."""

    def query_backup_data_elements(self, context, query_data):
        yield from itertools.islice(super().query_backup_data_elements(context, query_data), 1)
        raise StorageError("the disk is gone")


def test_what_fails_ahead_is_told_after_the_acknowledgement(storage):
    policy = FailingAhead()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    adapter.next_data_element(False)
    read(adapter)
    adapter.look_ahead()
    adapter.look_ahead()
    with pytest.raises(StorageError, match="the disk is gone"):
        adapter.next_data_element(True)
    assert policy.told == [(0, SUCCESSFUL)]
    adapter.end()
