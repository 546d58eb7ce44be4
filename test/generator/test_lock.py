"""One service, or any number of single runs, work with a state, and who may not is told what to do."""

import os
import subprocess
import sys

import pytest

from guerillabackup.errors import StateError
from guerillabackup.generator.lock import LOCK_FILE, GeneratorLock
from guerillabackup.generator.state import StateBusyError


def test_any_number_of_single_runs_go_beside_one_another_but_no_service(tmp_path):
    runs = [GeneratorLock(str(tmp_path), is_service=False) for _ in range(2)]
    with pytest.raises(StateBusyError, match="another generator works with the state"):
        GeneratorLock(str(tmp_path), is_service=True)
    for run in runs:
        run.close()
    GeneratorLock(str(tmp_path), is_service=True).close()


def test_beside_a_service_a_single_run_is_told_its_process_and_the_command_to_type(tmp_path):
    with GeneratorLock(str(tmp_path), is_service=True) as lock:
        with pytest.raises(StateBusyError, match=f"process {os.getpid()}.*guerillabackup generator trigger"):
            GeneratorLock(str(tmp_path), is_service=False)
        with pytest.raises(StateBusyError):
            GeneratorLock(str(tmp_path), is_service=True)
        lock.close()
        GeneratorLock(str(tmp_path), is_service=True).close()


def test_the_lock_file_is_its_owners_alone_and_the_directory_is_made(tmp_path):
    state = tmp_path / "deep" / "state"
    with GeneratorLock(str(state), is_service=True):
        assert (state / LOCK_FILE).stat().st_mode & 0o777 == 0o600
        assert state.stat().st_mode & 0o777 == 0o700


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = (
        "import os, sys; from guerillabackup.generator.lock import GeneratorLock\n"
        "lock = GeneratorLock(sys.argv[1], is_service=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    GeneratorLock(str(tmp_path), is_service=False).close()


def test_a_forked_child_does_not_hold_the_lock(tmp_path):
    lock = GeneratorLock(str(tmp_path), is_service=True)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)  # until the parent has tried
        os._exit(0)
    lock.close()
    GeneratorLock(str(tmp_path), is_service=True).close()
    os.close(write_end)
    os.waitpid(child, 0)
    os.close(read_end)


def test_a_link_in_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="cannot lock the state"):
        GeneratorLock(str(tmp_path), is_service=True)
    assert not (tmp_path / "elsewhere").exists()
    assert issubclass(StateBusyError, StateError)
