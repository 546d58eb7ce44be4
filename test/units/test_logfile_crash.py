"""A log unit that is killed, at whatever call, loses no log, and no chain forks."""

import gzip
import json
import shutil

import pytest
from log_bench import LogBench
from unit_bench import follow_chain, read_elements
from victim import Victim

pytestmark = pytest.mark.exhaustive

MAX_CALLS = 600
"""More calls than a run makes: the numbers end when a run comes to its end."""
SOURCES = ("app.log", "web.log")


@pytest.fixture(scope="module")
def victim():
    process = Victim("log_bench:WholeRunBench")
    yield process
    process.close()


def log_all(bench):
    """What there is to be stored of each source, oldest first."""
    bench.log("app.log.3", b"three", age=1)
    bench.log("app.log.2.gz", gzip.compress(b"two"), age=2)
    bench.log("app.log.1", b"one", age=3)
    bench.log("web.log.1", b"web", age=4)
    return {"app.log": [b"three", b"two", b"one"], "web.log": [b"web"]}


def begin(base, has_chain):
    """A unit before the run that is killed; what its sources' elements are to hold in the end."""
    bench = LogBench(base)
    if has_chain:
        bench.log("app.log.1", b"earlier")
        bench.run()
    wanted = log_all(bench)
    if has_chain:
        wanted["app.log"].insert(0, b"earlier")
    bench.storage.close()
    return wanted


@pytest.mark.parametrize(
    ("has_chain", "meanwhile"),
    [(False, "nothing"), (True, "nothing"), (True, "moved"), (True, "rotated")],
)
def test_a_run_killed_at_any_call_is_made_good_by_the_next(victim, tmp_path, has_chain, meanwhile):
    calls, repeated = [], 0
    base = tmp_path / "base"
    for number in range(1, MAX_CALLS):
        wanted = begin(base, has_chain)
        calls.append(victim.kill(number, base, base / "logs"))
        repeated += check_recovery(base, wanted, meanwhile)
        shutil.rmtree(base)
        if calls[-1] == "ended":
            break
    assert calls[-1] == "ended"
    assert {"fsync", "link", "open", "unlink", "rename", "write"} <= set(calls)
    assert len(calls) > 60
    # Only what was moved on before it was noted that it is stored can be there twice.
    assert repeated == 0 or meanwhile == "moved"


def check_recovery(base, wanted, meanwhile):
    """The next run makes all good; how many elements there are more than once."""
    bench = LogBench(base)
    bench.now += 20_000
    moved = {name: [] for name in SOURCES}
    if meanwhile == "moved":
        for name in SOURCES:
            moved[name] = read_elements(bench.storage, bench.url(name))
        for element in list(bench.storage.query_backup_data_elements()):
            element.delete()
    elif meanwhile == "rotated":
        for path in sorted(bench.logs.iterdir(), key=lambda path: path.name, reverse=True):
            name, number = path.name.removesuffix(".gz").rsplit(".", 1)
            path.rename(path.with_name(f"{name}.{int(number) + 1}{path.name[len(name) + 1 + len(number) :]}"))
    outcomes = bench.run()
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    assert bench.names() == []
    # The next state.pending takes the place of a temporary one.
    left = {path.name for path in bench.state.iterdir()}
    assert left - {"state.pending.tmp", "state.old"} == {"state.current"}
    repeated = 0
    uuids = json.loads((bench.state / "state.current").read_text())[1]
    for name in SOURCES:
        chain = follow_chain([*moved[name], *read_elements(bench.storage, bench.url(name))])
        contents = [element["data"] for element in chain]
        repeated += len(contents) - len(wanted[name])
        assert list(dict.fromkeys(contents)) == wanted[name]
        assert uuids[bench.url(name)] == chain[-1]["DataUuid"]
    bench.storage.close()
    return repeated
