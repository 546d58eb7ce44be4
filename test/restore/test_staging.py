"""What is said of the directories that other restores have, or left, in a target."""

import os
import signal
import subprocess
import sys

import pytest

from guerillabackup.restore.staging import MAX_NAMED, STAGING_PREFIX, tell_of_others
from guerillabackup.restore.target import RestoreTarget

RESTORE = """
import os, sys
from guerillabackup.restore.target import RestoreTarget
with RestoreTarget(sys.argv[1], into_existing=True) as target:
    open(os.path.join(target.unpack_path, "file"), "w").close()
    child = os.fork()
    if child:
        print(target.unpack_path, child, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def target(tmp_path):
    """A directory with something in it and a name that a shell would take apart."""
    path = tmp_path / "it's mine; really"
    path.mkdir()
    (path / "mine").write_text("")
    return path


def tell(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return tell_of_others(descriptor, str(path), [os.fsencode(name) for name in os.listdir(path)])
    finally:
        os.close(descriptor)


def test_what_a_killed_restore_left_is_in_use_until_its_last_program_ends(target):
    with subprocess.Popen(
        [sys.executable, "-c", RESTORE, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as restore:
        staging, _, child = restore.stdout.readline().strip().rpartition(" ")
        try:
            assert tell(target) == [f"a restore that runs now uses {staging}: leave it alone"]
            restore.kill()
            restore.wait()
            assert "leave it alone" in tell(target)[0]
        finally:
            os.kill(int(child), signal.SIGKILL)
        assert restore.stdout.read() == ""  # its end of the pipe is closed: it is gone
    with RestoreTarget(str(target), into_existing=True) as other:
        (text,) = other.warnings
    assert f"an interrupted restore left {staging}, and nothing on this host uses it" in text
    subprocess.run(text.rpartition("remove it with: ")[2], shell=True, check=True)
    assert os.listdir(target) == ["mine"]


def test_one_that_is_empty_is_removed_by_what_harms_none_that_begins(target):
    (target / f"{STAGING_PREFIX}a").mkdir()
    (text,) = tell(target)
    assert "remove it with: rmdir -- " in text
    subprocess.run(text.rpartition("remove it with: ")[2], shell=True, check=True)
    assert tell(target) == []


def test_where_it_cannot_be_told_no_command_is_named(target):
    (target / f"{STAGING_PREFIX}file").write_text("")
    os.symlink("/", target / f"{STAGING_PREFIX}link")
    (target / f"{STAGING_PREFIX}\n").mkdir()
    texts = tell(target)
    assert [text for text in texts if "rm" in text.replace("remove", "")] == []
    assert sum("cannot be told" in text for text in texts) == 2


def test_many_are_counted(target):
    for number in range(MAX_NAMED + 2):
        (target / f"{STAGING_PREFIX}{number}").mkdir()
    texts = tell(target)
    assert (len(texts), texts[-1]) == (MAX_NAMED + 1, f"2 more of the kind are in {target}")
