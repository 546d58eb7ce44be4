"""Goal: killed at random, again and again, with the clock jumping, the generator loses no element, forks no
chain and never comes to a stop: the next start always goes on.

SOAK_KILLS says how often it is killed (30 without it); SOAK_SEED repeats what chance did.
"""

import os
import random
import signal
import struct
import time

import pytest
from service_host import ServiceHost
from tar_bench import follow_chain, read_elements, unpack
from trees import describe_tree

from guerillabackup.element import SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage

pytestmark = pytest.mark.exhaustive

KILLS = int(os.environ.get("SOAK_KILLS", "30"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
DAY = 86400
TREES = ("/host/one", "/host/two", "/host/three")
LOGS = "/host/log"
LOG_DEFINITION = "from guerillabackup.units.logfile import LogfileBackupUnit as backupGeneratorUnitClass\n"


class Soak:
    """A host with three trees and a log directory, which change all the time; its clock is wrong."""

    def __init__(self, base, chance):
        self.chance = chance
        self.host = ServiceHost(base)
        self.clock = base / "clock"
        self.offset = 0.0
        self.set_clock()
        self.roots = {url: base / url.rpartition("/")[2] for url in TREES}
        for root in self.roots.values():
            (root / "folder").mkdir(parents=True)
        self.logs = base / "logs"
        self.logs.mkdir()
        self.written = []
        self.seen = {}
        timing = {"FullBackupTiming": [3600, 2 * DAY, None, 0], "IncBackupTiming": [0, DAY, None, 0]}
        sources = {url: {"Root": str(root), **timing} for url, root in self.roots.items()}
        self.host.add_tar("Tar", {url: sources[url] for url in TREES[:2]})
        self.host.add_tar("Other", {url: sources[url] for url in TREES[2:]})
        (self.host.conf / "units" / "Log").write_text(LOG_DEFINITION)
        entry = (str(self.logs), r"^(app)\.(?P<serial>[0-9]+)$", LOGS, None, None)
        overlay = f"LogBackupUnitInputList = [{entry!r}]\n"
        (self.host.conf / "units" / "Log.config").write_text(overlay)

    def set_clock(self):
        if self.clock.exists():
            with self.clock.open("r+b") as file:
                file.write(struct.pack("d", self.offset))
        else:
            self.clock.write_bytes(struct.pack("d", self.offset))

    def jump(self):
        self.offset += self.chance.choice((-400 * DAY, -DAY, -3600, -1, 0, 0, 3600, DAY, 400 * DAY))
        self.offset = max(self.offset, -800 * DAY)
        self.set_clock()

    def change(self):
        for root in self.roots.values():
            name = f"folder/{self.chance.randrange(20)}"
            if self.chance.random() < 0.3:
                (root / name).unlink(missing_ok=True)
            else:
                (root / name).write_bytes(self.chance.randbytes(self.chance.choice((10, 10_000, 1_000_000))))
        name = f"app.{len(self.written)}"
        self.written.append(f"lines of {name}\n".encode())
        (self.logs / f".{name}").write_bytes(self.written[-1])
        (self.logs / f".{name}").rename(self.logs / name)

    def start(self, **more):
        self.host.start(GENERATOR_CLOCK=str(self.clock), GENERATOR_RETRY="0.2", **more)

    def kill_once(self):
        """Start it, let it work for a while, disturb it, kill it."""
        self.change()
        self.start(wait=self.chance.random() < 0.8)
        for _ in range(self.chance.randrange(3)):
            time.sleep(self.chance.random() * 0.3)
            self.disturb()
        self.host.process.kill()
        self.host.process.wait()

    def disturb(self):
        what = self.chance.randrange(4)
        if what == 0:
            self.jump()
        elif what == 1:
            self.change()
        elif self.host.process.poll() is None and (self.host.runtime / "generator.socket").exists():
            if what == 2:
                self.host.wait_for_answer("trigger", "Tar", "Other", "Log")
            else:
                self.host.send(signal.SIGHUP)

    def elements(self):
        with DefaultFileStorage(str(self.host.data)) as storage:
            urls = [*TREES, *(f"{url}.members" for url in TREES), LOGS]
            return {url: read_elements(storage, SourceUrl(url).text) for url in urls}

    def check(self):
        """What was stored once is still there, and each chain is one."""
        if not self.host.data.exists():
            return
        for url, elements in self.elements().items():
            identities = {(str(element["id"]), element["DataUuid"]) for element in elements}
            assert self.seen.get(url, set()) <= identities, f"{url} lost an element (seed {SEED})"
            self.seen[url] = identities
            follow_chain(elements)


@pytest.fixture
def soak(short_directory):
    made = Soak(short_directory, random.Random(SEED))
    yield made
    made.host.close()


@pytest.mark.timeout(120 + 10 * KILLS)
def test_killed_at_random_it_loses_nothing_forks_nothing_and_goes_on(soak):
    print(f"SOAK_SEED={SEED}")
    for number in range(KILLS):
        soak.kill_once()
        if number % 5 == 0:
            soak.check()
    # Now everything has to come right by itself, but for what is due: that is asked for.
    soak.start()
    for unit in ("Tar", "Other", "Log"):
        outcome = soak.host.ask("trigger", unit, wait=True)["messages"][-1]["outcome"]
        errors = [outcome["error"], *(source["error"] for source in outcome["sources"])]
        assert not any(errors), f"{errors} (seed {SEED}): {soak.host.log()[-5000:]}"
    assert soak.host.ask("status")["hung"] == []
    assert soak.host.end() == 0
    soak.check()
    elements = soak.elements()
    for url, root in soak.roots.items():
        target = soak.host.base / "restored"
        target.mkdir()
        unpack(follow_chain(elements[url]), target)
        assert describe_tree(target) == describe_tree(root), f"{url} (seed {SEED})"
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        target.rmdir()
    assert [element["data"] for element in follow_chain(elements[LOGS])] == soak.written
    assert list(soak.logs.iterdir()) == []
    counts = {url: len(items) for url, items in elements.items()}
    print(f"{KILLS} kills; elements: {counts}")
