"""Goal: two services that both send and receive, and a service that is led back to itself, lose no element.

BOTH_SEED repeats what chance did.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from transfer_service_host import RECEIVES, SENDS, TransferHost

SEED = int(os.environ.get("BOTH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ELEMENTS = 100
KILLS = 6
ROUNDS = 300
"""Times that the one that is left is asked for all it has: far more than it takes."""


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def dials(name: str, host: Path) -> str:
    return (
        f"TransferPeers = {{{name!r}: {{'Connect': {str(host / 'run/transfer.socket')!r}, 'Interval': 1}}}}"
    )


def counts(*hosts: TransferHost) -> dict[str, int]:
    """How many copies of each element there are; each is whole, or reading it would raise."""
    found: dict[str, int] = {}
    for host in hosts:
        for source, data in host.content().items():
            assert data == source.encode() * 10
            found[source] = found.get(source, 0) + 1
    return found


@pytest.mark.exhaustive
def test_two_that_move_all_to_each_other_and_are_killed_keep_every_element(base: Path) -> None:
    chance = random.Random(SEED)
    print(f"BOTH_SEED={SEED}")
    with ExitStack() as stack:
        hosts = [
            stack.enter_context(
                closing(TransferHost(base / own, SENDS, RECEIVES, dials(other, base / other)))
            )
            for own, other in (("a", "b"), ("b", "a"))
        ]
        sources = [f"/host/{number}" for number in range(ELEMENTS)]
        for number, source in enumerate(sources):
            # A third is there, a third here, and of a third both have a copy.
            values = {"Timestamp": 1_700_000_000 + number, "DataUuid": source.encode()}
            for host in (hosts[:1], hosts[1:], hosts)[number % 3]:
                host.store(source, source.encode() * 10, **values)
        for host in hosts:
            host.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.5))
            victim = chance.choice(hosts)
            victim.end(signal.SIGKILL)
            victim.start()
        time.sleep(3)
        for host in hosts:
            assert host.end() == 0
        found = counts(*hosts)
        assert sorted(found) == sorted(sources), f"BOTH_SEED={SEED}"

        # Settled: one of the two only takes from now on.
        taker, giver = hosts
        giver.write_config(SENDS)
        taker.write_config(RECEIVES, dials("b", base / "b"))
        giver.start()
        for _ in range(ROUNDS):
            taker.run("transfer", "connect", "b")
            if not giver.content():
                break
        giver.end()
        assert counts(*hosts) == dict.fromkeys(sources, 1), f"BOTH_SEED={SEED}"


@pytest.mark.parametrize("way", ["its own socket", "an echo"])
def test_a_service_that_is_led_back_to_itself_says_so_and_keeps_all(base: Path, way: str) -> None:
    connect = str(base / "a/run/transfer.socket") if way == "its own socket" else ["cat"]
    peers = f"TransferPeers = {{'me': {{'Connect': {connect!r}}}}}"
    with closing(TransferHost(base / "a", SENDS, RECEIVES, peers)) as host:
        for number in range(10):
            host.store(f"/host/{number}", b"x")
        host.start()
        dialled = host.run("transfer", "connect", "me")
        assert dialled.returncode == 3
        host.end()
        assert "peer me: connection ended: it is this service itself" in host.log()
        assert len(host.content()) == 10


def test_two_services_on_one_storage_say_so_and_keep_all(base: Path) -> None:
    with (
        closing(TransferHost(base / "a", SENDS)) as one,
        closing(TransferHost(base / "b", SENDS, RECEIVES, dials("a", base / "a"))) as two,
    ):
        two.data.rmdir()
        two.data.symlink_to(one.data)
        for number in range(10):
            one.store(f"/host/{number}", b"x")
        one.start()
        two.start()
        two.wait_for(lambda: "peer a: connection ended: it works on the same storage" in two.log())
        one.wait_for(lambda: "peer socket: connection ended: it works on the same storage" in one.log())
        assert (one.end(), two.end()) == (0, 0)
        assert len(one.content()) == 10
