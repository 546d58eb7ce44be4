"""Work is done in longer turns by those who ask for it, and by all they start."""

import os
import subprocess
import sys
import threading

import pytest

from guerillabackup.pipeline.scheduling import be_a_batch_job

PRINT = "import os; print(os.sched_getscheduler(0))"


def in_a_thread(work):
    """What `work` returns; the thread of the tests stays as it is."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), name="batch")
    thread.start()
    thread.join()
    return results[0]


def test_what_a_batch_job_starts_is_one():
    def work():
        be_a_batch_job()
        be_a_batch_job()
        child = subprocess.run([sys.executable, "-c", PRINT], stdout=subprocess.PIPE, check=True)
        return os.sched_getscheduler(0), int(child.stdout)

    assert in_a_thread(work) == (os.SCHED_BATCH, os.SCHED_BATCH)


def test_a_policy_that_was_chosen_stays():
    def work():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        be_a_batch_job()
        return os.sched_getscheduler(0)

    assert in_a_thread(work) == os.SCHED_IDLE


def test_where_it_is_forbidden_work_goes_on(monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    be_a_batch_job()


@pytest.fixture(autouse=True)
def _same_policy_afterwards():
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before
