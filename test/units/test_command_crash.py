"""A generator that is killed at any call leaves nothing that blocks, forks or breaks a chain of dumps."""

import json
import shutil

import pytest
from command_bench import URL, CommandBench
from unit_bench import follow_chain, read_elements
from victim import Victim

pytestmark = pytest.mark.exhaustive

MAX_CALLS = 200
"""More calls than a run makes: the numbers end when a run comes to its end."""


@pytest.fixture(scope="module")
def victim():
    process = Victim("command_bench:CommandBench")
    yield process
    process.close()


@pytest.mark.parametrize("is_moved", [False, True], ids=["kept", "moved"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "another"])
def test_a_run_killed_at_any_call_is_made_good_by_the_next(victim, tmp_path, is_first, is_moved):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one").write_text("before")
    origin = CommandBench(tmp_path / "origin", tree)
    if not is_first:
        assert origin.run().error is None
    (tree / "one").write_text("content")
    calls = []
    for number in range(1, MAX_CALLS):
        base = tmp_path / "copy"
        shutil.copytree(origin.base, base)
        calls.append(victim.kill(number, base, tree))
        check_recovery(base, tree, is_moved)
        shutil.rmtree(base)
        if calls[-1] == "ended":
            break
    assert calls[-1] == "ended"
    assert {"fsync", "link", "open", "unlink", "rename", "write"} <= set(calls)


def check_recovery(base, tree, is_moved):
    bench = CommandBench(base, tree)
    bench.now += 20_000
    moved = []
    if is_moved:
        moved = read_elements(bench.storage, URL)
        for element in list(bench.storage.query_backup_data_elements()):
            element.delete()
    assert bench.run().error is None
    chain = follow_chain([*moved, *read_elements(bench.storage, URL)])
    assert chain[-1]["data"] == b"content"
    assert {element["data"] for element in chain} <= {b"before", b"content"}
    assert not (bench.state / "state.pending").exists()
    assert json.loads((bench.state / "state.current").read_text())[URL]["LastUuid"] == chain[-1]["DataUuid"]
    bench.storage.close()
