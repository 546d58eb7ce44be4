"""A receiver killed at any system call: what was acknowledged is stored, and the next one goes on."""

import concurrent.futures
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_peer import chain, connect
from tracer import Tracer, ordinals

from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy

pytestmark = pytest.mark.exhaustive

CHILD = Path(__file__).with_name("receiving_child.py")
CASES = ["small", "group", "group with one held", "large", "new source", "held", "damaged", "bad"]
CHANGING = frozenset(
    ("linkat", "unlinkat", "unlink", "mkdirat", "mkdir", "fsync", "syncfs", "write", "renameat", "rename")
)


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    one = Tracer(tmp_path_factory.mktemp("traces"), CHILD)
    yield one
    one.close()


def prepare(path: Path, case: str) -> Path:
    """A place with a storage, and in it what the case takes again."""
    (path / "data").mkdir(parents=True)
    if case in ("held", "damaged", "group with one held"):
        with DefaultFileStorage(str(path / "data")) as storage:
            receive(storage, path, chain(1))
    if case == "damaged":
        (data,) = (path / "data" / "host").glob("*.data")
        data.write_bytes(b"damaged")
    return path


def receive(storage, path, elements):
    policy = ReceiverStoreDataTransferPolicy(state_directory=str(path / "state"))
    policy.apply_policy(connect(storage, elements))
    policy.close()


def intact(storage) -> list[bytes]:
    """The data of all elements that are what they claim to be; those that are not were damaged before."""
    found = []
    for element in storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            data = stream.read()
        if hashlib.sha512(data).digest() == element.get_metadata().checksum:
            found.append(data)
        else:
            assert data == b"damaged"
    return found


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_call_nothing_is_acknowledged_that_is_not_stored(tracer, tmp_path, case):
    plain = tracer.run(case, prepare(tmp_path / "plain", case))
    assert plain.outcome == "done"
    injections = [place.replace(":", ":signal=KILL:") for place in ordinals(plain.calls, CHANGING)]
    assert len(injections) >= 3
    places = [prepare(tmp_path / str(number), case) for number in range(len(injections))]
    with concurrent.futures.ThreadPoolExecutor(4, "tracer") as pool:
        runs = list(pool.map(lambda one: tracer.run(case, *one), zip(places, injections, strict=True)))
    for place, run, injection in zip(places, runs, injections, strict=True):
        assert run.was_hit, injection
        acknowledged = (place / "acknowledged").read_bytes().splitlines()
        with DefaultFileStorage(str(place / "data")) as storage:
            stored = intact(storage)
            for line in acknowledged:
                assert any(data.startswith(line) for data in stored), f"{injection}: {line!r} is lost"
            if case == "held":
                assert stored == [chain(1)[0].data]
            # The next connection is offered all of it again.
            source = "/new/folder/log" if case == "new source" else "/host/log"
            elements = chain(3, source, 300_000 if case == "large" else 10)
            receive(storage, place, elements)
            assert [one.acknowledged for one in elements] == [1, 1, 1]
            assert sorted(intact(storage)) == sorted(one.data for one in elements)
            # A crash before a damaged copy is removed leaves it beside the good one, for a verification.
            count = len(list(storage.query_backup_data_elements()))
            assert count == 3 or (case == "damaged" and count == 4), injection
        shutil.rmtree(place)


@pytest.mark.parametrize("case", ["small", "large", "new source"])
def test_everything_is_synced_before_the_acknowledgement(tracer, tmp_path, case):
    calls = tracer.run(case, prepare(tmp_path / "place", case)).calls

    def positions(name, pattern):
        return [at for at, (called, text) in enumerate(calls) if called == name and re.search(pattern, text)]

    links = positions("linkat", r"\.info\"")
    said = positions("write", "/acknowledged>")
    folders = positions("fsync", r"/data/[a-z/]+>")
    assert len(links) == len(said) == (2 if case == "small" else 1)
    for link, acknowledgement in zip(links, said, strict=True):
        assert any(link < sync < acknowledgement for sync in folders)
        before = [at for at in positions("fsync", r"\(deleted\)|/#\d+") if at < link]
        assert len(before) >= 2, "data and metadata"


def test_a_group_is_synced_with_one_sync_before_any_of_it_is_acknowledged(tracer, tmp_path):
    calls = tracer.run("group", prepare(tmp_path / "place", "group")).calls

    def positions(name, pattern):
        return [at for at, (called, text) in enumerate(calls) if called == name and re.search(pattern, text)]

    links = positions("linkat", r"\.info\"")
    said = positions("write", "/acknowledged>")
    assert len(links) == len(said) == 2
    (synced,) = positions("syncfs", "")
    assert synced < links[0]
    assert any(links[-1] < folder < said[0] for folder in positions("fsync", r"/data/[a-z/]+>"))


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("case", ["small", "group", "group with one held", "held", "damaged", "bad"])
def test_an_error_of_any_call_loses_nothing_and_acknowledges_nothing_unstored(tracer, tmp_path, case, error):
    plain = tracer.run(case, prepare(tmp_path / "plain", case))
    names = CHANGING | {"openat", "fstat", "pread64", "preadv"}
    injections = [
        place.replace(":", f":error={error}:")
        for place in ordinals([one for one in plain.calls if "/acknowledged>" not in one[1]], names)
        if not place.startswith("write")
    ]
    places = [prepare(tmp_path / str(number), case) for number in range(len(injections))]
    with concurrent.futures.ThreadPoolExecutor(4, "tracer") as pool:
        runs = list(pool.map(lambda one: tracer.run(case, *one), zip(places, injections, strict=True)))
    for place, run, injection in zip(places, runs, injections, strict=True):
        assert run.outcome is not None
        assert run.outcome == "done" or "StorageError" in run.outcome.split("\n")[0].split(), run.outcome
        acknowledged = (place / "acknowledged").read_bytes().splitlines()
        with DefaultFileStorage(str(place / "data")) as storage:
            stored = intact(storage)
            for line in acknowledged:
                assert any(data.startswith(line) for data in stored), f"{injection}: {line!r} is lost"
        shutil.rmtree(place)
