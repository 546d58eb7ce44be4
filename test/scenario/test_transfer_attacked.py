"""Goal: no peer, disk, clock or chance makes a running transfer service lose an element, show one that is not
whole, write anywhere but in its storage, take memory without end, or keep the next peer waiting.
"""

import contextlib
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raw_peer import Offer, RawPeer
from transfer_side import RECEIVES, SENDS, Side, start_socat

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ElementNotFoundError
from guerillabackup.storage.registry import open_storage

START = 1_700_000_000
DAY = 86400
MEMORY_LIMIT = 64 << 20
"""Bytes that a peer may make a service take."""
IMPATIENT = {"TRANSFER_PACE": "1,1,1"}
MOUNTED = """
import os, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[2], "tmpfs", sys.argv[1]], check=True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def put(side: Side, source: str, content: bytes, number: int = 0, before: bytes | None = None) -> bytes:
    """Store an element; its DataUuid."""
    uuid = hashlib.sha512(f"{source} {number}".encode() + content).digest()
    values = {
        "BackupType": "full" if before is None else "inc",
        "DataUuid": uuid,
        "Predecessor": before,
        "StorageFileChecksumSha512": hashlib.sha512(content).digest(),
        "Timestamp": START + number,
    }
    with (
        contextlib.closing(open_storage(str(side.storage))) as storage,
        storage.get_sink_handle(SourceUrl(source)) as handle,
    ):
        handle.write(content)
        handle.close(BackupElementMetainfo(values))
    return uuid


def content_of(storage_directory: Path) -> list[tuple[str, bytes]]:
    """Source and data of every element."""
    with contextlib.closing(open_storage(str(storage_directory))) as storage:
        found = []
        for element in storage.query_backup_data_elements():
            # One that is moved away meanwhile is not in it.
            with contextlib.suppress(ElementNotFoundError), element.get_data_stream() as stream:
                found.append((str(element.get_source_url()), stream.read()))
        return sorted(found)


def move(sender: Side, receiver: Side) -> None:
    """Join two running services until they agree to the end."""
    assert start_socat(sender, receiver).wait(120) == 0, sender.log() + receiver.log()


@pytest.fixture
def make_side(short_directory: Path) -> Iterator[Callable[..., Side]]:
    sides: list[Side] = []

    def make(name: str, settings: dict[str, str], **environment: str) -> Side:
        sides.append(Side(short_directory / name, settings, **environment))
        return sides[-1]

    yield make
    for side in sides:
        side.close()


@pytest.fixture
def receiver(make_side: Callable[..., Side]) -> Side:
    """A service that receives, has no patience, and takes 256 KiB at most."""
    side = make_side(
        "r", {**RECEIVES, "TransferReceiverSettings": "{'MaxElementSize': 1 << 18}"}, **IMPATIENT
    )
    side.start()
    return side


@pytest.fixture
def sender(make_side: Callable[..., Side]) -> Side:
    """A service that sends, and has no patience."""
    side = make_side("s", SENDS, **IMPATIENT)
    side.start()
    return side


def assert_serves(side: Side) -> None:
    """The next peer gets all that it should."""
    with RawPeer(side.socket) as peer:
        assert peer.serve([Offer("/after/all", b"good")]) == [True]
    assert ("/after/all", b"good") in content_of(side.storage)


def test_a_storage_that_is_full_takes_what_it_can_and_the_rest_stays_at_the_sender(make_side, sender):
    receiver = make_side("r", RECEIVES)
    program = receiver.base / "mounted.py"
    program.write_text(MOUNTED)
    namespace = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    receiver.start(prefix=(*namespace, "python3", str(program), str(receiver.storage), "size=6m"))
    storage = Path(f"/proc/{receiver.process.pid}/root{receiver.storage}")
    all_of_them = [(f"/host/a{number}", bytes([number]) * (2 << 20)) for number in range(6)]
    for source, content in all_of_them:
        put(sender, source, content)
    start_socat(sender, receiver).wait(120)
    receiver.wait_for(lambda: "No space left on device" in receiver.log())
    there, left = content_of(storage), content_of(sender.storage)
    assert 1 <= len(there) < len(all_of_them)
    assert set(there) | set(left) == set(all_of_them)
    assert [name for name in os.listdir(storage) if name == ".partial"] == []
    # Room is made, and what waits is not refused for long: the service that takes it has been started anew.
    receiver.end()
    receiver.storage = receiver.base / "larger"
    receiver.storage.mkdir(mode=0o700)
    receiver.configure()
    receiver.start()
    sender.wait_for(lambda: sender.log().count(" ended") >= 1)
    move(sender, receiver)
    assert set(there) | set(content_of(receiver.storage)) == set(all_of_them)
    assert content_of(sender.storage) == []


def test_two_that_dial_each_other_at_once_exchange_everything_once(make_side):
    one, two = make_side("a", {**SENDS, **RECEIVES}), make_side("b", {**SENDS, **RECEIVES})
    expected = {}
    for side, other, own, others in ((one, two, "/a/*", "/b/*"), (two, one, "/b/*", "/a/*")):
        rules = {"AcceptSources": [others], "OfferSources": [own], "Interval": 1}
        listen = str(side.base / "own.socket")
        side.configure(
            TransferSocket=False,
            TransferPeers={
                "dialled": {"Connect": str(other.base / "own.socket"), **rules},
                "listening": {"Listen": listen, **rules},
            },
        )
        before = None
        for number in range(30):
            before = put(side, f"{own[:-2]}/log", f"{own} {number}".encode() * 1000, number, before)
        expected[side] = content_of(side.storage)
    for side in (one, two):
        side.start(wait=False)
    for side, other in ((one, two), (two, one)):
        side.wait_for(lambda side=side, other=other: content_of(side.storage) == expected[other])
    assert [side.end() for side in (one, two)] == [0, 0]
    assert (content_of(one.storage), content_of(two.storage)) == (expected[two], expected[one])


def test_what_a_generator_writes_while_a_transfer_lists_is_moved_whole(make_side):
    sender, receiver = make_side("s", SENDS), make_side("r", RECEIVES)
    sender.start()
    receiver.start()
    written: list[tuple[str, bytes]] = []
    is_over = threading.Event()

    def generate() -> None:
        before = None
        for number in range(200):
            content = os.urandom(1 + number * 100)
            before = put(sender, "/host/log", content, number, before)
            written.append(("/host/log", content))
            # What the original's sink leaves while it writes, and what a crash of it leaves for good.
            half = sender.storage / "host" / f"20250101{number:06d}-half-full.data"
            half.write_bytes(b"half")
            (sender.storage / "host" / f"tmp-{number}").write_bytes(b"")
        is_over.set()

    writer = threading.Thread(target=generate)
    writer.start()
    while not is_over.is_set():
        move(sender, receiver)
    writer.join()
    move(sender, receiver)
    assert content_of(receiver.storage) == sorted(written)
    assert content_of(sender.storage) == []
    assert len([path for path in sender.files() if "half" in path]) == 200


def test_a_clock_that_jumps_ends_no_transfer(make_side, short_directory):
    clocks = [short_directory / name for name in ("first", "second")]
    for clock in clocks:
        clock.write_bytes(struct.pack("d", 0.0))
    sender = make_side("s", SENDS, TRANSFER_CLOCK=str(clocks[0]))
    receiver = make_side("r", RECEIVES, TRANSFER_CLOCK=str(clocks[1]))
    receiver.configure(TransferBandwidthLimit=2_000_000)
    before = None
    for number in range(60):
        before = put(sender, "/host/log", os.urandom(100_000), number, before)
    expected = content_of(sender.storage)
    sender.start()
    receiver.start()
    socat = start_socat(sender, receiver)
    jumps = 0
    while socat.poll() is None:
        for clock, days in zip(clocks, ((-400, 400), (400, -400), (0, 0))[jumps % 3], strict=True):
            with clock.open("r+b") as file:
                file.write(struct.pack("d", days * float(DAY)))
        jumps += 1
        time.sleep(0.05)
    assert socat.returncode == 0
    assert jumps > 10
    assert content_of(receiver.storage) == expected
    assert content_of(sender.storage) == []


def test_a_name_that_is_taken_by_other_content_is_left_and_both_are_kept(sender, receiver):
    for side, content in ((sender, b"new"), (receiver, b"old")):
        put(side, "/host/etc", content)
    move(sender, receiver)
    assert content_of(receiver.storage) == [("/host/etc", b"new"), ("/host/etc", b"old")]
    assert content_of(sender.storage) == []


TRICKS = (
    "/../../../../outside",
    "/host/../../outside",
    "//outside",
    "/host//outside",
    "/host/./outside",
    "outside",
    "/",
    "",
    "/host/",
    "/.partial/outside",
    "/host/outside\x00",
    "/host/out side",
    "/host/" + "x" * 5000,
    "/x" * 3000,
)


def test_path_tricks_in_the_source_lead_nowhere_and_hinder_nothing(receiver):
    around = {path for path in receiver.base.parent.rglob("*") if receiver.base not in path.parents}
    with RawPeer(receiver.socket) as peer:
        told = peer.serve([*(Offer(source) for source in TRICKS), Offer("/host/good")])
    assert told == [False] * len(TRICKS) + [True]
    assert content_of(receiver.storage) == [("/host/good", b"data")]
    assert {path for path in receiver.base.parent.rglob("*") if receiver.base not in path.parents} == around
    assert sorted(receiver.files()) == [
        "host/20231114221320-good-full.data",
        "host/20231114221320-good-full.info",
    ]
    assert_serves(receiver)


def send_without_end(peer: RawPeer) -> None:
    with contextlib.suppress(OSError):
        for _ in range(10_000):
            peer.send(b"P", bytes(1 << 20))


def send_small_parts_without_end(peer: RawPeer) -> None:
    parts = (b"P" + struct.pack("<I", 1) + b"x") * 10_000
    with contextlib.suppress(OSError):
        for _ in range(10_000):
            peer.connection.sendall(parts)


def send_slowly(peer: RawPeer) -> None:
    with contextlib.suppress(OSError):
        peer.connection.sendall(b"P" + struct.pack("<I", 1 << 20))
        for _ in range(200):
            peer.connection.sendall(b"x")
            time.sleep(0.1)


def send_nothing(peer: RawPeer) -> None:
    peer.receive()


SENDERS = (send_without_end, send_small_parts_without_end, send_slowly, send_nothing)


@pytest.mark.exhaustive
@pytest.mark.parametrize("send", SENDERS)
def test_data_that_never_ends_ends_its_connection_alone_in_bounded_memory(receiver, send):
    assert_serves(receiver)
    before = receiver.peak()
    with RawPeer(receiver.socket) as peer:
        peer.serve([Offer("/host/bad", send=send)])
    receiver.wait_for(lambda: "connection ended" in receiver.log())
    assert receiver.peak() - before <= MEMORY_LIMIT
    assert [source for source, _ in content_of(receiver.storage)] == ["/after/all"]
    with RawPeer(receiver.socket) as peer:
        assert peer.serve([Offer("/host/next")]) == [True]


def test_descriptions_of_the_largest_size_take_bounded_memory(receiver):
    assert_serves(receiver)
    before = receiver.peak()
    offers = [Offer(f"/host/{number}", X=["a" * 100] * 9000) for number in range(20)]
    deep = Offer("/host/deep")
    deep.info = b'["/host/deep", "' + b"[" * 500_000 + b'", null]'
    with RawPeer(receiver.socket) as peer:
        peer.serve([*offers, deep])
    assert receiver.peak() - before <= MEMORY_LIMIT
    with RawPeer(receiver.socket) as peer:
        assert peer.serve([Offer("/host/next")]) == [True]


def test_an_acknowledgement_of_what_was_not_read_deletes_nothing(sender):
    put(sender, "/host/etc", b"precious" * 100_000)
    with RawPeer(sender.socket) as peer:
        peer.ask("getPolicyInfo")
        peer.ask("startTransaction", None)
        assert peer.ask("nextDataElement", False) == b"true"
        peer.ask("nextDataElement", True)
    with RawPeer(sender.socket) as peer:
        peer.ask("startTransaction", None)
        assert peer.ask("nextDataElement", False) == b"true"
        peer.send(b"S", b'["getDataElementStream"]')
        # It is gone in the middle of it.
    sender.wait_for(lambda: sender.log().count(" ended") >= 2)
    assert content_of(sender.storage) == [("/host/etc", b"precious" * 100_000)]


def test_a_client_that_takes_nothing_is_given_up_and_the_next_is_served(sender):
    put(sender, "/host/etc", b"precious" * 1_000_000)
    before = sender.peak()
    with RawPeer(sender.socket) as peer:
        peer.ask("startTransaction", None)
        assert peer.ask("nextDataElement", False) == b"true"
        peer.send(b"S", b'["getDataElementStream"]')
        sender.wait_for(lambda: "connection ended" in sender.log())
    assert sender.peak() - before <= MEMORY_LIMIT
    with RawPeer(sender.socket) as peer:
        peer.ask("startTransaction", None)
        assert peer.ask("nextDataElement", False) == b"true"
    assert content_of(sender.storage) == [("/host/etc", b"precious" * 1_000_000)]


def test_twenty_silent_peers_keep_no_other_waiting(receiver):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(RawPeer(receiver.socket))
        assert_serves(receiver)
