"""The digest of all that passes, made while it is written.

Buffers of 1 MiB, used again and again, are hashed in a thread of their own (hashlib releases the GIL) while
this stage's thread writes the same bytes and reads the next. Touches: os, threading.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from guerillabackup.errors import PipelineError
from guerillabackup.osfile import start_writeback
from guerillabackup.pipeline.connection import PipeOutput
from guerillabackup.pipeline.interface import (
    StageCounts,
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.thread import StageStreams, ThreadProcess

BUFFER_SIZE = 1 << 20
BUFFER_COUNT = 4
WRITEBACK_SIZE = 8 << 20


class Digest(Protocol):
    """What hashlib's objects can do."""

    def update(self, data: memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class DigestPipelineElement(TransformationPipelineElementInterface):
    """Passes its input on unchanged and makes the SHA-512 of it."""

    def __init__(self, digest_class: Callable[[], Digest] = hashlib.sha512) -> None:
        self.digest_class = digest_class

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> "DigestProcess":
        return DigestProcess(self.digest_class(), upstream_process_output)


class DigestProcess(TransformationProcessInterface):
    """One run: a stage in a thread whose output may be a pipe or a file that will be synced."""

    def __init__(self, digest: Digest, upstream: TransformationProcessOutputInterface | None) -> None:
        self._digest = digest
        self._size = 0
        self._is_complete = False
        self._thread = ThreadProcess("digest", self._pass_on, upstream)

    def get_digest_data(self) -> bytes:
        """The digest of all input; PipelineError before it ended well. (getDigestData)"""
        if not self._is_complete:
            raise PipelineError("stage digest has not ended: there is no digest yet")
        return self._digest.digest()

    def get_size(self) -> int:
        """How many bytes passed; PipelineError before it ended well."""
        if not self._is_complete:
            raise PipelineError("stage digest has not ended: there is no size yet")
        return self._size

    @property
    def name(self) -> str:
        return self._thread.name

    def get_process_output(self) -> PipeOutput:
        return self._thread.get_process_output()

    def set_process_output_stream(self, descriptor: int) -> None:
        self._thread.set_process_output_stream(descriptor)

    def is_asynchronous(self) -> bool:
        return self._thread.is_asynchronous()

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        self._thread.request_stop()

    def stop(self) -> None:
        self._thread.stop()

    def is_running(self) -> bool:
        return self._thread.is_running()

    def do_process(self) -> int:
        return self._thread.do_process()

    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        return self._thread.get_blocking_streams()

    def get_counts(self) -> StageCounts:
        return self._thread.get_counts()

    def _pass_on(self, streams: StageStreams) -> None:
        writeback = Writeback(streams.output_fd) if streams.writes_regular_file else None
        buffers = [memoryview(bytearray(BUFFER_SIZE)) for _ in range(BUFFER_COUNT)]
        hashed: list[Future[None] | None] = [None] * BUFFER_COUNT
        index = 0
        with ThreadPoolExecutor(1, thread_name_prefix="stage-digest-hash") as executor:
            while True:
                pending = hashed[index]
                if pending is not None:
                    pending.result()
                count = _fill(streams, buffers[index])
                filled = buffers[index][:count]
                hashed[index] = executor.submit(self._digest.update, filled)
                streams.write_all(filled)
                if writeback is not None:
                    writeback.advance(count)
                self._size += count
                if count < BUFFER_SIZE:
                    break
                index = (index + 1) % BUFFER_COUNT
            for pending in hashed:
                if pending is not None:
                    pending.result()
        self._is_complete = True


class Writeback:
    """Has the kernel write out a growing file in large steps, so that the sync at its end is short."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._started = self._written = os.lseek(descriptor, 0, os.SEEK_CUR)

    def advance(self, count: int) -> None:
        """So many bytes more were written."""
        self._written += count
        if self._written - self._started >= WRITEBACK_SIZE:
            start_writeback(self._descriptor, self._started, self._written - self._started)
            self._started = self._written


def _fill(streams: StageStreams, buffer: memoryview) -> int:
    """Read until the buffer is full or the input at its end; how much that was."""
    count = 0
    while count < len(buffer):
        got = streams.read_into(buffer[count:])
        if got == 0:
            break
        count += got
    return count
