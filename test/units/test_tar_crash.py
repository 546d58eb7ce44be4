"""A generator that is killed, at whatever call, leaves nothing that blocks, forks or breaks the chain."""

import json
import shutil
import time

import pytest
from tar_bench import URL, TarBench, follow_chain, members, read_elements, unpack
from trees import describe_tree
from victim import Victim

from guerillabackup.events import SourceWarning
from guerillabackup.units.tar_clock import FINE_TIMES

pytestmark = pytest.mark.exhaustive

MAX_CALLS = 400
"""More calls than a run makes: the numbers end when a run comes to its end."""


@pytest.fixture(scope="module")
def victim():
    process = Victim("tar_bench:TarBench")
    yield process
    process.close()


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for name in ("one", "two", "folder/three"):
        (tree / name).write_text(name)
    return tree


def change(tree):
    (tree / "one").write_text("changed")
    (tree / "two").unlink()
    (tree / "new").write_text("new")


class Spools:
    """The storage of a unit, and what a transfer took out of it."""

    def __init__(self, bench: TarBench) -> None:
        self._bench = bench
        self._moved: list[dict] = []

    def transfer(self) -> None:
        """Everything goes on its way."""
        for url in (URL, f"{URL}.members"):
            self._moved += read_elements(self._bench.storage, url)
        for element in list(self._bench.storage.query_backup_data_elements()):
            element.delete()

    def chain(self, url: str) -> list[dict]:
        """All elements there ever were, and each of them once."""
        source = url.removesuffix(".members").rpartition("/")[2] + url.removeprefix(URL)
        moved = [element for element in self._moved if element["id"].source_url.name == source]
        here = read_elements(self._bench.storage, url)
        return follow_chain([*moved, *here])


@pytest.mark.parametrize("is_moved", [False, True], ids=["kept", "moved"])
@pytest.mark.parametrize("kind", ["full", "inc", "another full"])
def test_a_run_killed_at_any_call_is_made_good_by_the_next(victim, tree, tmp_path, kind, is_moved):
    origin = TarBench(tmp_path / "origin", tree)
    if kind != "full":
        assert origin.run(KeepIndices=2).error is None
    if kind == "another full":
        (origin.state / "host-tree.index").unlink()
    change(tree)
    time.sleep(2 * FINE_TIMES)  # what changes within a tick of a backup is archived twice
    calls = []
    for number in range(1, MAX_CALLS):
        base = tmp_path / "copy"
        shutil.copytree(origin.base, base, symlinks=True)
        calls.append(victim.kill(number, base, tree))
        check_recovery(base, tree, is_moved)
        shutil.rmtree(base)
        if calls[-1] == "ended":
            break
    assert calls[-1] == "ended"
    assert {"fsync", "link", "open", "unlink", "rename", "write"} <= set(calls)
    assert len(calls) > 40


def check_recovery(base, tree, is_moved):
    bench = TarBench(base, tree)
    spools = Spools(bench)
    bench.now += 20_000
    if is_moved:
        spools.transfer()
    assert bench.run().error is None
    if not is_moved:
        # Index and memory belong together, wherever the run was ended.
        told = [event.message for event in bench.events if isinstance(event, SourceWarning)]
        assert [text for text in told if "is not there any more" not in text] == []  # the test's own doing
    chain = spools.chain(URL)
    companions = spools.chain(f"{URL}.members")
    assert [companion["MembersOf"] for companion in companions] == [element["DataUuid"] for element in chain]
    assert not (bench.state / "state.pending").exists()
    assert json.loads((bench.state / "state.current").read_text())[URL][2] == chain[-1]["DataUuid"]
    # Index and last element belong together: nothing that is in it is archived again, and all is restored.
    assert bench.run().error is None
    chain = spools.chain(URL)
    assert [name for name in members(chain[-1]) if not name.endswith("/")] == []
    target = base / "restored"
    target.mkdir()
    unpack(chain, target)
    assert describe_tree(target) == describe_tree(tree)
    bench.storage.close()
