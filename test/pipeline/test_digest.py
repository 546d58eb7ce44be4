import hashlib
import os
import subprocess
import sys

import pytest

from guerillabackup.errors import (
    BrokenOutputError,
    PipelineError,
    StorageError,
    StorageFullError,
    UnreadInputError,
)
from guerillabackup.pipeline.connection import open_pipe
from guerillabackup.pipeline.digest import BUFFER_SIZE, DigestPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline


@pytest.mark.parametrize("size", [0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 5 * BUFFER_SIZE + 7])
def test_all_bytes_pass_and_their_digest_and_size_are_right(tmp_path, output_file, size):
    data = os.urandom(size)
    (tmp_path / "input").write_bytes(data)
    with open(tmp_path / "input", "rb") as file:
        processes = instantiate_pipeline([DigestPipelineElement()], file.fileno(), output_file.fileno())
        run_pipeline(processes, stall_timeout=30)
    assert output_file.read() == data
    assert processes[0].get_digest_data() == hashlib.sha512(data).digest()
    assert processes[0].get_size() == size


def test_it_passes_on_to_a_program(shell, output_file):
    elements = [shell("yes | head -c 5000000"), DigestPipelineElement(), shell("wc -c")]
    processes = instantiate_pipeline(elements, None, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    assert output_file.read() == b"5000000\n"
    assert processes[1].get_size() == 5_000_000


def test_there_is_no_digest_before_the_end():
    process = DigestPipelineElement().get_execution_instance(None)
    with pytest.raises(PipelineError, match="no digest yet"):
        process.get_digest_data()
    with pytest.raises(PipelineError, match="no size yet"):
        process.get_size()
    process.stop()


def test_a_failed_run_leaves_no_digest(shell):
    processes = instantiate_pipeline([shell("echo x; exit 1"), DigestPipelineElement()], None, None)
    with pytest.raises(PipelineError, match="exit status 1"):
        run_pipeline(processes, stall_timeout=30)


def test_another_digest_can_be_asked_for(tmp_path):
    (tmp_path / "input").write_bytes(b"abc")
    with open(tmp_path / "input", "rb") as file:
        processes = instantiate_pipeline([DigestPipelineElement(hashlib.sha256)], file.fileno(), None)
        run_pipeline(processes, stall_timeout=30)
    assert processes[0].get_digest_data() == hashlib.sha256(b"abc").digest()


def test_a_full_disk_is_the_error_of_the_run_whatever_the_programs_before_say(shell):
    elements = [shell("yes"), shell("cat"), DigestPipelineElement()]
    with open("/dev/full", "wb", buffering=0) as full:
        processes = instantiate_pipeline(elements, None, full.fileno())
        with pytest.raises(StorageFullError, match="stage digest: cannot write the output: No space left"):
            run_pipeline(processes, stall_timeout=30)


def test_a_file_system_that_fills_up_is_the_error_of_the_run(shell, tmp_path):
    # A file size limit of the process is the full disk that needs no mount; its signal is ignored by Python.
    script = """
import resource, sys
from guerillabackup.errors import StorageError
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
with open(sys.argv[1], "wb") as file:
    processes = instantiate_pipeline(
        [OSProcessPipelineElement("yes", ["yes"]), DigestPipelineElement()], None, file.fileno())
    try:
        run_pipeline(processes, stall_timeout=30)
    except StorageError as error:
        print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "limited")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout == "stage digest: cannot write the output: File too large\n"
    assert (tmp_path / "limited").stat().st_size == 2_000_000


def test_input_that_cannot_be_read_is_an_error_of_storage(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    processes = instantiate_pipeline([DigestPipelineElement()], descriptor, None)
    with pytest.raises(StorageError, match="stage digest: cannot read the input"):
        run_pipeline(processes, stall_timeout=30)
    os.close(descriptor)


def test_a_reader_that_goes_away_is_noticed():
    output, write_end = open_pipe()
    with open("/dev/zero", "rb", buffering=0) as zero:
        processes = instantiate_pipeline([DigestPipelineElement()], zero.fileno(), write_end)
        with pytest.raises(UnreadInputError):
            output.close()
        with pytest.raises(BrokenOutputError, match="stage digest"):
            run_pipeline(processes, stall_timeout=30)
    os.close(write_end)


def test_stop_ends_it_while_it_waits_for_input():
    output, write_end = open_pipe()
    process = DigestPipelineElement().get_execution_instance(output)
    process.start()
    assert process.do_process() == 0
    with pytest.raises(PipelineError):
        process.stop()
    os.close(write_end)


def test_stop_ends_it_while_nobody_reads_its_output():
    output, write_end = open_pipe()
    with open("/dev/zero", "rb", buffering=0) as zero:
        process = instantiate_pipeline([DigestPipelineElement()], zero.fileno(), write_end)[0]
        process.start()
        while process.get_counts().bytes_written < BUFFER_SIZE:
            pass
        process.stop()
    os.close(write_end)
    while output.read_data(BUFFER_SIZE):
        pass
    output.close()


def test_our_memory_does_not_grow_with_the_size_of_the_data(tmp_path):
    # Not getrusage: its maximum is inherited from the process that started this one.
    script = """
import re, sys
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
head = OSProcessPipelineElement("head", ["head", "-c", sys.argv[1], "/dev/zero"])
run_pipeline(instantiate_pipeline([head, DigestPipelineElement()], None, None), stall_timeout=30)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""

    def measure(size: int) -> int:
        command = [sys.executable, "-c", script, str(size)]
        return int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    assert measure(300_000_000) < 60 * 1024
