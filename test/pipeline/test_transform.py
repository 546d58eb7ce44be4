import hashlib
import os

import pytest

from guerillabackup.errors import PipelineError, StorageFullError, UnreadInputError
from guerillabackup.pipeline.connection import open_pipe
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.pipeline.transform import TransformPipelineElement


class Upper:
    """Makes letters large, and puts a word behind the end."""

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def finish(self) -> bytes:
        return b"END"


class Choosy:
    """Takes no bytes at all."""

    def feed(self, data: bytes) -> bytes:
        raise ValueError("not this")

    def finish(self) -> bytes:
        return b""


def test_a_polled_core_works_between_programs(shell, output_file):
    elements = [
        shell("yes abc | head -c 4000000"),
        TransformPipelineElement(Upper, "upper"),
        shell("md5sum; cat"),
    ]
    processes = instantiate_pipeline(elements, None, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    expected = hashlib.md5(b"ABC\n" * 1_000_000 + b"END").hexdigest()
    assert output_file.read().decode().split()[0] == expected
    assert processes[1].get_counts().bytes_read == 4_000_000


def test_polled_cores_work_alone_and_side_by_side(tmp_path, output_file):
    (tmp_path / "input").write_bytes(b"abc" * 100_000)
    with open(tmp_path / "input", "rb") as file:
        elements = [TransformPipelineElement(Upper, "one"), TransformPipelineElement(Upper, "two")]
        run_pipeline(instantiate_pipeline(elements, file.fileno(), output_file.fileno()), stall_timeout=30)
    assert output_file.read() == b"ABC" * 100_000 + b"ENDEND"


def test_a_core_without_input_only_finishes(output_file):
    processes = instantiate_pipeline([TransformPipelineElement(Upper, "upper")], None, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    assert output_file.read() == b"END"


def test_do_process_gives_the_same_error_until_the_stop():
    output, write_end = open_pipe()
    os.write(write_end, b"x")
    os.close(write_end)
    process = TransformPipelineElement(Choosy, "choosy").get_execution_instance(output)
    process.start()
    with pytest.raises(PipelineError, match=r"stage choosy failed: ValueError\('not this'\)") as first:
        process.do_process()
    assert not process.is_running()
    with pytest.raises(PipelineError) as second:
        process.do_process()
    assert second.value is first.value
    process.stop()
    with pytest.raises(PipelineError, match="not running"):
        process.do_process()


def test_input_that_a_stopped_core_did_not_read_is_an_error_of_its_stop():
    output, write_end = open_pipe()
    os.write(write_end, b"left")
    process = TransformPipelineElement(Upper, "upper").get_execution_instance(output)
    process.start()
    with pytest.raises(UnreadInputError, match=r"stage upper .* 4 bytes"):
        process.stop()
    os.close(write_end)


def test_what_it_waits_for_is_its_input_and_then_its_output(shell):
    output, write_end = open_pipe()
    process = TransformPipelineElement(Upper, "upper").get_execution_instance(output)
    result = process.get_process_output()
    process.start()
    assert process.get_blocking_streams() == ([output.get_output_stream_descriptor()], [])
    assert process.do_process() == 0
    os.write(write_end, b"x")
    os.close(write_end)
    assert process.do_process() > 0
    assert process.get_blocking_streams()[0] == []
    while process.do_process() >= 0:
        pass
    assert result.read_data(100) == b"XEND"
    process.stop()
    result.close()


def test_a_full_disk_is_the_cause_of_the_failure(shell):
    with open("/dev/full", "wb", buffering=0) as full:
        processes = instantiate_pipeline([TransformPipelineElement(Upper, "upper")], None, full.fileno())
        with pytest.raises(StorageFullError, match="stage upper"):
            run_pipeline(processes, stall_timeout=30)
