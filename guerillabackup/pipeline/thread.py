"""Stages that are Python functions in a thread of their own, for work that releases the GIL.

The thread gets duplicates of its descriptors, so that nothing is closed under it; `stop` puts an empty input
and a broken output in their place and wakes its waits. Touches: os, select, threading.
"""

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable

from guerillabackup.errors import (
    BrokenOutputError,
    GuerillaBackupError,
    PipelineError,
    StorageError,
    StorageFullError,
    UnreadInputError,
)
from guerillabackup.osfile import raise_storage_error
from guerillabackup.pipeline.activity import read_thread_cpu_seconds
from guerillabackup.pipeline.connection import (
    NonblockingWriter,
    OutputSlot,
    PipeOutput,
    PumpedOutput,
)
from guerillabackup.pipeline.full_output import raise_output_error
from guerillabackup.pipeline.interface import (
    StageCounts,
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.outcome import ErrorLatch, ProcessState
from guerillabackup.unexpected import explain_no_thread

START_DEADLINE_SECONDS = 1.0
JOIN_DEADLINE_SECONDS = 10.0


class StageStopped(PipelineError):
    """The stage's thread was asked to end."""


class StageStreams:
    """Input and output of a stage in a thread: reads and writes that block until the stage is stopped."""

    def __init__(self, input_fd: int, output_fd: int, wake_fd: int) -> None:
        """All three stay the caller's; `wake_fd` becomes readable when the stage is to stop."""
        self.input_fd = input_fd
        self.output_fd = output_fd
        self._wake_fd = wake_fd
        self._writer: NonblockingWriter | None = None
        self.bytes_read = 0
        self.bytes_written = 0

    @property
    def writes_regular_file(self) -> bool:
        """Whether the output is a file of a file system."""
        return stat.S_ISREG(os.fstat(self.output_fd).st_mode)

    def read_into(self, buffer: memoryview) -> int:
        """Some bytes, zero at the end of input; raises StorageError, StageStopped."""
        self._wait(self.input_fd, select.POLLIN)
        try:
            count = os.readv(self.input_fd, [buffer])
        except OSError as error:
            raise_storage_error(error, "cannot read the input")
        self.bytes_read += count
        return count

    def write_all(self, data: memoryview) -> None:
        """Every byte; raises StorageFullError, StorageError, BrokenOutputError, StageStopped."""
        if self._writer is None:
            self._writer = NonblockingWriter(self.output_fd)
        while data:
            try:
                written = self._writer.write(data)
            except OSError as error:
                raise_output_error(error, self._writer.fileno())
            if written == 0:
                self._wait(self._writer.fileno(), select.POLLOUT)
            self.bytes_written += written
            data = data[written:]

    def pass_on(self, limit: int) -> int:
        """Move at most `limit` bytes from the input to the output without looking at them; both are pipes.

        Zero at the end of input; raises StorageError, BrokenOutputError, StageStopped.
        """
        while True:
            self._wait(self.input_fd, select.POLLIN)
            try:
                count = os.splice(self.input_fd, self.output_fd, limit, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                self._wait(self.output_fd, select.POLLOUT)
                continue
            except BrokenPipeError as error:
                raise BrokenOutputError(f"cannot pass on the input: {error.strerror}") from error
            except OSError as error:
                raise_storage_error(error, "cannot pass on the input")
            self.bytes_read += count
            self.bytes_written += count
            return count

    def wait_for_end(self, seconds: float) -> None:
        """Until nobody writes to the input any more, a pipe, and at most so long; raises StageStopped."""
        self._wait(self.input_fd, 0, seconds)

    def close(self) -> None:
        """Let go of what it opened itself."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _wait(self, descriptor: int, event: int, seconds: float | None = None) -> None:
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        poll.register(descriptor, event)
        # No deadline of its own: the run watches for stalls, and its stop wakes this.
        timeout = None if seconds is None else seconds * 1000
        if any(ready == self._wake_fd for ready, _ in poll.poll(timeout)):
            raise StageStopped("the stage was stopped")


StageBody = Callable[[StageStreams], None]


class ThreadPipelineElement(TransformationPipelineElementInterface):
    """A step done by `function(input_fd, output_fd)` in a thread, with blocking reads and writes.

    It must not close the two, must block on nothing but them, and has to read its input to the end.
    """

    def __init__(self, function: Callable[[int, int], None], name: str) -> None:
        self.function = function
        self.name = name

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> "ThreadProcess":
        function = self.function
        return ThreadProcess(
            self.name, lambda streams: function(streams.input_fd, streams.output_fd), upstream_process_output
        )


class ThreadProcess(TransformationProcessInterface):
    """One run of a function in a thread."""

    def __init__(
        self, name: str, body: StageBody, upstream: TransformationProcessOutputInterface | None
    ) -> None:
        self._name = name
        self._body = body
        self._upstream = upstream
        self._pump: PumpedOutput | None = None
        self._output = OutputSlot()
        self._state = ProcessState.CREATED
        self._thread: threading.Thread | None = None
        self._has_begun = threading.Event()
        self._thread_error: GuerillaBackupError | None = None
        self._has_finished = False
        self._descriptors: list[int] = []
        self._streams: StageStreams | None = None
        # Guards the number of the output against being closed by the thread while `stop` replaces it.
        self._output_lock = threading.Lock()
        self._output_is_open = False
        self._wake_fd = self._end_fd = -1
        self._errors = ErrorLatch()

    @property
    def name(self) -> str:
        return self._name

    def get_process_output(self) -> PipeOutput:
        return self._output.get_process_output()

    def set_process_output_stream(self, descriptor: int) -> None:
        self._output.set_stream(descriptor)

    def is_asynchronous(self) -> bool:
        return self._pump is None or self._pump.is_done

    def start(self) -> None:
        if self._state is not ProcessState.CREATED:
            return
        try:
            self._open_streams()
            self._thread = threading.Thread(target=self._run, name=f"stage-{self._name}", daemon=True)
            # Now, not later: an interrupt may come once there is a thread, and `stop` has to wake it then.
            self._state = ProcessState.RUNNING
            self._thread.start()
        except (OSError, RuntimeError) as error:
            self._thread = None
            reason = f"{error}{explain_no_thread() if isinstance(error, RuntimeError) else ''}"
            self._fail(PipelineError(f"stage {self._name} cannot be started: {reason}"))
            self._errors.tell()
        finally:
            self._output.close()

    def request_stop(self) -> None:
        if self._wake_fd >= 0 and self._state is ProcessState.RUNNING:
            os.eventfd_write(self._wake_fd, 1)
            self._replace_descriptors()

    def stop(self) -> None:
        if self._state is ProcessState.STOPPED:
            return
        self._look()
        was_forced = self._state is ProcessState.RUNNING
        self.request_stop()
        has_ended = self._join()
        self._output.abandon()
        if was_forced and has_ended:
            self._close_upstream()
        elif self._upstream is not None and has_ended:
            with contextlib.suppress(UnreadInputError):
                self._upstream.close()
        self._state = ProcessState.STOPPED
        if not has_ended:
            raise PipelineError(f"stage {self._name} did not end in {JOIN_DEADLINE_SECONDS:g} s")
        self._close_descriptors()
        self._errors.release()

    def is_running(self) -> bool:
        self._look()
        return self._state is ProcessState.RUNNING or self._errors.is_untold

    def do_process(self) -> int:
        if self._state is ProcessState.CREATED or self._state is ProcessState.STOPPED:
            raise PipelineError(f"stage {self._name} is not running")
        moved = self._look()
        self._errors.tell()
        return moved if self._state is ProcessState.RUNNING else -1

    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        if self._state is not ProcessState.RUNNING:
            return [], []
        return [self._end_fd], [] if self._pump is None else self._pump.get_write_streams()

    def get_counts(self) -> StageCounts:
        if self._streams is None:
            return StageCounts(0, 0)
        thread_id = None if self._thread is None else self._thread.native_id
        cpu_seconds = 0.0 if thread_id is None or self._has_finished else read_thread_cpu_seconds(thread_id)
        return StageCounts(self._streams.bytes_read, self._streams.bytes_written, cpu_seconds)

    def _open_streams(self) -> None:
        """Duplicates for the thread, and the descriptors that wake it and tell its end."""
        input_fd = self._duplicate_input()
        self._descriptors.append(input_fd)
        output_fd = os.dup(self._output.get_descriptor())
        self._descriptors.append(output_fd)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._descriptors.append(self._wake_fd)
        self._end_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._descriptors.append(self._end_fd)
        self._streams = StageStreams(input_fd, output_fd, self._wake_fd)
        self._output_is_open = True

    def _duplicate_input(self) -> int:
        if self._upstream is None:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        descriptor = self._upstream.get_output_stream_descriptor()
        if descriptor is None:
            self._pump = PumpedOutput(self._upstream)
            self._upstream = self._pump
            descriptor = self._pump.get_output_stream_descriptor()
        return os.dup(descriptor)

    def _run(self) -> None:
        assert self._streams is not None
        self._has_begun.set()
        try:
            self._body(self._streams)
        except BaseException as error:
            self._thread_error = _name_stage(self._name, error)
        finally:
            self._streams.close()
            self._has_finished = True
            # The one before notices later, when the error is known to all; the one after may see its end now.
            self._close_output()
            os.eventfd_write(self._end_fd, 1)

    def _close_output(self) -> None:
        with self._output_lock:
            if self._output_is_open:
                assert self._streams is not None
                self._output_is_open = False
                self._descriptors.remove(self._streams.output_fd)
                os.close(self._streams.output_fd)

    def _replace_descriptors(self) -> None:
        """Let reads of the thread see the end, and writes fail; neighbours see this end closed."""
        assert self._streams is not None
        empty = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        read_end, broken = os.pipe2(os.O_CLOEXEC)
        os.close(read_end)
        try:
            os.dup2(empty, self._streams.input_fd, inheritable=False)
            with self._output_lock:
                if self._output_is_open:
                    os.dup2(broken, self._streams.output_fd, inheritable=False)
        finally:
            os.close(empty)
            os.close(broken)

    def _look(self) -> int:
        if self._state is not ProcessState.RUNNING:
            return 0
        moved = 0
        try:
            moved = self._pump.move() if self._pump is not None else 0
        except GuerillaBackupError as error:
            self._errors.keep(error)
        if self._has_finished and self._join():
            self._conclude()
        return moved

    def _conclude(self) -> None:
        self._state = ProcessState.ENDED
        if self._thread_error is not None:
            self._fail(self._thread_error)
            self._thread_error = None
        assert self._streams is not None
        self._descriptors.remove(self._streams.input_fd)
        os.close(self._streams.input_fd)
        self._close_upstream()

    def _close_upstream(self) -> None:
        """Let the process before notice, and see whether something was left unread."""
        if self._upstream is None:
            return
        try:
            self._upstream.close()
        except UnreadInputError as error:
            self._fail(UnreadInputError(f"stage {self._name} has ended, but {error}"))
        except GuerillaBackupError as error:
            self._fail(error)

    def _fail(self, error: GuerillaBackupError) -> None:
        self._errors.keep(error)
        self._state = ProcessState.FAILED

    def _join(self) -> bool:
        """Whether the thread is gone."""
        if self._thread is None:
            return True
        if not self._has_begun.wait(START_DEADLINE_SECONDS):
            return True  # whoever started it was interrupted before there was a thread
        self._thread.join(JOIN_DEADLINE_SECONDS)
        return not self._thread.is_alive()

    def _close_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._wake_fd = self._end_fd = -1


def _name_stage(name: str, error: BaseException) -> GuerillaBackupError:
    """The same kind of error with the stage in front, for those who look at its class."""
    message = f"stage {name}: {error or type(error).__name__}"
    named: GuerillaBackupError
    if isinstance(error, BrokenPipeError | BrokenOutputError):
        named = BrokenOutputError(message)
    elif isinstance(error, OSError):
        try:
            raise_storage_error(error, f"stage {name}")
        except StorageError as storage_error:
            named = storage_error
    elif isinstance(error, StorageFullError):
        named = StorageFullError(message)
    elif type(error) is StorageError:
        named = StorageError(message)
    elif isinstance(error, GuerillaBackupError):
        named = error
    else:
        named = PipelineError(f"stage {name} failed: {error!r}")
    named.__cause__ = error if named is not error else error.__cause__
    return named
