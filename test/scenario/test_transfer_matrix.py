"""Goal: whoever sends and whoever receives, ours or the original 0.5.0, joined by socat or directly, every
element arrives byte by byte, data and metadata, and then is gone from the sender, or marked there.

The original is never joined to itself, and as a sender it cannot mark: told to, it does not start.
"""

import hashlib
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from original_peer import Original
from transfer_side import RECEIVES, SENDS, SENDS_AND_MARKS, Side, start_socat

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.interface import SinkInterface
from guerillabackup.storage.registry import open_storage

DAY = 86400
START = 1_700_000_000
HUGE = 64 << 20
EMPTY = "/alpha/none"
CHAIN_SIZES = (1, 1023, 1 << 16, (1 << 16) + 1, 1 << 20, (3 << 20) + 17)
SERIAL = re.compile(r"(\d{14})\d+(?=-)")
SMALL, SMALL_OF_THE_ORIGINAL = 1000, 200
"""How many small elements: the original is quadratic in them, and one cell shows the larger number."""
CELLS = [
    pytest.param(
        sender, receiver, way, keeps, id=f"{sender}-to-{receiver}-{way}-{'mark' if keeps else 'move'}"
    )
    for sender, receiver in (("ours", "ours"), ("ours", "original"), ("original", "ours"))
    for way in ("socat", "direct")
    for keeps in ((False, True) if sender == "ours" else (False,))
]


def put(
    sink: SinkInterface, source: str, content: bytes, day: float, before: bytes | None = None, times: int = 1
) -> bytes:
    """Store an element of so many times that content; its DataUuid."""
    uuid = hashlib.sha512(f"{source} {day} {random.random()}".encode()).digest()
    checksum = hashlib.sha512()
    with sink.get_sink_handle(SourceUrl(source)) as handle:
        for _ in range(times):
            checksum.update(content)
            handle.write(content)
        values = {
            "BackupType": "full" if before is None else "inc",
            "DataUuid": uuid,
            "HandlingPolicy": ["default", "level 2/weekly"],
            "MetaDataSignature": b"\x00\xff no signature",
            "Predecessor": before,
            "SourceUrl": source,
            "StorageFileChecksumSha512": checksum.digest(),
            "StorageFileSignature": None,
            "Timestamp": START + int(day * DAY),
            "X-Unknown": {"kept": [1, 2.5, None, "ä"]},
        }
        handle.close(BackupElementMetainfo(values))
    return uuid


def fill(directory: Path, small: int) -> None:
    """Several folders, chains, elements of one second, many small ones, one of 0 bytes, a huge one last."""
    storage = open_storage(str(directory))
    try:
        for source in ("/root", "/alpha/etc", "/alpha/deep/down/mail", "/alpha/etc.members"):
            before = None
            for day, size in enumerate(CHAIN_SIZES):
                before = put(storage, source, random.randbytes(size), day, before)
        before = None
        for number in range(3):
            before = put(storage, "/beta/often", random.randbytes(number + 1), 0, before)
        put(storage, EMPTY, b"", 0)
        before = None
        with storage.open_batch() as batch:
            for number in range(small):
                content = random.randbytes(random.randrange(1, 2000))
                before = put(batch, "/beta/log", content, number / 100, before)
        put(storage, "/huge", random.randbytes(1 << 20), 0, times=HUGE >> 20)
    finally:
        storage.close()


class Pair:
    """A sender and a receiver, and what joins them, which can be cut."""

    def __init__(self, sender: Side, receiver: Side, way: str) -> None:
        self.sender, self.receiver = sender, receiver
        self._dialler = None
        self._socat: subprocess.Popen[bytes] | None = None
        if way == "direct":
            # The original dials nobody.
            self._dialler, listener = (receiver, sender) if receiver.original is None else (sender, receiver)
            peer = {"Connect": str(listener.socket), "Interval": 86400}
            self._dialler.configure(TransferPeers={"peer": peer}, TransferSocket=False)

    def connect(self) -> None:
        for side in (self.sender, self.receiver):
            if side is not self._dialler and not side.is_running:
                side.start()
        if self._dialler is None:
            self._socat = start_socat(self.sender, self.receiver)
        else:
            self._dialler.log_path.unlink(missing_ok=True)
            self._dialler.start(wait=False)

    def cut(self) -> None:
        """End the connection in the middle.

        The original's service does not always survive that: it is started again. What one that was killed
        had half received or half removed is taken away: the original would end each connection over it, and
        data without metadata, as ours leaves, are no element.
        """
        if self._dialler is not None:
            self._dialler.kill()
            remove_halves(self._dialler.storage)
        else:
            assert self._socat is not None
            self._socat.kill()
            self._socat.wait()
        for side in (self.sender, self.receiver):
            if side.original is not None:
                side.kill()
                remove_halves(side.storage)
            elif side.is_running:
                # Until then it keeps to itself what it was about to offer.
                side.wait_for(side.is_at_rest)

    def finish(self) -> None:
        """Wait until both sides have agreed to the end."""
        if self._dialler is None:
            assert self._socat is not None
            assert self._socat.wait(120) == 0, self.logs()
            for side in (self.sender, self.receiver):
                if side.original is None:
                    side.wait_for(lambda side=side: "ended as agreed" in side.log())
        else:
            self._dialler.wait_for(lambda: "ended as agreed" in self._dialler.log())
            assert self._dialler.end() == 0

    def logs(self) -> str:
        return f"sender: {self.sender.log()}\nreceiver: {self.receiver.log()}"

    def close(self) -> None:
        if self._socat is not None:
            self._socat.kill()
            self._socat.wait()
        self.sender.close()
        self.receiver.close()


@pytest.fixture
def make_pair(original: Original, short_directory: Path) -> Iterator[object]:
    with ExitStack() as stack:

        def make(sender: str, receiver: str, way: str, keeps: bool, small: int) -> Pair:
            who = {"ours": None, "original": original}
            sends = SENDS_AND_MARKS if keeps else SENDS
            pair = Pair(
                Side(short_directory / "s", sends, who[sender]),
                Side(short_directory / "r", RECEIVES, who[receiver]),
                way,
            )
            stack.callback(pair.close)
            fill(pair.sender.storage, small)
            return pair

        yield make


def elements(files: dict[str, str]) -> dict[tuple[str, str], str]:
    """Name and data -> metadata; of elements of one second the original has an order of its own."""
    infos = {path.removesuffix(".info"): digest for path, digest in files.items() if path.endswith(".info")}
    return {(SERIAL.sub(r"\1", path), files[f"{path}.data"]): info for path, info in infos.items()}


def check(pair: Pair, before: dict[str, str], keeps: bool, claimed: frozenset[str] = frozenset()) -> None:
    """All of `before` arrived, and nothing else; the sender has nothing, or all of it, marked.

    It has `claimed` as well: what an original says it holds was stored when a connection was cut.
    """
    takes_empty = pair.receiver.original is None
    moved = {path: digest for path, digest in before.items() if takes_empty or "-none-" not in path}
    received = pair.receiver.files()
    assert elements(received) == elements(moved)
    if takes_empty:
        assert len(received) == len(moved), "files are left that belong to no element"
    left = pair.sender.files()
    stays = {
        path: digest
        for path, digest in before.items()
        if keeps or path not in moved or path.rpartition(".")[0] in claimed
    }
    assert {path: digest for path, digest in left.items() if path in before} == stays
    infos = {path.removesuffix(".info") for path in moved if path.endswith(".info")}
    assert marked(left, "transferred") == (infos - claimed if keeps else set())


def remove_halves(storage: Path) -> None:
    """Take away what a kill leaves of an element: one of its two files, and files of the original's own."""
    partner = {".data": ".info", ".info": ".data"}
    for path in list(storage.rglob("*")):
        is_alone = path.suffix in partner and not path.with_suffix(partner[path.suffix]).exists()
        if path.is_file() and (is_alone or path.suffix == ".tmp" or path.name.startswith("tmp-")):
            path.unlink()


def marked(files: dict[str, str], name: str) -> frozenset[str]:
    """The elements that have an attribute."""
    return frozenset(path.rpartition(".")[0] for path in files if path.endswith(f".{name}"))


@pytest.mark.parametrize(("sender", "receiver", "way", "keeps"), CELLS)
def test_every_element_arrives_byte_by_byte(make_pair, sender, receiver, way, keeps):
    small = SMALL if sender == receiver == "ours" and not keeps else SMALL_OF_THE_ORIGINAL
    pair = make_pair(sender, receiver, way, keeps, small)
    before = pair.sender.files()
    for _ in range(2):  # the second time there is nothing to move
        pair.connect()
        pair.finish()
        check(pair, before, keeps)
    for side in (pair.sender, pair.receiver):
        if side.original is not None:
            assert (side.is_running, side.log()) == (True, "")
        elif receiver == "original":
            assert "is not offered to" in side.log()
            assert "0 bytes" in side.log()
        else:
            lines = [line for line in side.log().splitlines() if ": info: " not in line]
            assert [line for line in lines if "begins a new chain" not in line] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(("sender", "receiver", "way", "keeps"), CELLS)
def test_a_transfer_that_is_cut_goes_on_where_it_was(make_pair, sender, receiver, way, keeps):
    pair = make_pair(sender, receiver, way, keeps, SMALL_OF_THE_ORIGINAL)
    before = pair.sender.files()
    total = sum(path.endswith(".info") for path in before)
    for share in (0.1, 0.5, 0.9):
        pair.connect()
        pair.receiver.wait_for(lambda share=share: pair.receiver.count() > share * total)
        pair.cut()
    pair.connect()
    pair.finish()
    claimed = marked(pair.sender.files(), "claimed")
    assert len(claimed) <= (0 if pair.receiver.original is None else 3)
    remove_halves(pair.sender.storage)
    check(pair, before, keeps, claimed)
