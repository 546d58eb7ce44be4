"""Goal: a new user types `make run` and sees a whole backup and its restoration, exact to the last byte."""

import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[1] / "tools" / "demo.py"
TIMEOUT = 120.0


def demonstrate(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(DEMO), *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT)


def test_the_demonstration_restores_its_source_exactly_and_leaves_it_alone(tmp_path, short_directory):
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "file [1]").write_bytes(b"content\n" * 1000)
    before = {path: path.lstat().st_ctime_ns for path in source.rglob("*")}
    result = demonstrate("--dir", str(short_directory / "demo"), str(source))
    assert (result.returncode, result.stderr) == (0, "")
    assert "\nEXACT: " in result.stdout
    assert not list((short_directory / "demo" / "data").rglob("*.info"))
    assert len(list((short_directory / "demo" / "central" / "data").rglob("*.info"))) == 4
    restored = short_directory / "demo" / "restored" / "1" / source.relative_to("/")
    assert (restored / "folder" / "file [1]").read_bytes() == b"content\n" * 1000
    assert {path: path.lstat().st_ctime_ns for path in source.rglob("*")} == before


def test_its_own_directory_may_be_below_its_source(short_directory):
    (short_directory / "source").mkdir()
    (short_directory / "source" / "file").write_bytes(b"content")
    base = short_directory / "source" / "demo"
    result = demonstrate("--dir", str(base), str(short_directory / "source"))
    assert (result.returncode, "differences" in result.stdout) == (0, False), result.stdout + result.stderr


def test_a_source_that_is_not_there_is_said_in_one_line(short_directory):
    result = demonstrate("--dir", str(short_directory / "demo"), "/nonexistent")
    assert (result.returncode, result.stderr) == (1, "\nFAILED: /nonexistent is not a directory\n")
