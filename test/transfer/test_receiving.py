"""The receiving policy with a peer in memory: what is taken, checked, refused, and acknowledged."""

import contextlib
import gc
import hashlib
import json
import logging
import os
import threading
import time
from pathlib import Path

import pytest
from memory_peer import OURS, TIME, MemoryPeer, chain, connect, offered, unusable

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.element_json import shorten_uuid
from guerillabackup.errors import (
    ConnectionLostError,
    IntegrityError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
    StorageReplacedError,
)
from guerillabackup.events import ElementReceived, ElementRefused, SourceDoubt
from guerillabackup.log_limit import LogLimit
from guerillabackup.signature_values import SignatureResult, SignatureStatus
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer import claims
from guerillabackup.transfer.broken_chains import list_broken_chains
from guerillabackup.transfer.checks import UNSIGNED, SignatureRules
from guerillabackup.transfer.receive import BUFFER_SIZE
from guerillabackup.transfer.receiver_settings import ReceiverSettings
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy

NOW = TIME + 1000


@pytest.fixture(params=[0, 4], ids=["one by one", "in groups"])
def groups(request: pytest.FixtureRequest) -> int:
    """How many elements peers offer at a time; one by one as in version 1 without announcements."""
    return request.param


@pytest.fixture(params=["files", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path):
    """A storage; whatever a test does with it leaves no descriptor and no thread."""
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    (tmp_path / "data").mkdir()
    if request.param == "memory":
        yield MemoryStorage()
    else:
        with DefaultFileStorage(str(tmp_path / "data")) as file_storage:
            yield file_storage
            assert list(file_storage.find_leftovers()) == []
    gc.collect()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) <= before


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Receiver:
    """A policy with what it reported; its storage is the test's."""

    def __init__(self, storage, state, settings=ReceiverSettings(), **more):  # noqa: B008
        self.storage = storage
        self.groups = 0
        self.events = []
        self.clock = Clock()
        self.policy = ReceiverStoreDataTransferPolicy(
            settings,
            state_directory=str(state),
            listen=self.events.append,
            now=lambda: NOW + self.clock.now,
            **more,
        )

    def pull(self, elements, **more):
        context = connect(self.storage, elements, groups=self.groups, **more)
        self.policy.apply_policy(context)
        return context

    def refusals(self):
        return [event.reason for event in self.events if isinstance(event, ElementRefused)]

    def doubts(self):
        return [event.message for event in self.events if isinstance(event, SourceDoubt)]


@pytest.fixture
def make(storage, tmp_path, groups):
    made = []

    def make_receiver(**more):
        made.append(Receiver(storage, tmp_path / "state", **more))
        made[-1].groups = groups
        return made[-1]

    yield make_receiver
    for each in made:
        each.policy.close()


@pytest.fixture
def receiver(make):
    return make()


def contents(storage):
    """Data by element id; each is what its metadata says."""
    found = {}
    for element in storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            data = stream.read()
        if element.get_metadata().checksum is not None:
            assert hashlib.sha512(data).digest() == element.get_metadata().checksum
        found[str(element.get_element_id())] = data
    return found


def evidence(tmp_path, agent="peer"):
    """Names in an agent's quarantine, and its reasons."""
    directory = tmp_path / "state" / "quarantine" / agent
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    reasons = [json.loads(path.read_text()) for path in files if path.suffix == ".reason"]
    return [path.suffix for path in files], reasons


# What is taken


def test_all_that_is_offered_is_stored_and_then_acknowledged(storage, receiver):
    elements = [*chain(20), *chain(5, "/other/db")]
    visible = []
    peer = MemoryPeer(
        elements, on_acknowledged=lambda one: visible.append(one.data in contents(storage).values())
    )
    context = receiver.pull(peer)
    assert [one.acknowledged for one in elements] == [1] * 25
    assert visible == [True] * 25
    assert sorted(contents(storage).values()) == sorted(one.data for one in elements)
    assert context.counters.elements_received == 25
    assert context.counters.bytes_received == 250
    assert len([event for event in receiver.events if isinstance(event, ElementReceived)]) == 25
    assert len(receiver.events) == 25, "nothing is odd"


@pytest.mark.parametrize(
    "size",
    [0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 2 * BUFFER_SIZE, 5 * BUFFER_SIZE + 7, 40 << 20],
)
@pytest.mark.parametrize("chunk", [7919, 1 << 16, 1 << 20])
def test_elements_of_any_size_arrive_as_they_are(storage, receiver, size, chunk):
    data = os.urandom(min(size, 1 << 20)) * (size // (1 << 20) or 1)
    element = offered(data)
    receiver.pull(MemoryPeer([element], chunk=chunk), remote=OURS)
    assert list(contents(storage).values()) == [data]
    assert element.acknowledged == 1


def test_metadata_arrives_byte_by_byte_and_attributes_decide_nothing(storage, receiver):
    element = offered(Unknown={"a": [1]}, HandlingPolicy=["default"])
    element.attributes = {"path": "../../etc/passwd", "was_stored": True}
    receiver.pull([element])
    (stored,) = storage.query_backup_data_elements()
    assert stored.get_metadata().serialize() == element.metainfo.serialize()
    assert stored.list_extra_data() == []


def test_the_stream_of_an_empty_element_is_not_asked_of_an_original(storage, receiver):
    first, empty, last = offered(b"1", time=TIME), offered(b"", time=TIME + 1), offered(b"3", time=TIME + 2)
    receiver.pull([first, empty, last])
    assert [one.asked for one in (first, empty, last)] == [1, 0, 1]
    assert [one.acknowledged for one in (first, empty, last)] == [1, 1, 1]
    assert list(contents(storage).values()) == [b"1", b"", b"3"]
    empty.acknowledged = 0
    receiver.pull([empty])
    assert (empty.acknowledged, len(contents(storage))) == (1, 3)


def test_a_peer_that_announces_it_is_asked_for_empty_streams(storage, receiver):
    empty = offered(b"")
    receiver.pull([empty], remote=OURS)
    assert (empty.asked, empty.acknowledged) == (1, 1)


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        (ReceiverSettings(sources=("/host/*",)), {"log", "inc", "old", "policy"}),
        (ReceiverSettings(sources=("/other",)), {"other"}),
        (ReceiverSettings(backup_type=BackupType.FULL), {"log", "other", "old", "policy"}),
        (ReceiverSettings(max_age=2000), {"log", "other", "inc", "policy"}),
        (ReceiverSettings(min_age=2000), {"old"}),
        (ReceiverSettings(handling_lacks=frozenset(("offsite",))), {"log", "other", "inc", "old"}),
        (ReceiverSettings(handling_has=frozenset(("offsite", "x"))), {"policy"}),
    ],
)
def test_what_is_not_selected_is_left_without_a_word(storage, make, settings, taken):
    elements = {
        "log": offered(b"log"),
        "other": offered(b"other", "/other"),
        "inc": offered(b"inc", time=TIME + 1, BackupType="inc"),
        "old": offered(b"old", time=TIME - 5000),
        "policy": offered(b"policy", time=TIME + 2, HandlingPolicy=["default", "offsite"]),
    }
    receiver = make(settings=settings)
    receiver.pull(elements.values())
    assert {name for name, one in elements.items() if one.acknowledged} == taken
    assert {name for name, one in elements.items() if one.asked} == taken
    assert receiver.refusals() == []


def test_query_data_goes_to_a_peer_that_announced_itself_only(receiver, make):
    asking = make(settings=ReceiverSettings(query_sources=("/a/*",), query_since=100))
    for remote, expected in ((OURS, ["SourceUrl", ["/a/*"], NOW - 100]), (None, None)):
        peer = MemoryPeer([])
        asking.pull(peer, remote=remote)
        receiver.pull(plain := MemoryPeer([]), remote=remote)
        assert peer.transactions == [expected]
        assert plain.transactions == [None]


def test_only_the_moving_sender_policy_is_compatible(receiver):
    assert receiver.policy.is_sender_policy_compatible("SenderMoveDataTransferPolicy")
    for other in ("SenderMoveDataTransferPolic", "sendermovedatatransferpolicy", "", None):
        assert not receiver.policy.is_sender_policy_compatible(other)


# What is refused


def test_a_source_the_peer_may_not_send_is_refused_and_never_fetched(storage, receiver, tmp_path):
    elements = [offered(b"1", "/mine/a"), offered(b"2", "/mine/a.members"), offered(b"3", "/theirs/b")]
    context = receiver.pull(elements, accepted_sources=("/mine/a",))
    assert [one.acknowledged for one in elements] == [1, 1, 0]
    assert elements[2].asked == 0
    assert receiver.refusals() == ["source /theirs/b is not one that peer may send"]
    assert context.counters.elements_refused == 1
    assert evidence(tmp_path) == ([], [])


def test_wrong_data_goes_into_quarantine_and_later_elements_are_taken(storage, receiver, tmp_path):
    bad, good = offered(b"wrong"), offered(b"good", time=TIME + 1)
    bad.metainfo = bad.metainfo.replace(StorageFileChecksumSha512=hashlib.sha512(b"right").digest())
    receiver.pull([bad, good])
    assert (bad.acknowledged, good.acknowledged) == (0, 1)
    assert list(contents(storage).values()) == [b"good"]
    names, (reason,) = evidence(tmp_path)
    assert names == [".data", ".info", ".reason"]
    assert "do not have the checksum" in reason["Reason"]
    assert (reason["Source"], reason["Count"], reason["HasData"]) == ("/host/log", 1, True)
    data = next((tmp_path / "state" / "quarantine" / "peer").glob("*.data"))
    assert data.read_bytes() == b"wrong"


def test_the_same_bad_element_is_left_alone_for_a_while_and_then_counted(storage, receiver, tmp_path):
    bad = offered(b"wrong", StorageFileChecksumSha512=bytes(64))
    for turn in range(5):
        bad.cut = None
        receiver.pull([bad])
        receiver.pull([bad])
        assert bad.asked == turn + 1
        receiver.clock.now += 100_000
    names, (reason,) = evidence(tmp_path)
    assert names == [".data", ".info", ".reason"]
    assert reason["Count"] == 5


def test_a_bad_element_is_taken_once_it_comes_as_it_should(storage, receiver):
    element = offered(b"right")
    element.data = b"wrong"
    receiver.pull([element])
    element.data = b"right"
    receiver.clock.now += 100_000
    receiver.pull([element])
    assert list(contents(storage).values()) == [b"right"]


def test_an_element_without_a_checksum_is_refused_unless_allowed(storage, make, receiver, tmp_path):
    element = offered(StorageFileChecksumSha512=None)
    receiver.pull([element])
    assert (element.asked, element.acknowledged) == (0, 0)
    assert evidence(tmp_path)[0] == [".info", ".reason"]
    make(settings=ReceiverSettings(allow_without_checksum=True)).pull([element])
    assert element.acknowledged == 1
    assert list(contents(storage).values()) == [b"data"]


def test_metadata_made_for_another_source_is_refused_before_any_data(storage, receiver, tmp_path):
    element = offered(SourceUrl="/host/other")
    receiver.pull([element])
    assert (element.asked, element.acknowledged) == (0, 0)
    assert evidence(tmp_path)[1][0]["Reason"] == "its metadata was made for source /host/other"


def test_an_element_that_cannot_be_described_keeps_none_after_it(storage, receiver):
    last = offered()
    context = receiver.pull([unusable(), last, unusable()])
    assert last.acknowledged == 1
    assert context.counters.elements_refused == 2


def test_an_element_over_the_limit_ends_its_connection_once_and_is_left_alone(storage, make, tmp_path):
    receiver = make(settings=ReceiverSettings(max_element_size=BUFFER_SIZE * 4))
    first, last = offered(b"1", time=TIME - 1), offered(b"3", time=TIME + 1)
    large = offered(bytes(BUFFER_SIZE * 40))
    if receiver.groups:
        # Its size is told before.
        receiver.pull([first, large, last])
        assert receiver.refusals() == ["it has 10485760 bytes, and the limit of an element is 1048576"]
        assert (first.acknowledged, large.asked, last.acknowledged) == (1, 0, 1)
    else:
        with pytest.raises(IntegrityError, match=r"more than 1048576 bytes.*the connection ends"):
            receiver.pull([first, large, last])
        assert (first.acknowledged, large.acknowledged, last.acknowledged) == (1, 0, 0)
        receiver.pull([first, large, last])
        assert (large.asked, last.acknowledged) == (1, 1)
    assert evidence(tmp_path)[0] == [".info", ".reason"]


@pytest.mark.parametrize("size", [10, 11, BUFFER_SIZE, BUFFER_SIZE + 1])
def test_the_limit_of_a_peer_holds_to_the_byte(storage, receiver, size):
    receiver.pull([offered(bytes(size))], max_element_size=size)
    assert len(contents(storage)) == 1
    with contextlib.nullcontext() if receiver.groups else pytest.raises(IntegrityError):
        receiver.pull([offered(bytes(size), time=TIME + 1)], max_element_size=size - 1)
    assert len(contents(storage)) == 1


def test_what_moves_is_told_by_its_id_and_size(storage, receiver):
    element = offered(bytes(3 * BUFFER_SIZE), source="/host/large")
    moving = []
    receiver.policy.bandwidth.portion = lambda wanted: moving.append(context.counters.current) or wanted
    context = connect(storage, [element])
    receiver.policy.apply_policy(context)
    assert element.acknowledged == 1
    assert {text.split(" ")[0] for text in moving} == {"/host/20231114221320-large-full"}


def test_a_time_far_ahead_is_reported_and_stored(storage, receiver):
    element = offered(time=NOW + 10 * 86400)
    receiver.pull([element])
    assert element.acknowledged == 1
    assert receiver.doubts()[0].endswith("its Timestamp is 864000 s in the future")


def test_refusals_without_end_do_not_fill_the_log(storage, receiver, caplog):
    elements = [offered(source=f"/theirs/{number}") for number in range(500)]
    with caplog.at_level(logging.INFO):
        receiver.pull(elements, accepted_sources=("/mine",))
    assert len(caplog.records) == 51
    assert "refused 450 more elements" in caplog.records[-1].message


# Signatures


def rules(status, **more):
    asked = []

    def check(metainfo, source_url):
        asked.append(source_url)
        return SignatureResult(status, "as the test wants it")

    return asked, SignatureRules(check, **more)


@pytest.mark.parametrize(
    ("status", "is_required", "is_taken"),
    [
        (SignatureStatus.VALID, True, True),
        (SignatureStatus.BAD, False, False),
        (SignatureStatus.WRONG_SOURCE, False, False),
        (SignatureStatus.UNTRUSTED, False, False),
        (SignatureStatus.REVOKED, False, False),
        (SignatureStatus.UNKNOWN_KEY, False, True),
        (SignatureStatus.UNKNOWN_KEY, True, False),
        (SignatureStatus.EXPIRED, False, True),
        (SignatureStatus.EXPIRED, True, False),
    ],
)
def test_a_signature_decides_before_any_data_is_asked_for(
    storage, make, status, is_required, is_taken, tmp_path
):
    asked, signatures = rules(status, requires_signatures=is_required)
    element = offered(MetaDataSignature=b"signature")
    make(signatures=signatures).pull([element])
    assert asked == [SourceUrl("/host/log")]
    assert (element.asked, element.acknowledged) == ((1, 1) if is_taken else (0, 0))
    assert evidence(tmp_path)[0] == ([] if is_taken else [".info", ".reason"])


def test_a_key_that_is_missing_is_told_in_a_few_lines_with_what_to_do(storage, make, caplog):
    _, signatures = rules(SignatureStatus.UNKNOWN_KEY, requires_signatures=True)
    receiver = make(signatures=signatures)
    elements = [offered(source=f"/host/{number}", MetaDataSignature=b"x") for number in range(20)]
    with caplog.at_level(logging.INFO):
        receiver.pull(elements)
    reasons = set(receiver.refusals())
    assert len(reasons) == 1
    assert "cannot be checked: " in reasons.pop()
    lines = [record.message for record in caplog.records]
    assert len(lines) == 4
    assert lines[3].startswith(
        "peer: refused 17 more elements: the signature of its metadata cannot be checked"
    )
    assert lines[3].endswith("guerillabackup key import FILE")


def test_an_unsigned_element_is_refused_where_signatures_are_required(storage, make):
    asked, signatures = rules(SignatureStatus.VALID, requires_signatures=True)
    receiver = make(signatures=signatures)
    receiver.pull([offered()])
    assert (asked, receiver.refusals()) == ([], [UNSIGNED])


def test_a_wrong_signature_of_the_data_keeps_it_in_quarantine(storage, make, tmp_path):
    read = []

    def check_data(descriptor, signature):
        read.append((os.pread(descriptor, 100, 0), signature))
        return SignatureResult(SignatureStatus.BAD, "bad")

    _, signatures = rules(SignatureStatus.VALID)
    receiver = make(signatures=SignatureRules(signatures.check_metadata, check_data))
    element = offered(StorageFileSignature=b"sig")
    receiver.pull([element])
    assert read == [(b"data", b"sig")]
    assert element.acknowledged == 0
    assert evidence(tmp_path)[0] == [".data", ".info", ".reason"]


# What is here already


def held_by_both(storage, receiver):
    """An element that was taken and is offered again; the stored one, and what offers it."""
    element = offered()
    receiver.pull([element])
    element.acknowledged = 0
    (stored,) = storage.query_backup_data_elements()
    return element, stored


def test_a_copy_that_is_locked_counts_neither_as_held_nor_as_gone(storage, receiver):
    element, stored = held_by_both(storage, receiver)
    offering = storage.hold_backup_data_element(stored.get_element_id())
    receiver.pull([element])
    assert (element.acknowledged, element.asked, len(contents(storage))) == (0, 1, 1)
    offering.unlock()
    receiver.pull([element])
    assert (element.acknowledged, len(contents(storage))) == (1, 1)


def test_a_copy_that_is_acknowledged_is_locked_until_the_peer_has_answered(storage, receiver):
    element, stored = held_by_both(storage, receiver)
    found = []
    other = offered(time=TIME + 1)
    peer = MemoryPeer(
        [element, other],
        on_acknowledged=lambda one: found.append(stored.is_locked()),
    )
    receiver.pull(peer)
    assert found == [True, bool(receiver.groups)], "until the answer to all of a group, and no longer"
    assert not stored.is_locked()


def test_a_copy_is_let_go_when_the_connection_ends_as_it_is_acknowledged(storage, receiver):
    element, stored = held_by_both(storage, receiver)

    def end(one):
        raise ConnectionLostError("the peer is gone")

    with pytest.raises(ConnectionLostError):
        receiver.pull(MemoryPeer([element], on_acknowledged=end))
    assert not stored.is_locked()


def test_a_copy_is_synced_before_it_is_acknowledged_and_not_acknowledged_when_it_cannot_be(
    storage, receiver, monkeypatch
):
    element, _ = held_by_both(storage, receiver)

    def fail(stored):
        raise StorageError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(storage, "sync_element", fail)
        receiver.pull([element])
    assert element.acknowledged == 0
    assert receiver.refusals() == ["the disk is gone"]


def test_what_is_here_already_is_taken_compared_and_acknowledged(storage, receiver):
    elements = chain(3, size=BUFFER_SIZE * 3 + 5)
    receiver.pull(elements)
    before = contents(storage)
    for one in elements:
        one.acknowledged = one.asked = 0
    receiver.pull(elements)
    assert [(one.asked, one.acknowledged) for one in elements] == [(1, 1)] * 3
    assert contents(storage) == before
    assert receiver.doubts() == []


@pytest.mark.parametrize("storage", ["files"], indirect=True)
def test_what_another_program_named_otherwise_is_found(storage, make, tmp_path):
    first, second = chain(2)
    make().pull([first])
    folder = tmp_path / "data" / "host"
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("20231114221320", "20231115001320"))
    first.acknowledged = 0
    make().pull([first, second])
    assert (first.acknowledged, second.acknowledged) == (1, 1)
    assert len(contents(storage)) == 2


@pytest.mark.parametrize("storage", ["files"], indirect=True)
def test_a_damaged_stored_copy_is_replaced_by_the_good_one_and_kept_aside(storage, receiver, tmp_path):
    element = offered(b"x" * 1000)
    receiver.pull([element])
    (path,) = (tmp_path / "data" / "host").glob("*.data")
    damaged = b"x" * 500 + b"y" + b"x" * 499
    path.write_bytes(damaged)
    element.acknowledged = 0
    receiver.pull([element])
    assert element.acknowledged == 1
    assert list(contents(storage).values()) == [element.data]
    names, (reason,) = evidence(tmp_path)
    assert names == [".data", ".info", ".reason"]
    assert "was damaged" in reason["Reason"]
    kept = next((tmp_path / "state" / "quarantine" / "peer").glob("*.data"))
    assert kept.read_bytes() == damaged
    assert "was damaged; it was replaced" in receiver.doubts()[0]
    element.acknowledged = 0
    receiver.pull([element])
    assert (element.acknowledged, len(contents(storage))) == (1, 1)


@pytest.mark.parametrize("length", [0, 5, 999, 1001])
@pytest.mark.parametrize("storage", ["files"], indirect=True)
def test_a_stored_copy_of_another_length_is_damaged(storage, receiver, tmp_path, length):
    element = offered(b"x" * 1000)
    receiver.pull([element])
    (path,) = (tmp_path / "data" / "host").glob("*.data")
    path.write_bytes(b"x" * length)
    element.acknowledged = 0
    receiver.pull([element])
    assert element.acknowledged == 1
    assert list(contents(storage).values()) == [element.data]


@pytest.mark.parametrize("storage", ["files"], indirect=True)
def test_a_damaged_copy_that_somebody_reads_is_replaced_when_nobody_does(storage, receiver, tmp_path):
    element = offered(b"x" * 1000)
    receiver.pull([element])
    (path,) = (tmp_path / "data" / "host").glob("*.data")
    path.write_bytes(b"y")
    (stored,) = storage.query_backup_data_elements()
    element.acknowledged = 0
    with stored.get_data_stream():
        receiver.pull([element])
    assert element.acknowledged == 0
    receiver.pull([element])
    assert element.acknowledged == 1
    assert list(contents(storage).values()) == [element.data]


def test_an_element_with_the_same_name_and_other_content_gets_another_name(storage, receiver):
    elements = [offered(b"%d" % number, DataUuid=b"%d" % number) for number in range(40)]
    receiver.pull(elements)
    assert len(contents(storage)) == 40
    for one in elements:
        one.acknowledged = 0
    receiver.pull(elements)
    assert [one.acknowledged for one in elements] == [1] * 40
    assert len(contents(storage)) == 40


def test_what_is_signed_otherwise_is_not_the_same_and_nothing_is_lost(storage, receiver):
    receiver.pull([offered(), offered(MetaDataSignature=b"signature")])
    assert len(contents(storage)) == 2


# Several connections


def test_no_element_is_fetched_from_two_peers_at_once(storage, receiver):
    shared = chain(1)[0]
    copies = [offered(b"0 0 0 0 0 ", time=TIME, Predecessor=None) for _ in range(2)]
    for copy in copies:
        copy.metainfo, copy.data = shared.metainfo, shared.data
    is_streaming, may_end = threading.Event(), threading.Event()

    def wait(element):
        is_streaming.set()
        assert may_end.wait(60)

    slow = MemoryPeer([copies[0]], on_stream=wait)
    thread = threading.Thread(target=receiver.pull, args=(slow,))
    thread.start()
    assert is_streaming.wait(60)
    quick = MemoryPeer([copies[1], offered(b"own", "/host/own")])
    receiver.pull(quick)
    assert copies[1].asked == 0
    assert quick.elements[1].acknowledged == 1
    may_end.set()
    thread.join(60)
    assert copies[0].acknowledged == 1
    receiver.pull(quick)
    assert copies[1].acknowledged == 1
    assert len(contents(storage)) == 2


def test_what_another_connection_was_fetching_is_looked_at_again_when_it_has_ended(storage, receiver):
    copies = [offered(b"same") for _ in range(2)]
    is_streaming, may_end = threading.Event(), threading.Event()

    def wait(element):
        is_streaming.set()
        assert may_end.wait(60)

    def finish(element):
        may_end.set()
        thread.join(60)

    thread = threading.Thread(target=receiver.pull, args=(MemoryPeer([copies[0]], on_stream=wait),))
    thread.start()
    assert is_streaming.wait(60)
    quick = MemoryPeer([copies[1], offered(b"own", "/host/own")], on_stream=finish)
    receiver.pull(quick)
    assert [one.acknowledged for one in (*copies, quick.elements[1])] == [1, 1, 1]
    assert len(quick.transactions) == 2
    assert len(contents(storage)) == 2


def test_many_connections_at_once_store_everything_once(storage, receiver):
    peers = [MemoryPeer(chain(30, f"/host{number}/log")) for number in range(6)]
    peers += [MemoryPeer(chain(30, "/same/log")) for _ in range(3)]
    threads = [
        threading.Thread(target=receiver.pull, args=(peer,), kwargs={"agent_id": f"peer{number}"})
        for number, peer in enumerate(peers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(contents(storage)) == 7 * 30
    for peer in peers[:6]:
        assert [one.acknowledged for one in peer.elements] == [1] * 30


# When things fail


class Failing:
    """Hands on to a storage, and fails in the middle of one element."""

    def __init__(self, storage, when, error):
        self._storage, self._when, self._error = storage, when, error

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def get_sink_handle(self, source_url):
        handle = self._storage.get_sink_handle(source_url)
        if self._when == "begin":
            handle.abort()
            raise self._error
        if self._when == "write":
            handle.write = self._fail
        return handle

    def close_together(self, closing):
        if self._when != "store":
            return self._storage.close_together(closing)
        for handle, _ in closing:
            handle.abort()
        return [self._error for _ in closing]

    def _fail(self, data):
        raise self._error


@pytest.mark.parametrize("when", ["begin", "store"])
def test_a_full_disk_between_streams_ends_the_round_in_order(storage, receiver, when, caplog):
    elements = chain(3)
    receiver.storage = Failing(storage, when, StorageFullError("no space left"))
    context = receiver.pull(elements)
    assert not context.client.is_dead
    assert [one.acknowledged for one in elements] == [0, 0, 0]
    assert "nothing more is fetched now: no space left" in caplog.text
    assert contents(storage) == {}
    receiver.storage = storage
    receiver.clock.now += 3600
    receiver.pull(elements)
    assert len(contents(storage)) == 3


def test_a_storage_that_is_read_only_for_a_while_is_no_fault_of_any_element(storage, receiver, caplog):
    elements = chain(3)
    for when in ("begin", "store"):
        receiver.storage = Failing(storage, when, StorageReadOnlyError("Read-only file system"))
        receiver.pull(elements)
        assert "nothing more is fetched now: Read-only file system" in caplog.text
    receiver.storage = storage
    receiver.pull(elements)
    assert len(contents(storage)) == 3


@pytest.mark.parametrize("size", [10, BUFFER_SIZE * 5])
def test_a_full_disk_in_the_middle_of_an_element_is_told_and_nothing_is_visible(storage, receiver, size):
    elements = chain(2, size=size)
    receiver.storage = Failing(storage, "write", StorageFullError("no space left"))
    with pytest.raises(StorageFullError, match="no space left"):
        receiver.pull(elements)
    assert [one.acknowledged for one in elements] == [0, 0]
    assert contents(storage) == {}
    receiver.storage = storage
    receiver.pull(elements)
    assert [one.acknowledged for one in elements] == [0, 1], "the one that did not fit waits for its turn"


def test_another_failure_of_the_storage_leaves_that_element_alone(storage, receiver):
    elements = chain(3)
    receiver.storage = Failing(storage, "store", StorageError("input/output error"))
    context = receiver.pull(elements)
    assert receiver.refusals() == ["input/output error"] * 3
    assert not context.client.is_dead


@pytest.mark.parametrize("cut", [0, 5, BUFFER_SIZE, BUFFER_SIZE * 3 + 1])
def test_a_peer_that_is_gone_in_the_middle_leaves_nothing_and_blocks_nothing_later(storage, receiver, cut):
    first, broken, last = chain(3, size=BUFFER_SIZE * 4)
    broken.cut = cut
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            receiver.pull([first, broken, last])
    assert len(contents(storage)) == 1
    receiver.pull([first, broken, last])
    assert [one.acknowledged for one in (first, broken, last)] == [1, 0, 1]
    broken.cut = None
    receiver.clock.now += 100
    receiver.pull([broken])
    assert broken.acknowledged == 1
    assert len(contents(storage)) == 3


# Chains


def test_a_predecessor_that_never_came_is_reported_and_its_successor_stored(storage, receiver):
    first, missing, last = chain(3)
    receiver.pull([first, last])
    assert last.acknowledged == 1
    (doubt,) = receiver.doubts()
    assert f"the element it follows (DataUuid {shorten_uuid(missing.metainfo.data_uuid)}) did not" in doubt
    assert "did not" in receiver.policy.status()["doubts"][0]


@pytest.mark.parametrize("mended_by", ["the predecessor", "a full", "nothing"])
def test_a_broken_chain_is_told_until_it_is_mended_also_after_a_restart(storage, make, tmp_path, mended_by):
    first, missing = chain(2)
    last = offered(b"last", time=TIME + 2, Predecessor=missing.metainfo.data_uuid, BackupType="inc")
    receiver = make()
    receiver.pull([first, last])
    (broken,) = list_broken_chains(str(tmp_path / "state"))
    assert str(broken.element_id) in broken.message
    assert "generator run --once --full --source /host/log" in broken.message
    receiver.policy.close()
    later = {"the predecessor": missing, "a full": offered(b"full", time=TIME + 90)}
    again = make()
    again.pull([later[mended_by]] if mended_by in later else [offered(b"x", "/other/db")])
    assert len(list_broken_chains(str(tmp_path / "state"))) == (mended_by == "nothing")
    again.pull([last])
    assert len(list_broken_chains(str(tmp_path / "state"))) == (mended_by == "nothing")


def test_elements_out_of_order_are_no_gap(storage, receiver):
    elements = chain(30)
    receiver.pull([elements[0], *reversed(elements[1:])])
    assert receiver.doubts() == []


def test_a_chain_is_followed_when_its_elements_moved_on_and_after_a_restart(storage, make):
    elements = chain(6)
    for number, element in enumerate(elements):
        receiver = make()
        receiver.pull([element])
        assert receiver.doubts() == [], f"element {number}"
        receiver.policy.close()
        for stored in storage.query_backup_data_elements():
            stored.delete()


def test_a_chain_with_two_ends_is_reported_and_stored(storage, receiver):
    first, second = chain(2)
    other = offered(b"other", time=TIME + 7, Predecessor=first.metainfo.data_uuid)
    receiver.pull([first, second, other])
    assert other.acknowledged == 1
    assert "two ends" in receiver.doubts()[0]


def test_a_chain_that_comes_in_another_order_begins_no_new_one(storage, receiver):
    elements = chain(12)
    receiver.pull(elements[::-1])
    assert [one.acknowledged for one in elements] == [1] * 12
    assert receiver.doubts() == []


def test_what_moved_on_and_comes_again_is_reported_and_stored(storage, receiver):
    first, second = chain(2)
    receiver.pull([first, second])
    for stored in storage.query_backup_data_elements():
        stored.delete()
    first.acknowledged = 0
    receiver.pull([first])
    assert first.acknowledged == 1
    assert "it came before" in receiver.doubts()[0]


def test_a_chain_that_begins_anew_is_reported_and_stored(storage, receiver):
    receiver.pull(chain(2))
    fresh = offered(b"fresh", time=TIME + 50)
    receiver.pull([fresh])
    assert fresh.acknowledged == 1
    assert "begins a new chain" in receiver.doubts()[0]


def test_the_first_element_of_a_source_may_have_a_predecessor_of_long_ago(storage, receiver):
    receiver.pull([offered(Predecessor=b"long ago")])
    assert receiver.doubts() == []


# What is left over


def test_the_status_tells_what_was_refused_and_kept(storage, receiver):
    receiver.pull([offered(b"wrong", StorageFileChecksumSha512=bytes(64))])
    status = json.loads(json.dumps(receiver.policy.status()))
    assert status["refused_lately"] == 1
    assert status["quarantine"]["peer"]["entries"] == 1
    assert status["quarantine"]["peer"]["bytes"] > 5


def test_the_bandwidth_limit_holds_for_what_is_received(storage, make):
    spent = []

    class Limit:
        bytes_per_second = 100

        def portion(self, wanted):
            return min(wanted, 25)

        def spend(self, count, is_over):
            spent.append(count)

    make(bandwidth=Limit()).pull([offered(b"x" * 1000)])
    assert sum(spent) == 1000
    assert max(spent) == 25


# A storage that another directory took the place of


@pytest.mark.parametrize("when", ["before the data", "with the data", "of what is here already"])
def test_nothing_is_acknowledged_once_another_directory_took_the_storages_place(tmp_path, when):
    (tmp_path / "data").mkdir()

    def replace_storage():
        (tmp_path / "data").rename(tmp_path / "hidden")
        (tmp_path / "data").mkdir()

    with DefaultFileStorage(str(tmp_path / "data")) as files:
        receiver = Receiver(files, tmp_path / "state")
        if when == "of what is here already":
            receiver.pull([offered(b"1", time=TIME + 1)])
        elements = [offered(b"0"), offered(b"1", time=TIME + 1), offered(b"2", time=TIME + 2)]

        def on_acknowledged(element):
            if when == "before the data":
                replace_storage()

        def on_stream(element):
            if when != "before the data" and element is elements[1]:
                replace_storage()

        peer = MemoryPeer(elements, on_acknowledged=on_acknowledged, on_stream=on_stream)
        with pytest.raises(StorageReplacedError):
            receiver.pull(peer)
        receiver.policy.close()
    assert [one.acknowledged for one in elements] == [1, 0, 0]
    assert list((tmp_path / "data").iterdir()) == []
    assert receiver.refusals() == [], "it is no fault of the elements"


# Peers do not hinder one another


def test_what_one_peer_sends_wrong_is_taken_from_another_that_has_it_right(storage, receiver):
    wrong, right = offered(b"data"), offered(b"data")
    wrong.data = b"evil"
    receiver.pull([wrong], agent_id="evil")
    receiver.pull([right], agent_id="good")
    assert (wrong.acknowledged, right.acknowledged) == (0, 1)
    assert list(contents(storage).values()) == [b"data"]
    assert receiver.policy.status()["refused_lately"] == 1


def test_an_element_that_comes_too_slowly_is_left_to_the_peer_that_waits_for_it(
    storage, receiver, monkeypatch
):
    monkeypatch.setattr(claims, "WANTED_SECONDS", 0.0)
    slow, quick = offered(b"data"), offered(b"data")
    may_go_on = threading.Event()
    peer = MemoryPeer([slow], on_stream=lambda element: may_go_on.wait(60))
    errors = []

    def pull_slowly():
        try:
            receiver.pull(peer, agent_id="slow")
        except ConnectionLostError as error:
            errors.append(str(error))

    thread = threading.Thread(target=pull_slowly)
    thread.start()
    while not slow.asked:
        time.sleep(0.001)
    receiver.pull([quick], agent_id="quick")
    assert quick.acknowledged == 0
    may_go_on.set()
    thread.join()
    assert "another one offers the same element" in errors[0]
    receiver.pull([quick], agent_id="quick")
    assert (slow.acknowledged, quick.acknowledged) == (0, 1)


@pytest.mark.parametrize("slow_goes_on", [True, False])
def test_an_element_of_which_nothing_comes_is_taken_from_another_peer_and_stored_once(
    storage, receiver, monkeypatch, slow_goes_on
):
    monkeypatch.setattr(claims, "STALLED_SECONDS", 0.0)
    slow, quick = offered(b"data"), offered(b"data")
    has_begun, may_go_on = threading.Event(), threading.Event()

    class Silent(MemoryPeer):
        def get_data_element_streams(self, numbers):
            (stream,) = super().get_data_element_streams(numbers)
            read = stream.read_into

            def wait(buffer):
                has_begun.set()
                assert may_go_on.wait(60)
                if not slow_goes_on:
                    raise ConnectionLostError("it is gone")
                return read(buffer)

            stream.read_into = wait
            return (stream,)

    def pull_slowly():
        with contextlib.suppress(ConnectionLostError):
            receiver.pull(Silent([slow]), agent_id="slow")

    thread = threading.Thread(target=pull_slowly)
    thread.start()
    assert has_begun.wait(60)
    receiver.pull([quick], agent_id="quick")
    assert quick.acknowledged == 1
    may_go_on.set()
    thread.join(60)
    assert list(contents(storage).values()) == [b"data"]
    assert [isinstance(event, ElementReceived) for event in receiver.events].count(True) == 1
    # What came too late is taken again, compared with what is here, and then said to be here.
    assert (slow.asked, slow.acknowledged) == ((2, 1) if slow_goes_on else (1, 0))


def test_a_peer_that_comes_again_and_again_with_what_is_refused_fills_no_log(storage, receiver, caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    limit = LogLimit(clock)
    refused = [offered(source=f"/theirs/{number}") for number in range(60)]

    def pull(elements):
        context = connect(storage, elements, accepted_sources=("/mine/*",))
        context.lines = limit
        receiver.policy.apply_policy(context)
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    told = pull(refused)
    assert len(told) == 51
    assert told[0].startswith("peer: refused an element of /theirs/0: source /theirs/0 is not one")
    assert told[-1] == "peer: refused 10 more elements"
    assert [pull(refused) for _ in range(20)] == [[]] * 20
    clock.now = 400.0
    assert [line.rpartition(": ")[2] for line in pull(refused)] == ["1000)", "20)"]
    clock.now = 500.0
    told = pull([offered(source="/mine/log")])
    assert told == ["peer: nothing of it is refused any more (lines held back: 50)"]
    clock.now = 1100.0
    assert pull(refused[:1])[-1].startswith("peer: refused an element of /theirs/0")


def test_what_is_refused_leaves_no_folder_in_the_storage(tmp_path, make, storage, receiver):
    wrong = [offered(b"data", f"/host/{number}/log") for number in range(5)]
    for element in wrong:
        element.data = b"evil"
    cut = offered(b"cut" * 1000, "/host/cut/log")
    cut.cut = 10
    receiver.pull([*wrong, offered(b"good", "/host/good/log")])
    with pytest.raises(ConnectionLostError):
        receiver.pull([cut])
    if isinstance(storage, DefaultFileStorage):
        assert [path.name for path in (tmp_path / "data/host").iterdir()] == ["good"]
    assert len(receiver.refusals()) == 5
