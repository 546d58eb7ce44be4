"""What /proc tells of processes."""

import os
import subprocess
import time

from guerillabackup.pipeline.activity import find_session


def test_the_living_of_a_session_are_found_by_number_and_name():
    argv = ["sh", "-c", "sleep 100 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as leader:
        try:
            sleeper = int(leader.stdout.readline())
            while (sleeper, "sh") in find_session(leader.pid):
                time.sleep(0.01)  # it has not become sleep yet
            assert sorted(find_session(leader.pid)) == [(leader.pid, "sh"), (sleeper, "sleep")]
            leader.kill()
            os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
            assert find_session(leader.pid) == [(sleeper, "sleep")]
        finally:
            os.killpg(leader.pid, 9)


def test_a_session_that_nobody_is_in_has_none():
    assert find_session(2**30) == []
