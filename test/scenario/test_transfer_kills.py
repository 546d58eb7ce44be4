"""Goal: killed at random while elements move, the sender, the receiver and what joins them lose no element,
store none twice, show none that is not whole, and delete none that is not elsewhere. In the end all moved.

SOAK_KILLS says how often something is killed (100 without it); SOAK_SEED repeats what chance did.
"""

import hashlib
import json
import os
import random
import time
from base64 import b64decode
from pathlib import Path

import pytest
from transfer_side import PATIENCE, RECEIVES, SENDS, Side, digest, start_socat

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.registry import open_storage

pytestmark = pytest.mark.exhaustive

KILLS = int(os.environ.get("SOAK_KILLS", "100"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
SOURCES = ("/root", "/alpha/etc", "/alpha/log", "/alpha/log.members", "/beta/deep/down/mail")
SIZES = (0, 1, 1000, 1000, 1000, 2000, 70_000, 300_000, 3_000_000)
START = 1_700_000_000


class Writer:
    """Adds elements to a storage, as a generator does, and knows what it has added."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.chance = chance
        self.storage = open_storage(str(directory))
        self.written: dict[bytes, tuple[str, bytes]] = {}
        """DataUuid -> source and metadata."""
        self._last: dict[str, bytes] = {}

    def add(self, count: int) -> None:
        for _ in range(count):
            source, size = self.chance.choice(SOURCES), self.chance.choice(SIZES)
            content = self.chance.randbytes(size)
            uuid = self.chance.randbytes(16)
            metainfo = BackupElementMetainfo(
                {
                    "BackupType": "full" if source not in self._last else "inc",
                    "DataUuid": uuid,
                    "Predecessor": self._last.get(source),
                    "StorageFileChecksumSha512": hashlib.sha512(content).digest(),
                    "Timestamp": START + len(self.written) // 3,
                }
            )
            self._last[source] = uuid
            self.written[uuid] = (source, metainfo.serialize())
            with self.storage.get_sink_handle(SourceUrl(source)) as handle:
                handle.write(content)
                handle.close(metainfo)


class Shown:
    """The elements that a storage shows; each is read once, when it is first seen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: dict[Path, bytes] = {}

    def look(self, writer: Writer) -> dict[bytes, Path]:
        """DataUuid -> `.info` of each, which was written so and is whole."""
        shown: dict[bytes, Path] = {}
        for path in self.directory.rglob("*.info"):
            uuid = self._known.get(path)
            if uuid is None:
                try:
                    uuid = self._read(path, writer)
                except FileNotFoundError:
                    continue  # it is being deleted
            assert uuid not in shown, f"stored twice: {path} and {shown[uuid]}"
            shown[uuid] = path
        return shown

    def _read(self, path: Path, writer: Writer) -> bytes:
        text = path.read_bytes()
        values = json.loads(text)
        uuid = b64decode(values["DataUuid"])
        source, metadata = writer.written[uuid]
        folder = "/" + str(path.parent.relative_to(self.directory))
        assert path.name.partition("-")[2].rpartition("-")[0] == source.rpartition("/")[2]
        assert folder.rstrip("/.") == source.rpartition("/")[0]
        assert text == metadata, path
        assert digest(path.with_suffix(".data")) == b64decode(values["StorageFileChecksumSha512"]).hex(), path
        self._known[path] = uuid
        return uuid


class Soak:
    """Two services, what joins them, and a writer."""

    def __init__(self, base: Path) -> None:
        self.chance = random.Random(SEED)
        self.sender, self.receiver = Side(base / "s", SENDS), Side(base / "r", RECEIVES)
        self.writer = Writer(self.sender.storage, self.chance)
        self.sent, self.received = Shown(self.sender.storage), Shown(self.receiver.storage)
        self._socat = None
        self.joined = 0

    def run(self) -> None:
        """Have all running that should."""
        for side in (self.sender, self.receiver):
            if not side.is_running:
                side.start(wait=False)
        if self._socat is None or self._socat.poll() is not None:
            self._socat = start_socat(self.sender, self.receiver, quick=True)
            self.joined += 1

    def kill_once(self) -> None:
        """Let some elements move, or none, and kill one of the three."""
        self.run()
        self.writer.add(self.chance.randrange(20))
        enough = self.receiver.count() + self.chance.choice((0, 0, 1, 2, 5, 10))
        deadline = time.monotonic() + 5
        while self.receiver.count() < enough and self.sender.count() > 0 and time.monotonic() < deadline:
            time.sleep(0.01)
            self.run()
        time.sleep(self.chance.random() * self.chance.choice((0.01, 0.1)))
        victim = self.chance.choice((self.sender, self.receiver, self._socat))
        victim.kill()
        if victim is self._socat:
            victim.wait()

    def check(self) -> None:
        """What the sender has no more, the receiver has."""
        left = self.sent.look(self.writer)
        here = self.received.look(self.writer)
        lost = self.writer.written.keys() - left.keys() - here.keys()
        assert not lost, f"{len(lost)} elements lost (seed {SEED})"

    def finish(self) -> None:
        """Kill nothing more, and wait until all have moved."""
        for side in (self.sender, self.receiver):
            side.kill()
        deadline = time.monotonic() + PATIENCE
        while self.sender.count() > 0:
            self.run()
            time.sleep(0.1)
            assert time.monotonic() < deadline, self.receiver.log()[-5000:]

    def close(self) -> None:
        if self._socat is not None:
            self._socat.kill()
            self._socat.wait()
        self.sender.close()
        self.receiver.close()
        self.writer.storage.close()


@pytest.fixture
def soak(short_directory):
    made = Soak(short_directory)
    yield made
    made.close()


@pytest.mark.timeout(300 + 5 * KILLS)
def test_killed_at_random_a_transfer_loses_nothing_and_stores_nothing_twice(soak):
    print(f"SOAK_SEED={SEED}")
    for number in range(KILLS):
        soak.kill_once()
        if number % 5 == 0:
            soak.check()
    moved = soak.receiver.count()
    soak.finish()
    soak.check()
    assert soak.received.look(soak.writer).keys() == soak.writer.written.keys(), f"seed {SEED}"
    with open_storage(str(soak.receiver.storage)) as storage:
        assert len(list(storage.query_backup_data_elements())) == len(soak.writer.written)
    total = len(soak.writer.written)
    print(f"{KILLS} kills, {soak.joined} connections; of {total} elements {moved} moved meanwhile")
    assert KILLS < 50 or moved > KILLS, "hardly anything was moving while it was killed"
