"""Stages that are polled: a sans-I/O core, fed by `do_process` in the thread of the run.

For light work, such as counting or parsing; heavy work belongs into a thread or a program. Touches: time.
"""

import contextlib
import enum
import time
from collections.abc import Callable
from typing import Protocol

from guerillabackup.errors import GuerillaBackupError, PipelineError, UnreadInputError
from guerillabackup.osfile import storage_errors
from guerillabackup.pipeline.connection import NonblockingWriter, OutputSlot, PipeOutput
from guerillabackup.pipeline.interface import (
    StageCounts,
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.outcome import ErrorLatch

READ_SIZE = 1 << 16


class Transformer(Protocol):
    """Turns bytes into bytes, in whatever pieces they come."""

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class TransformPipelineElement(TransformationPipelineElementInterface):
    """A step done by a new core of each run, polled."""

    def __init__(self, factory: Callable[[], Transformer], name: str) -> None:
        self.factory = factory
        self.name = name

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> "TransformProcess":
        return TransformProcess(self.factory(), self.name, upstream_process_output)


class _State(enum.Enum):
    CREATED = enum.auto()
    READING = enum.auto()
    FINISHING = enum.auto()
    ENDED = enum.auto()
    FAILED = enum.auto()
    STOPPED = enum.auto()


_ACTIVE = (_State.READING, _State.FINISHING)


class TransformProcess(TransformationProcessInterface):
    """One run of a core."""

    def __init__(
        self, core: Transformer, name: str, upstream: TransformationProcessOutputInterface | None
    ) -> None:
        self._core = core
        self._name = name
        self._upstream = upstream
        self._output = OutputSlot()
        self._writer: NonblockingWriter | None = None
        self._pending = memoryview(b"")
        self._state = _State.CREATED
        self._errors = ErrorLatch()
        self._bytes_read = self._bytes_written = 0
        self._cpu_seconds = 0.0

    @property
    def name(self) -> str:
        return self._name

    def get_process_output(self) -> PipeOutput:
        return self._output.get_process_output()

    def set_process_output_stream(self, descriptor: int) -> None:
        self._output.set_stream(descriptor)

    def is_asynchronous(self) -> bool:
        return False

    def start(self) -> None:
        if self._state is not _State.CREATED:
            return
        try:
            self._writer = NonblockingWriter(self._output.get_descriptor())
        except OSError as error:
            self._state = _State.FAILED
            self._errors.keep(PipelineError(f"stage {self._name} cannot be started: {error}"))
            self._errors.tell()
        finally:
            self._output.close()
        self._state = _State.READING

    def stop(self) -> None:
        if self._state is _State.STOPPED:
            return
        was_active = self._state in _ACTIVE
        self._close_writer()
        self._output.abandon()
        try:
            self._close_upstream()
        except GuerillaBackupError as error:
            if was_active:
                self._errors.keep(error)
        self._state = _State.STOPPED
        self._errors.release()

    def is_running(self) -> bool:
        return self._state in _ACTIVE or self._errors.is_untold

    def do_process(self) -> int:
        if self._state is _State.CREATED or self._state is _State.STOPPED:
            raise PipelineError(f"stage {self._name} is not running")
        if self._state is _State.ENDED:
            return -1
        if not self._errors.is_set:
            try:
                return self._advance()
            except GuerillaBackupError as error:
                self._fail(error)
            except Exception as error:
                failure = PipelineError(f"stage {self._name} failed: {error!r}")
                failure.__cause__ = error
                self._fail(failure)
        self._errors.tell()
        return -1

    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        if self._state not in _ACTIVE or self._writer is None:
            return [], []
        if self._pending:
            return [], [self._writer.fileno()]
        descriptor = None if self._upstream is None else self._upstream.get_output_stream_descriptor()
        return ([] if descriptor is None else [descriptor]), []

    def get_counts(self) -> StageCounts:
        return StageCounts(self._bytes_read, self._bytes_written, self._cpu_seconds)

    def _advance(self) -> int:
        started = time.thread_time()
        try:
            if self._pending:
                return self._write()
            if self._state is _State.FINISHING:
                self._end()
                return -1
            return self._read()
        finally:
            self._cpu_seconds += time.thread_time() - started

    def _read(self) -> int:
        with storage_errors(f"stage {self._name} cannot read its input"):
            data = None if self._upstream is None else self._upstream.read_data(READ_SIZE)
        if data is None:
            self._close_upstream()
            self._pending = memoryview(self._core.finish())
            self._state = _State.FINISHING
            return 1
        if data:
            self._bytes_read += len(data)
            self._pending = memoryview(self._core.feed(data))
        return len(data)

    def _write(self) -> int:
        assert self._writer is not None
        with storage_errors(f"stage {self._name} cannot write its output"):
            written = self._writer.write(self._pending)
        self._bytes_written += written
        self._pending = self._pending[written:]
        return written

    def _end(self) -> None:
        self._close_writer()
        self._state = _State.ENDED

    def _fail(self, error: GuerillaBackupError) -> None:
        self._errors.keep(error)
        self._state = _State.FAILED
        self._close_writer()
        with contextlib.suppress(UnreadInputError):
            self._close_upstream()

    def _close_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        try:
            upstream.close()
        except UnreadInputError as error:
            raise UnreadInputError(f"stage {self._name} has ended, but {error}") from error

    def _close_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
