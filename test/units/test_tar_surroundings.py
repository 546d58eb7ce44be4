"""Runs of a tar unit on a machine that lacks something: space, or the right to read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.generator.timing import Timing
from guerillabackup.units.tar_place import has_coarse_times
from guerillabackup.units.tar_source import TarSource

TOOLS = Path(__file__).parent.parent / "tools"
DEADLINE = 240

MOUNT = """
import os, subprocess, sys
from pathlib import Path
base = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(base / "small")], check=True)
"""

FULL = """
import shutil
from tar_bench import *

def fill(small, pages):
    "All but so many pages; without pages, nothing."
    ballast = small / "ballast"
    ballast.unlink(missing_ok=True)
    if pages is None:
        return
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size // 4096 - pages) * 4096)

tree = base / "tree"
tree.mkdir()
(tree / "file").write_bytes(os.urandom(20_000))
small = base / "small"
for kind in ("full", "inc"):
    failed = noted = 0
    for pages in range(60):
        shutil.rmtree(small / "host", ignore_errors=True)
        bench = TarBench(small / "host", tree)
        if kind == "inc":
            assert bench.run(KeepIndices=1).error is None
            (tree / "more").write_bytes(os.urandom(20_000))
        fill(small, pages)
        try:
            error = bench.run(KeepIndices=1).error
        except StorageError as raised:
            error = raised
        fill(small, None)
        told = [text for text in bench.warnings() if "is stored, but" in text]
        if error is None and not told:
            break
        failed += 1
        noted += bool(told)
        assert told or isinstance(error, StorageError), error
        assert len(bench.chain()) == (kind == "inc") + bool(told)
        error = error or told[0]
        assert "No space left" in str(error) and chr(10) not in str(error), error
        assert list(bench.storage.find_leftovers()) == []
        assert bench.run(KeepIndices=1).error is None
        chain, companions = bench.chain(), bench.chain(URL + ".members")
        assert len(chain) == len(companions) and chain[0]["BackupType"] == "full"
        assert [element["BackupType"] for element in chain[1:]] == ["inc"] * ((kind == "inc") + bool(told))
        assert not (bench.state / "state.pending").exists()
        restored = bench.restore()
        assert sorted(os.listdir(restored)) == sorted(os.listdir(tree))
        shutil.rmtree(restored)
        bench.storage.close()
    else:
        raise AssertionError("never enough space")
    print(kind, failed, noted)
"""

UNREADABLE = """
import os, sys
from pathlib import Path
from tar_bench import *
base = Path(sys.argv[1])
bench = TarBench(base)
(bench.tree / "folder").mkdir()
for name in ("secret", "open", "folder/file"):
    (bench.tree / name).write_text(name)
(bench.tree / "secret").chmod(0)
outcome = bench.run()
print(outcome.error)
outcome = bench.run(IgnoreBackupRaces=True)
print(outcome.error, members(bench.chain()[0]))
print([event.message for event in bench.events if type(event).__name__ == "SourceWarning"])
(bench.tree / "folder").chmod(0)
print(bench.run(IgnoreBackupRaces=True, Include=["folder"]).error)
bench.tree.chmod(0)
print(bench.run(IgnoreBackupRaces=True).error)
bench.tree.chmod(0o700)
(bench.tree / "folder").chmod(0o700)
"""


def run(code: str, base: Path, prefix: list[str]) -> list[str]:
    path = os.pathsep.join([str(TOOLS), str(TOOLS.parent.parent)])
    result = subprocess.run(
        [*prefix, sys.executable, "-c", code, str(base)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_whatever_a_full_disk_stops_the_same_run_succeeds_once_there_is_space(tmp_path):
    (tmp_path / "small").mkdir()
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    imports = "from guerillabackup.errors import StorageError\n"
    lines = run(MOUNT + imports + FULL, tmp_path, namespace)
    assert [line.split()[0] for line in lines] == ["full", "inc"]
    assert all(int(line.split()[1]) > 5 for line in lines)
    assert all(int(line.split()[2]) > 0 for line in lines)


@pytest.fixture
def ordinary():
    """What makes root an ordinary user, who may not read what its owner may not."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_what_may_not_be_read_fails_the_backup_or_is_reported(tmp_path, ordinary):
    strict, lenient, told, folder, root = run(UNREADABLE, tmp_path, ordinary)
    assert strict == 'tar ended with exit status 2: "./secret": Cannot open: Permission denied'
    assert lenient.startswith("None [")
    assert "./open" in lenient
    assert "Cannot open: Permission denied" in told
    assert folder.endswith("/tree/folder may not be read: run this as its owner or as root")
    assert root.endswith("/tree may not be read: run this as its owner or as root")


def test_of_a_source_and_what_is_mounted_below_it_each_tells_of_coarse_times(tmp_path, monkeypatch):
    def source(**settings):
        return TarSource(SourceUrl("/host/x"), Timing(0, 1, None, 0), **settings)

    assert not has_coarse_times(source(root=str(tmp_path)))
    monkeypatch.setattr("guerillabackup.units.tar_place._is_coarse", lambda path: path == "/proc")
    assert has_coarse_times(source(root="/"))
    assert has_coarse_times(source(root="/", include=("./etc", "./proc")))
    assert not has_coarse_times(source(root="/", include=("./etc", "./pro")))
