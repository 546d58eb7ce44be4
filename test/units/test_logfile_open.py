"""Who has a file open for writing is found: by the kernel's word, and from /proc where it gives none."""

import fcntl
import mmap
import os
import subprocess
import sys

import pytest

from guerillabackup.units import logfile_open
from guerillabackup.units.logfile_open import WriterCheck, find_open_writer

HOLD = "import sys; f = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "app.log.1"
    path.write_text("content")
    return path


@pytest.fixture
def hold(path):
    """Opens the file in another process, in the given mode."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"open\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait()


@pytest.fixture(params=["leases", "no leases"])
def leases(request, monkeypatch):
    """What the kernel of this machine does, and one that grants no leases."""
    if request.param == "no leases":

        def refuse(*arguments):
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(logfile_open.fcntl, "fcntl", refuse)


def find(path):
    with open(path, "rb") as file:
        return WriterCheck().find_writer(file.fileno())


@pytest.mark.parametrize("mode", ["r+", "a"])
def test_a_writer_in_another_process_is_found_and_named(leases, hold, path, mode):
    process = hold(mode)
    assert find(path).startswith(f"process {process.pid} (python")


@pytest.mark.usefixtures("leases")
def test_a_reader_and_a_descriptor_of_the_path_alone_are_no_writers(hold, path):
    hold("r")
    descriptor = os.open(path, os.O_PATH)
    assert find(path) is None
    os.close(descriptor)


@pytest.mark.usefixtures("leases")
def test_a_writer_is_found_under_any_other_name_of_the_file(hold, path):
    os.link(path, path.with_name("other"))
    hold("a")
    assert find(path.with_name("other")) is not None


@pytest.mark.usefixtures("leases")
def test_a_writer_that_ended_is_none(hold, path):
    process = hold("a")
    process.stdin.close()
    process.wait()
    assert find(path) is None


def test_a_writer_by_memory_alone_is_found_where_there_are_leases(path):
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    assert find(path) is not None
    mapped.close()
    assert find(path) is None


def test_the_lease_is_given_back(path):
    with open(path, "rb") as file:
        assert WriterCheck().find_writer(file.fileno()) is None
        assert fcntl.fcntl(file.fileno(), fcntl.F_GETLEASE) == fcntl.F_UNLCK
        with open(path, "r+b"):
            pass


def test_a_writer_that_the_kernel_knows_and_proc_does_not_show_counts(hold, path, monkeypatch):
    hold("a")
    monkeypatch.setattr(logfile_open, "_list_numbers", lambda directory: [])
    assert find(path) == "a process that cannot be seen from here"


@pytest.mark.usefixtures("leases")
def test_processes_that_may_not_be_looked_at_are_noticed_only_where_that_matters(path, monkeypatch, request):
    listed = logfile_open._list_numbers
    monkeypatch.setattr(
        logfile_open,
        "_list_numbers",
        lambda directory: None if directory == "/proc/1/fd" else listed(directory),
    )
    with open(path, "rb") as file:
        check = WriterCheck()
        assert check.find_writer(file.fileno()) is None
        status = os.fstat(file.fileno())
    assert check.may_miss_some == ("no leases" in request.node.callspec.params.values())
    assert find_open_writer((status.st_dev, status.st_ino)).is_complete is False
