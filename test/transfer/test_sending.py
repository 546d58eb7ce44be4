"""A peer's requests in any order: the policy is told once of each element, and of the truth."""

import itertools
import os
from collections.abc import Iterator

import pytest
from sender_bench import connect, connected, put, read

from guerillabackup.errors import MetainfoError, RemoteProtocolError, StorageError
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer import offered
from guerillabackup.transfer.interface import SenderTransferPolicy, TransferOutcome
from guerillabackup.transfer.messages import encode_group, parse_group
from guerillabackup.transfer.offered import SMALL_ELEMENT
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


# Groups


class Ahead(Recorder):
    """One that lets several be offered at a time."""

    looks_ahead = True
    room = 100

    def room_for_group(self):
        return self.room


def group_of(adapter, stored=(), count=10):
    """The timestamps of the next group."""
    items = adapter.next_data_elements(stored, count)
    offers = parse_group(encode_group(items), count)
    return [offer.metainfo.timestamp for offer in offers]


def read_group(adapter, numbers):
    """Their data, sent whole."""
    with adapter.get_data_elements_stream(numbers) as stream:
        data = os.pread(stream.fileno(), 1 << 20, 0)
    adapter.stream_ended(True)
    return data


def test_a_group_is_described_sent_and_settled_each_by_what_happened_to_it(storage):
    policy = Ahead()
    put(storage, data=b"33", time=3)
    context, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    assert group_of(adapter) == [0, 1, 2, 3]
    assert read_group(adapter, [0, 2, 3]) == b"0233"
    assert group_of(adapter, [True, True, False]) == []
    assert policy.told == [(0, SUCCESSFUL), (1, CLAIMED), (2, ATTEMPTED), (3, ATTEMPTED)]
    counters = context.counters
    assert (counters.elements_sent, counters.elements_claimed, counters.elements_refused) == (1, 1, 2)
    assert (policy.settled, policy.closed) == (1, 1)


@pytest.mark.parametrize("is_complete", [True, False, None])
def test_a_connection_that_ends_in_a_group_acknowledges_none_of_it(storage, is_complete):
    policy = Ahead()
    _, adapter = connect(storage, policy)
    adapter.start_transaction(None)
    assert group_of(adapter, count=2) == [0, 1]
    adapter.get_data_elements_stream([1]).close()
    if is_complete is not None:
        adapter.stream_ended(is_complete)
    adapter.look_ahead()
    adapter.end()
    assert policy.told[:2] == [(0, REJECTED), (1, ATTEMPTED)]
    assert policy.told[2:] == ([(2, REJECTED)] if is_complete else [])
    assert (policy.settled, policy.closed) == (1, 1)


def test_of_a_stream_that_was_not_sent_whole_nothing_counts_as_stored(storage):
    policy = Ahead()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        group_of(adapter)
        adapter.get_data_elements_stream([0, 1, 2]).close()
        adapter.stream_ended(False)
        group_of(adapter, [True, True, True])
    assert policy.told == [(0, CLAIMED), (1, CLAIMED), (2, CLAIMED)]


def test_more_acknowledgements_than_there_were_elements_end_the_connection_and_settle_none(storage):
    policy = Ahead()
    with connected(storage, policy) as adapter:
        with pytest.raises(
            RemoteProtocolError, match="1 elements are said to be stored or not, of a group of 0"
        ):
            group_of(adapter, [True])
        adapter.start_transaction(None)
        group_of(adapter, count=2)
        read_group(adapter, [0, 1])
        with pytest.raises(RemoteProtocolError, match="of a group of 2"):
            group_of(adapter, [True, True, True])
    assert policy.told == [(0, ATTEMPTED), (1, ATTEMPTED)]


def test_data_of_elements_that_are_not_in_the_group_is_refused(storage):
    with connected(storage, Ahead()) as adapter:
        adapter.start_transaction(None)
        group_of(adapter, count=2)
        with pytest.raises(RemoteProtocolError, match="of element 2 of a group of 2"):
            adapter.get_data_elements_stream([0, 2])
        with pytest.raises(RemoteProtocolError, match="without a current element"):
            adapter.get_data_element_stream()
        assert adapter.get_data_element_info() is None


def test_a_policy_that_does_not_look_ahead_offers_groups_of_one(storage):
    policy = Recorder()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        for number in range(3):
            assert group_of(adapter, [True] * bool(number)) == [number]
            assert policy.offered == number + 1
            read_group(adapter, [0])
            adapter.look_ahead()
        assert group_of(adapter, [True]) == []
    assert policy.told == [(0, SUCCESSFUL), (1, SUCCESSFUL), (2, SUCCESSFUL)]


def test_a_group_is_no_larger_than_there_is_room_and_what_was_put_off_makes_room_first(storage):
    policy = Ahead()
    policy.room = 2
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        assert group_of(adapter) == [0, 1]
        assert policy.settled == 1
        policy.room = -5
        assert group_of(adapter, [False, False]) == [2]


def test_large_elements_go_alone_and_small_ones_as_many_as_fit():
    storage = MemoryStorage()
    sizes = [10, SMALL_ELEMENT, SMALL_ELEMENT + 1, 5, *[SMALL_ELEMENT] * 6, 0, 0]
    for number, size in enumerate(sizes):
        put(storage, data=bytes([number]) * size, time=number)
    policy, groups, stored = Ahead(), [], []
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        while group := group_of(adapter, stored):
            assert read_group(adapter, range(len(group))) == b"".join(
                bytes([one]) * sizes[one] for one in group
            )
            adapter.look_ahead()
            groups.append(group)
            stored = [True] * len(group)
    assert groups == [[0, 1], [2], [3, 4, 5, 6], [7, 8, 9, 10, 11]]
    assert policy.told == [(number, SUCCESSFUL) for number in range(len(sizes))]


def test_what_was_looked_up_ahead_is_bounded_however_often_it_is_asked():
    storage = MemoryStorage()
    for number in range(30):
        put(storage, data=bytes(SMALL_ELEMENT), time=number)
    policy = Ahead()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        assert len(group_of(adapter)) == 4
        read_group(adapter, [0])
        for _ in range(10):
            adapter.look_ahead()
        assert policy.offered <= 10


def test_one_by_one_and_in_groups_follow_one_another(storage):
    policy = Ahead()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        assert adapter.next_data_element(False)
        read(adapter)
        adapter.look_ahead()
        assert group_of(adapter, count=1) == [1]
        read_group(adapter, [0])
        assert adapter.next_data_element(True)
        assert read(adapter) == b"2"
        assert not adapter.next_data_element(True)
    assert policy.told == [(0, ATTEMPTED), (1, ATTEMPTED), (2, SUCCESSFUL)]


def test_an_element_that_is_gone_or_cannot_be_described_is_not_in_the_group(storage, monkeypatch):
    policy = Ahead()
    encode = offered.encode_grouped

    def failing(offer):
        if offer.metainfo.timestamp == 1:
            raise MetainfoError("it is too long")
        return encode(offer)

    monkeypatch.setattr(offered, "encode_grouped", failing)
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        assert group_of(adapter) == [0, 2]
    assert policy.told == [(1, REJECTED), (0, REJECTED), (2, REJECTED)]


def test_an_error_of_one_leaves_the_others_of_the_group_settled(storage):
    class Failing(Ahead):
        def apply_policy(self, context, element, outcome):
            super().apply_policy(context, element, outcome)
            if element.get_metadata().timestamp == 0:
                raise StorageError("it is another storage")

    policy = Failing()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        group_of(adapter)
        read_group(adapter, [0, 1, 2])
        with pytest.raises(StorageError):
            group_of(adapter, [True, True, True])
    assert policy.told == [(0, SUCCESSFUL), (1, SUCCESSFUL), (2, SUCCESSFUL)]
