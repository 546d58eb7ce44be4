import signal

import pytest

from guerillabackup.errors import BrokenOutputError, PipelineError, StorageFullError
from guerillabackup.pipeline.outcome import ErrorLatch, ProcessEnd, judge_end


def end_with(status: int, *messages: str) -> ProcessEnd:
    return ProcessEnd("zstd", "/usr/bin/zstd", status, messages)


def test_an_error_names_stage_program_exit_status_and_last_words():
    error = judge_end(end_with(3, "zstd: no luck"))
    assert str(error) == "stage zstd (/usr/bin/zstd) ended with exit status 3: zstd: no luck"


def test_an_error_names_the_signal():
    assert str(judge_end(end_with(-signal.SIGKILL))) == "stage zstd (/usr/bin/zstd) was ended by SIGKILL"


@pytest.mark.parametrize(
    "end", [end_with(-signal.SIGPIPE), end_with(141), end_with(1, "write error: Broken pipe")]
)
def test_a_broken_pipe_is_told_apart(end):
    assert isinstance(judge_end(end), BrokenOutputError)


def test_a_full_disk_is_told_apart():
    assert isinstance(
        judge_end(end_with(2, "tar: -: No space left on device", "tar: exiting")), StorageFullError
    )


def test_the_same_error_is_told_until_it_is_released_and_then_forgotten():
    latch = ErrorLatch()
    latch.keep(PipelineError("first"))
    latch.keep(PipelineError("second"))
    for _ in range(2):
        with pytest.raises(PipelineError, match="first"):
            latch.tell()
    latch.release()
    assert not latch.is_set


def test_an_error_that_was_not_told_is_raised_by_the_release_once():
    latch = ErrorLatch()
    latch.keep(PipelineError("first"))
    assert latch.is_untold
    with pytest.raises(PipelineError, match="first"):
        latch.release()
    latch.release()
