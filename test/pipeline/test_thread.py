import contextlib
import errno
import os
import threading

import pytest

from guerillabackup.errors import (
    BrokenOutputError,
    ConfigError,
    IntegrityError,
    PipelineError,
    StorageError,
    StorageFullError,
    UnreadInputError,
)
from guerillabackup.pipeline.connection import open_pipe
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.pipeline.thread import ThreadPipelineElement


def copy(input_fd: int, output_fd: int) -> None:
    while data := os.read(input_fd, 1 << 16):
        os.write(output_fd, data)


def run(*elements, output_fd=None):
    processes = instantiate_pipeline(elements, None, output_fd)
    run_pipeline(processes, stall_timeout=30)
    return processes


def failing(error: BaseException) -> ThreadPipelineElement:
    def fail(input_fd: int, output_fd: int) -> None:
        copy(input_fd, output_fd)
        raise error

    return ThreadPipelineElement(fail, "parser")


def test_a_function_reads_what_the_process_before_wrote(shell, output_file):
    run(
        shell("echo hello"),
        ThreadPipelineElement(copy, "copy"),
        shell("tr a-z A-Z"),
        output_fd=output_file.fileno(),
    )
    assert output_file.read() == b"HELLO\n"


def test_a_function_at_the_start_reads_nothing_and_at_the_end_writes_nowhere(shell):
    def count(input_fd: int, output_fd: int) -> None:
        assert os.read(input_fd, 10) == b""
        assert os.write(output_fd, b"1234") == 4

    run(ThreadPipelineElement(count, "count"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("odd line"), PipelineError),
        (SystemExit(0), PipelineError),
        (OSError(errno.EIO, "input/output error"), StorageError),
        (OSError(errno.ENOSPC, "no space left"), StorageFullError),
        (BrokenPipeError(errno.EPIPE, "broken pipe"), BrokenOutputError),
        (StorageFullError("disk full"), StorageFullError),
        (IntegrityError("bad list"), IntegrityError),
        (ConfigError("bad option"), ConfigError),
    ],
)
def test_what_a_function_raises_is_the_error_of_its_stage(shell, error, kind):
    with pytest.raises(kind) as caught:
        run(shell("echo x"), failing(error))
    assert type(caught.value) is kind
    assert caught.value is error or caught.value.__cause__ is error or "parser" in str(caught.value)


def test_neighbours_notice_when_a_function_raises(shell):
    def fail(input_fd: int, output_fd: int) -> None:
        raise ValueError("no use")

    with pytest.raises(PipelineError, match=r"stage parser failed: ValueError\('no use'\)"):
        run(shell("yes"), ThreadPipelineElement(fail, "parser"), shell("cat >/dev/null"))


def test_input_a_function_did_not_read_is_an_error(shell):
    with pytest.raises(UnreadInputError, match="stage lazy"):
        run(shell("echo x"), ThreadPipelineElement(lambda input_fd, output_fd: None, "lazy"))


def test_the_same_error_is_told_until_the_stop():
    process = failing(ValueError("odd")).get_execution_instance(None)
    process.start()
    errors = []
    while len(errors) < 2:
        try:
            process.do_process()
        except PipelineError as error:
            errors.append(error)
    process.stop()
    assert errors[0] is errors[1]
    del errors
    with pytest.raises(PipelineError, match="not running"):
        process.do_process()


def test_stop_ends_a_function_that_waits_for_two_stuck_neighbours():
    may_end = threading.Event()

    def stuck(input_fd: int, output_fd: int) -> None:
        may_end.wait(30)

    elements = [
        ThreadPipelineElement(stuck, "first"),
        ThreadPipelineElement(copy, "middle"),
        ThreadPipelineElement(copy, "last"),
    ]
    processes = instantiate_pipeline(elements, None, None)
    cancelled = iter([False, True])

    def cancel() -> bool:
        if next(cancelled, True):
            may_end.set()
            return True
        return False

    with pytest.raises(PipelineError, match="cancelled"):
        run_pipeline(processes, stall_timeout=30, progress_interval=0.01, cancelled=cancel)


def test_stop_ends_a_function_that_writes_to_nobody():
    def flood(input_fd: int, output_fd: int) -> None:
        while True:
            os.write(output_fd, bytes(1 << 20))

    process = ThreadPipelineElement(flood, "flood").get_execution_instance(None)
    output = process.get_process_output()
    process.start()
    while output.read_data(1) == b"":
        pass
    with pytest.raises(UnreadInputError):
        output.close()
    # Whether it noticed before it was stopped is open.
    with contextlib.suppress(BrokenOutputError):
        process.stop()


def test_a_function_reads_an_output_without_a_descriptor(output_file, make_chunks):
    chunks = make_chunks(b"one", b"", b"two")
    processes = instantiate_pipeline([ThreadPipelineElement(copy, "copy")], chunks, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    assert output_file.read() == b"onetwo"


def test_stop_before_the_start_closes_everything():
    output, write_end = open_pipe()
    process = ThreadPipelineElement(copy, "copy").get_execution_instance(output)
    process.get_process_output()
    process.stop()
    os.close(write_end)


@pytest.fixture
def interrupted_start(monkeypatch):
    """Interrupts whoever starts a thread right after it has begun, which a signal does only now and then."""
    start = threading.Thread.start

    def start_and_be_interrupted(thread) -> None:
        start(thread)
        if thread.name.startswith("stage-"):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start_and_be_interrupted)


def test_a_stage_whose_start_was_interrupted_is_stopped_like_any_other(interrupted_start):
    never_ending = open_pipe()
    try:
        (process,) = instantiate_pipeline([DigestPipelineElement()], never_ending[0], None)
        with pytest.raises(KeyboardInterrupt):
            process.start()
        # It waits for input that never comes: unless it is woken, stop gives up and says so.
        with pytest.raises(UnreadInputError):
            process.stop()
    finally:
        never_ending[0].close()
        os.close(never_ending[1])
