"""Processes in the two spellings, run side by side."""

import hashlib
import os

import pytest

from guerillabackup.errors import PipelineError, UnreadInputError
from guerillabackup.original.elements import TransformationPipelineElementInterface
from guerillabackup.original.processes import (
    AdoptedOutput,
    AdoptedProcess,
    Process,
    output_for_ours,
    process_for_original,
    process_for_ours,
)
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline

CONTENT = os.urandom(1 << 18) + b"end"
CAT = OSProcessPipelineElement("cat", ["cat"])


class Upper:
    """A synchronous process, as the original's interface has it: keeps what the next one takes."""

    def __init__(self, upstream, fail_after=None):
        self.upstream, self.buffer, self.running, self.seen = upstream, b"", False, 0
        self.fail_after = fail_after
        self.stopped = 0

    def getProcessOutput(self):
        return self

    def getOutputStreamDescriptor(self):
        return None

    def readData(self, length):
        if self.buffer is None:
            return None
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data or ""

    def close(self):
        if self.buffer:
            raise Exception("data is left")

    def isAsynchronous(self):
        return False

    def start(self):
        if self.running:
            raise Exception("started twice")
        self.running = True

    def stop(self):
        self.stopped += 1
        return

    def isRunning(self):
        return self.running

    def doProcess(self):
        if self.fail_after is not None and self.seen >= self.fail_after:
            self.running = False
            raise ValueError("out of letters")
        if self.buffer is None or self.buffer:
            return 0 if self.buffer else -1
        data = self.upstream.readData(1 << 16)
        if data is None:
            self.upstream.close()
            self.running, self.buffer = False, None
            return -1
        self.seen += len(data)
        self.buffer = data.upper()
        return len(data)

    def getBlockingStreams(self, readStreamList, writeStreamList):
        descriptor = self.upstream.getOutputStreamDescriptor()
        if self.running and not self.buffer and descriptor is not None:
            readStreamList.append(descriptor)


class UpperElement(TransformationPipelineElementInterface):
    def __init__(self, fail_after=None):
        self.fail_after = fail_after

    def getExecutionInstance(self, upstreamProcessOutput):
        return Upper(upstreamProcessOutput, self.fail_after)


def run(elements, tmp_path, content=CONTENT):
    (tmp_path / "in").write_bytes(content)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        processes = instantiate_pipeline(elements, source.fileno(), target.fileno())
        run_pipeline(processes, stall_timeout=20)
    return processes


def test_a_process_of_the_original_runs_between_ours(tmp_path):
    processes = run([CAT, UpperElement(), UpperElement(), CAT, DigestPipelineElement()], tmp_path)
    assert (tmp_path / "out").read_bytes() == CONTENT.upper()
    assert processes[-1].get_digest_data() == hashlib.sha512(CONTENT.upper()).digest()
    assert processes[1].get_counts().bytes_read == len(CONTENT)
    assert processes[1].theirs.stopped == 0


def test_its_error_ends_the_run_and_names_it(tmp_path):
    with pytest.raises(PipelineError, match="stage Upper failed: out of letters"):
        run([CAT, UpperElement(fail_after=1), DigestPipelineElement()], tmp_path)


def test_its_error_stays_the_same_until_it_is_stopped():
    process = AdoptedProcess(Upper(None, fail_after=0))
    process.start()
    for _ in range(2):
        with pytest.raises(PipelineError, match="out of letters"):
            process.do_process()
    process.stop()
    process.stop()


def test_what_its_stop_hands_back_is_raised_once():
    upper = Upper(None)
    upper.stop = lambda: ValueError("data is lost")
    process = AdoptedProcess(upper)
    process.start()
    with pytest.raises(PipelineError, match="data is lost"):
        process.stop()
    process.stop()


def test_one_that_works_by_itself_is_asked_until_it_has_ended(tmp_path):
    class Alone(Upper):
        """Does all in its own time; what it says of bytes is feigned."""

        asked = 0

        def isAsynchronous(self):
            return True

        def isRunning(self):
            return self.running and self.asked < 3

        def doProcess(self):
            self.asked += 1
            return 1

        def getBlockingStreams(self, readStreamList, writeStreamList):
            pass

    process = AdoptedProcess(Alone(None))
    process.start()
    assert [process.do_process() for _ in range(5)] == [0, 0, 0, -1, -1]


def test_ours_does_for_the_original_what_its_interface_says(tmp_path):
    read_end, write_end = os.pipe()
    os.write(write_end, b"some content")
    os.close(write_end)
    with (tmp_path / "out").open("wb") as target:
        ours = instantiate_pipeline([CAT, DigestPipelineElement()], read_end, target.fileno())
        processes = [process_for_original(process) for process in ours]
        assert [process.isRunning() for process in processes] == [False, False]
        for process in processes:
            process.start()
            assert process.isAsynchronous() in (True, False)
        readable = []
        processes[0].getBlockingStreams(readable, [])
        assert readable
        while any(process.isRunning() for process in processes):
            pass
        assert [process.stop() for process in processes] == [None, None]
    os.close(read_end)
    assert (tmp_path / "out").read_bytes() == b"some content"
    assert processes[1].getDigestData() == hashlib.sha512(b"some content").digest()
    with pytest.raises(PipelineError, match="cat makes no digest"):
        processes[0].getDigestData()


def test_the_error_of_ours_is_raised_by_doprocess_or_handed_back_by_stop():
    def failing():
        process = Process(OSProcessPipelineElement("false", ["false"]).get_execution_instance(None))
        process.start()
        while process.ours.exit_status is None:
            process.ours.is_running()
        return process

    process = failing()
    with pytest.raises(PipelineError, match="false"):
        process.doProcess()
    assert process.stop() is None
    assert isinstance(failing().stop(), PipelineError)


def test_what_was_wrapped_is_unwrapped_on_its_way_back():
    ours = CompressionPipelineElement("gzip").get_execution_instance(None)
    assert process_for_ours(process_for_original(ours)) is ours
    assert process_for_ours(ours) is ours
    theirs = Upper(None)
    assert process_for_original(process_for_ours(theirs)) is theirs


def test_an_output_that_is_not_at_its_end_is_unread_input():
    upper = Upper(None)
    upper.buffer = b"left"
    output = output_for_ours(upper)
    assert isinstance(output, AdoptedOutput)
    with pytest.raises(UnreadInputError, match="data is left"):
        output.close()
    upper.buffer = b""
    assert output.read_data(4) == b""
