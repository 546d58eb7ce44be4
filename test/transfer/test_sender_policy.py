"""What a peer is offered, and what becomes of it."""

import base64
import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sender_bench import TIME, connect, connected, ids, pull, put, read

from guerillabackup import osfile
from guerillabackup.errors import RemoteProtocolError, StorageError, StorageReplacedError
from guerillabackup.events import ElementClaimed, ElementNotOffered
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.sender_marks import (
    CLAIMED,
    PRIORITY,
    SENT,
    TRANSFERRED,
    confirm_element,
    list_claimed,
    read_marks,
)
from guerillabackup.transfer.sender_policy import SenderMoveDataTransferPolicy as MovePolicy
from guerillabackup.transfer.sender_settings import SenderOrder, SenderSettings


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageInterface]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    with DefaultFileStorage(str(tmp_path)) as files:
        yield files


def marking(**settings: object) -> MovePolicy:
    return MovePolicy(SenderSettings(mark_as_done_only=True, **settings))


def test_what_a_peer_has_stored_is_deleted_and_the_rest_stays(storage):
    put(storage, "/a/x", b"1")
    put(storage, "/a/x", b"2")
    kept = put(storage, "/b/x", b"3")
    with connected(storage, MovePolicy()) as adapter:
        adapter.start_transaction(None)
        assert adapter.next_data_element(False)
        assert read(adapter) == b"1"
        assert adapter.next_data_element(True)
        assert read(adapter) == b"2"
        assert adapter.next_data_element(True)
        assert adapter.get_data_element_info().source_url == kept.get_source_url()
        assert not adapter.next_data_element(False)
        assert ids(storage) == [str(kept.get_element_id())]
        assert not adapter.next_data_element(True)
    assert ids(storage) == [str(kept.get_element_id())]
    assert list(storage.find_leftovers()) == []


def test_the_name_of_the_policy_is_the_one_that_receivers_accept():
    assert MovePolicy().get_policy_info() == "SenderMoveDataTransferPolicy"


def test_marked_elements_are_kept_and_offered_no_more(storage):
    put(storage)
    policy = marking()
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/host/etc data"]
        assert list(pull(adapter)) == []
    (element,) = storage.query_backup_data_elements()
    assert list(read_marks(element, TRANSFERRED)) == ["peer"]
    for other in (policy, marking(), MovePolicy()):
        with connected(storage, other, "other") as adapter:
            assert list(pull(adapter)) == []


def test_a_mark_may_count_for_its_agent_alone(storage):
    put(storage)
    for agent in ("one", "two", "one", "two"):
        with connected(storage, marking(mark_counts_for_all=False), agent) as adapter:
            list(pull(adapter))
    (element,) = storage.query_backup_data_elements()
    assert list(read_marks(element, TRANSFERRED)) == ["one", "two"]


def test_an_element_marked_while_another_peer_goes_through_its_list_is_not_sent_twice(storage):
    put(storage, data=b"1")
    put(storage, data=b"2")
    policy = marking()
    with connected(storage, policy, "one") as one, connected(storage, policy, "two") as two:
        two.start_transaction(None)
        assert two.next_data_element(False)
        assert list(pull(one)) == ["/host/etc 2"]
        assert not two.next_data_element(False)


def test_a_claim_without_evidence_keeps_the_element_is_told_once_and_offered_again(storage, caplog):
    element = put(storage)
    events = []
    policy = MovePolicy(report=events.append, now=lambda: TIME)
    for _ in range(2):
        with connected(storage, policy) as adapter:
            adapter.start_transaction(None)
            assert adapter.next_data_element(False)
            assert not adapter.next_data_element(True)
    assert read_marks(element, CLAIMED) == {"peer": TIME}
    assert events == [ElementClaimed("peer", element.get_element_id())]
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/host/etc data"]
    assert ids(storage) == []


def test_a_claim_after_part_of_the_data_is_no_evidence(storage):
    put(storage)
    with connected(storage, MovePolicy()) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(False)
        adapter.get_data_element_stream().close()
        adapter.stream_ended(False)
        adapter.next_data_element(True)
    assert len(ids(storage)) == 1


def test_where_a_bare_true_is_not_accepted_nothing_goes_and_nothing_is_sent_again(storage, caplog):
    put(storage)
    events = []
    policy = MovePolicy(report=events.append)
    for sent in (["/host/etc data"], []):
        with connected(storage, policy, accepts_bare_acknowledgement=False) as adapter:
            assert list(pull(adapter)) == sent
    assert len(ids(storage)) == 1
    assert [type(event) for event in events] == [ElementClaimed]
    (line,) = [record.getMessage() for record in caplog.records if "in full" in record.getMessage()]
    assert "was sent to peer in full; it stays until you confirm it" in line
    (claimed,) = list_claimed(storage)
    assert (list(claimed.claims), claimed.sent) == (["peer"], {"peer"})
    with connected(storage, policy, "other") as adapter:
        assert list(pull(adapter)) == ["/host/etc data"]


def test_what_was_sent_in_full_and_is_confirmed_waits_no_more(storage):
    put(storage)
    with connected(storage, MovePolicy(), accepts_bare_acknowledgement=False) as adapter:
        list(pull(adapter))
    (claimed,) = list_claimed(storage)
    confirm_element(storage, claimed.element_id, "peer", 7.0, mark_only=True)
    assert list(list_claimed(storage)) == []
    (element,) = storage.query_backup_data_elements()
    assert element.get_extra_data(SENT) is None


def test_an_element_is_offered_to_one_peer_at_a_time(storage):
    for number in range(3):
        put(storage, data=str(number).encode())
    policy = MovePolicy()
    with connected(storage, policy, "one") as one, connected(storage, policy, "two") as two:
        one.start_transaction(None)
        two.start_transaction(None)
        assert one.next_data_element(False)
        assert two.next_data_element(False)
        assert (read(one), read(two)) == (b"0", b"1")
        assert one.next_data_element(True)
        assert read(one) == b"2"
        assert not two.next_data_element(True)
        assert not one.next_data_element(True)
    assert ids(storage) == []


def test_what_another_connection_let_go_of_is_offered_in_the_next_transaction(storage):
    put(storage)
    policy = MovePolicy()
    with connected(storage, policy, "two") as two:
        with connected(storage, policy, "one") as one:
            one.start_transaction(None)
            assert one.next_data_element(False)
            assert list(pull(two)) == []
        assert list(pull(two)) == ["/host/etc data"]


def test_many_connections_at_once_send_each_element_once(storage):
    expected = {f"/host/{number % 7} {number}" for number in range(140)}
    for each in expected:
        source, data = each.split(" ")
        put(storage, source, data.encode())
    policy = MovePolicy(max_group=5)
    sent: list[str] = []

    def run(agent: str) -> None:
        with connected(storage, policy, agent) as adapter:
            sent.extend(pull(adapter))

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == sorted(expected)
    assert ids(storage) == []


def test_what_comes_while_a_transaction_runs_is_in_the_next(storage):
    put(storage, data=b"1")
    with connected(storage, MovePolicy()) as adapter:
        going = pull(adapter)
        next(going)
        put(storage, data=b"2")
        assert list(going) == []
        assert list(pull(adapter)) == ["/host/etc 2"]


def test_what_vanishes_meanwhile_is_skipped(storage):
    elements = [put(storage, data=str(number).encode()) for number in range(4)]
    with connected(storage, MovePolicy()) as adapter:
        going = pull(adapter)
        assert next(going) == "/host/etc 0"
        elements[1].delete()
        elements[2].delete()
        assert list(going) == ["/host/etc 3"]


def test_a_locked_element_is_skipped_told_once_and_blocks_no_other(storage, caplog):
    locked = put(storage, data=b"1")
    put(storage, data=b"2")
    holder = storage.get_backup_data_element(locked.get_element_id())
    holder.lock()
    events = []
    policy = MovePolicy(report=events.append)
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/host/etc 2"]
        assert list(pull(adapter)) == []
    assert events == [ElementNotOffered("peer", locked.get_element_id(), "it is locked")]
    holder.unlock()
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/host/etc 1"]


def test_whoever_reads_an_element_that_goes_reads_it_to_its_end(storage):
    element = put(storage)
    with connected(storage, MovePolicy()) as adapter:
        going = pull(adapter)
        next(going)
        with element.get_data_stream() as stream:
            assert list(going) == []
            assert ids(storage) == []
            assert stream.read() == b"data"


def test_an_element_whose_deletion_is_put_off_is_locked_until_it_is_gone(storage):
    element = put(storage)
    put(storage, data=b"more")
    with connected(storage, MovePolicy(), is_ours=True) as adapter:
        going = pull(adapter)
        next(going)
        assert element.is_locked(), "it is offered"
        next(going)
        assert element.is_locked(), "it was acknowledged"
        assert len(ids(storage)) == 2
        assert list(going) == []
    assert ids(storage) == []


def test_unreadable_metadata_is_told_once_and_blocks_no_other(tmp_path):
    with DefaultFileStorage(str(tmp_path)) as storage:
        bad = put(storage, data=b"1").get_element_id()
        put(storage, data=b"2")
        (tmp_path / f"{str(bad)[1:]}.info").write_bytes(b"{")
        events = []
        with connected(storage, MovePolicy(report=events.append)) as adapter:
            assert list(pull(adapter)) == ["/host/etc 2"]
            assert list(pull(adapter)) == []
        (event,) = events
        assert (event.agent_id, event.element_id) == ("peer", bad)


def test_an_empty_element_goes_to_ours_and_stays_for_others_told_once(storage):
    empty = put(storage, data=b"")
    put(storage, data=b"x")
    events = []
    policy = MovePolicy(report=events.append)
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/host/etc x"]
        assert list(pull(adapter)) == []
    assert [event.element_id for event in events] == [empty.get_element_id()]
    with connected(storage, policy, is_ours=True) as adapter:
        assert list(pull(adapter)) == ["/host/etc "]
    assert ids(storage) == []


def test_what_a_peer_refuses_comes_once_in_a_transaction_and_blocks_nothing(storage):
    for number in range(3):
        put(storage, data=str(number).encode())
    with connected(storage, MovePolicy()) as adapter:
        for _ in range(2):
            sent = list(pull(adapter, is_stored=False))
            assert sent == ["/host/etc 0", "/host/etc 1", "/host/etc 2"]
    assert len(ids(storage)) == 3


def test_predecessors_come_first_whenever_they_arrived(storage):
    put(storage, data=b"3", own=b"3", before=b"2", time=TIME)
    put(storage, "/other", data=b"o", own=b"o", time=TIME)
    put(storage, data=b"2", own=b"2", before=b"1", time=TIME + 1)
    put(storage, data=b"1", own=b"1", time=TIME + 2)
    with connected(storage, MovePolicy()) as adapter:
        assert list(pull(adapter)) == ["/other o", "/host/etc 1", "/host/etc 2", "/host/etc 3"]


def test_a_priority_comes_first_and_one_that_is_none_is_told_and_counts_as_nothing(storage, caplog):
    elements = [put(storage, data=str(number).encode(), time=TIME + number) for number in range(4)]
    for element, value in zip(elements, (b"-1", b" high ", b"+7\n", None), strict=True):
        element.set_extra_data(PRIORITY, value)
    with connected(storage, MovePolicy(SenderSettings(order=SenderOrder.PRIORITY))) as adapter:
        sent = list(pull(adapter, is_stored=False))
        list(pull(adapter, is_stored=False))
    assert [each[-1] for each in sent] == ["2", "1", "3", "0"]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(elements[1].get_element_id()) in warning
    assert "b' high '" in warning


def test_only_what_is_selected_is_offered(storage):
    put(storage, "/a/x", b"1", time=TIME, handling=("offsite",))
    put(storage, "/a/y", b"2", time=TIME + 10, handling=("offsite",))
    put(storage, "/b/x", b"3", time=TIME + 20)
    policy = MovePolicy(SenderSettings(handling_has=frozenset({"offsite"})))
    with connected(storage, policy) as adapter:
        assert list(pull(adapter, is_stored=False)) == ["/a/x 1", "/a/y 2"]
        assert list(pull(adapter, ["SourceUrl", ["/a/y"], None], is_stored=False)) == ["/a/y 2"]
        assert list(pull(adapter, ["SourceUrl", ["*"], TIME + 1], is_stored=False)) == ["/a/y 2"]
    with connected(storage, policy, offered_sources=("/b/*",)) as adapter:
        assert list(pull(adapter)) == []
    with connected(storage, MovePolicy(), offered_sources=("/b/*", "/a/x")) as adapter:
        assert list(pull(adapter)) == ["/a/x 1", "/b/x 3"]


def test_a_query_that_is_none_ends_with_the_peers_fault_and_leaves_all_as_it_is(storage):
    put(storage)
    with connected(storage, MovePolicy()) as adapter, pytest.raises(RemoteProtocolError):
        adapter.start_transaction(["Colour"])
    assert len(ids(storage)) == 1


def test_deletions_are_put_off_up_to_a_count(storage):
    for number in range(7):
        put(storage, data=str(number).encode())
    with connected(storage, MovePolicy(max_group=3, max_group_seconds=1e9), is_ours=True) as adapter:
        left = [len(ids(storage)) for _ in pull(adapter)]
        assert left == [7, 7, 7, 4, 4, 4, 1]
    assert ids(storage) == []


def test_deletions_are_put_off_up_to_a_time(storage):
    for number in range(3):
        put(storage, data=str(number).encode())
    with connected(storage, MovePolicy(max_group_seconds=0), is_ours=True) as adapter:
        assert [len(ids(storage)) for _ in pull(adapter)] == [3, 2, 1]


def test_nothing_is_put_off_for_an_original(storage):
    for number in range(3):
        put(storage, data=str(number).encode())
    with connected(storage, MovePolicy(max_group_seconds=1e9)) as adapter:
        assert [len(ids(storage)) for _ in pull(adapter)] == [3, 2, 1]


def test_what_is_put_off_is_not_offered_to_others_meanwhile(storage):
    put(storage, data=b"1")
    put(storage, data=b"2")
    policy = MovePolicy(max_group_seconds=1e9)
    with connected(storage, policy, "one", is_ours=True) as one, connected(storage, policy, "two") as two:
        going = pull(one)
        next(going)
        next(going)
        assert len(ids(storage)) == 2
        assert list(pull(two)) == []
        assert list(going) == []
    assert ids(storage) == []


class Failing(MemoryStorage):
    """A storage whose disk does not let anything go."""

    def delete_elements(self, elements):
        return [StorageError("input/output error") for _ in elements]


def test_a_deletion_that_fails_is_told_and_the_element_offered_again(caplog):
    storage = Failing()
    element = put(storage)
    with connected(storage, MovePolicy()) as adapter:
        assert len(list(pull(adapter))) == 1
        assert len(list(pull(adapter))) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len([one for one in messages if str(element.get_element_id()) in one]) == 2


def test_marks_that_are_not_ours_do_not_keep_an_element_from_being_sent(storage):
    for number, value in enumerate((b"{", b"[]", b'{"peer": "x"}', b"[" * 100_000)):
        element = put(storage, data=str(number).encode())
        element.set_extra_data(TRANSFERRED, value)
    with connected(storage, marking()) as adapter:
        assert len(list(pull(adapter))) == 4
    for element in storage.query_backup_data_elements():
        assert list(json.loads(element.get_extra_data(TRANSFERRED))) == ["peer"]


def test_an_element_whose_mark_cannot_be_written_stays_is_told_and_ends_nothing(storage, caplog, monkeypatch):
    def fail(element, name, value):
        raise StorageError("the disk is gone")

    first = put(storage, data=b"1")
    put(storage, data=b"2")
    policy = marking()
    with connected(storage, policy) as adapter:
        going = pull(adapter)
        next(going)
        with monkeypatch.context() as broken:
            broken.setattr(type(first), "set_extra_data", fail)
            assert next(going) == "/host/etc 2"
        assert list(going) == []
        assert list(pull(adapter)) == ["/host/etc 1"]
    assert [record.levelno for record in caplog.records if "not noted" in record.getMessage()] == [
        logging.ERROR
    ]


@pytest.mark.exhaustive
def test_twenty_thousand_elements_take_a_constant_number_of_system_calls_each(tmp_path, monkeypatch):
    """Listing, offering and deleting: as many of each per element for ten times as many elements."""

    def calls_for(count: int) -> float:
        counts = {"calls": 0, "names": 0, "syncs": 0}
        root = tmp_path / str(count)
        for number in range(count):
            write_element(root, number)
        with monkeypatch.context() as patch, DefaultFileStorage(str(root)) as storage:
            for name in ("open", "stat", "unlink", "read"):
                patch.setattr(os, name, counted(getattr(os, name), counts, "calls"))
            patch.setattr(os, "fsync", counted(lambda descriptor: None, counts, "syncs"))
            list_names = osfile.list_names

            def listing(descriptor):
                names = list_names(descriptor)
                counts["names"] += len(names)
                return names

            patch.setattr(osfile, "list_names", listing)
            _, adapter = connect(storage, MovePolicy(max_group_seconds=1e9), is_ours=True)
            assert sum(1 for _ in pull(adapter)) == count
            adapter.end()
            assert ids(storage) == []
        assert counts["syncs"] <= count / 256 + 1
        assert counts["names"] <= 64 * count + 1000
        return counts["calls"] / count

    assert calls_for(20_000) <= calls_for(2_000) * 1.05


def counted(function, counts, name):
    def call(*arguments, **named):
        counts[name] += 1
        return function(*arguments, **named)

    return call


def write_element(root: Path, number: int) -> None:
    """An element's files, as quickly as possible."""
    stem = f"{20240101000000 + number}-log-full"
    (root / "host").mkdir(parents=True, exist_ok=True)
    values = {"BackupType": "full", "Timestamp": TIME + number}
    data = f"{number}".encode()
    checksum = base64.b64encode(hashlib.sha512(data).digest()).decode()
    (root / "host" / f"{stem}.data").write_bytes(data)
    (root / "host" / f"{stem}.info").write_text(json.dumps({**values, "StorageFileChecksumSha512": checksum}))


@pytest.mark.parametrize("is_ours", [True, False])
def test_nothing_is_deleted_once_another_directory_took_the_storages_place(tmp_path, caplog, is_ours):
    data = tmp_path / "data"
    data.mkdir()
    policy = MovePolicy()
    with DefaultFileStorage(str(data)) as files:
        for time in range(3):
            put(files, data=b"%d" % time, time=TIME + time)
        with connected(files, policy, is_ours=is_ours) as adapter:
            adapter.start_transaction(None)
            assert adapter.next_data_element(False)
            read(adapter)
            data.rename(tmp_path / "hidden")
            data.mkdir()
            with pytest.raises(StorageReplacedError):
                adapter.next_data_element(True)
        data.rmdir()
        (tmp_path / "hidden").rename(data)
        assert len(ids(files)) == 3
        with connected(files, policy) as adapter:
            assert len(list(pull(adapter))) == 3, "back at its place all is offered again"
    assert "Traceback" not in caplog.text
