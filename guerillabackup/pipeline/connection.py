"""How processes of a pipeline are joined: kernel pipes, and who holds which end of them.

The law of this file: this process keeps a duplicate of every read end until the reader has ended, to see what
was left unread, and not one moment longer, because the writer is to notice; and it keeps no write end that a
child writes to. Touches: os, fcntl, select, termios.
"""

import contextlib
import fcntl
import os
import select
import stat
import struct
import termios

from guerillabackup.errors import BrokenOutputError, PipelineError, UnreadInputError
from guerillabackup.pipeline.interface import TransformationProcessOutputInterface

PIPE_SIZE = 1 << 20
PUMP_SIZE = 1 << 16
CAUTIOUS_WRITE = select.PIPE_BUF


class PipeOutput(TransformationProcessOutputInterface):
    """The read end of a pipe that some process writes to; owns its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self.was_taken = False

    def get_output_stream_descriptor(self) -> int:
        if self._descriptor is None:
            raise PipelineError("the output of the process before is closed already")
        self.was_taken = True
        return self._descriptor

    def read_data(self, length: int) -> bytes | None:
        return _read_available(self.get_output_stream_descriptor(), length)

    def close(self) -> None:
        """Also an error: the writer has not ended, since what it writes from now on is lost."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            unread = _count_unread(descriptor)
            at_end = bool(_poll_now(descriptor) & select.POLLHUP)
        finally:
            os.close(descriptor)
        if unread > 0:
            raise UnreadInputError(f"{unread} bytes of the input were not read")
        if not at_end:
            raise UnreadInputError("the input was not read to its end")


class DescriptorOutput(TransformationProcessOutputInterface):
    """A descriptor the caller opened, as the input of a first process; it stays the caller's.

    Unread is, in a regular file, what lies behind the offset when the process has ended; in a pipe or socket
    what is buffered then. Other kinds of files are not checked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_closed = False

    def get_output_stream_descriptor(self) -> int:
        if self._is_closed:
            raise PipelineError("the input of the pipeline is closed already")
        return self._descriptor

    def read_data(self, length: int) -> bytes | None:
        return _read_available(self.get_output_stream_descriptor(), length)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        mode = os.fstat(self._descriptor).st_mode
        unread = 0
        if stat.S_ISREG(mode):
            size = os.fstat(self._descriptor).st_size
            unread = size - os.lseek(self._descriptor, 0, os.SEEK_CUR)
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            unread = _count_unread(self._descriptor)
        if unread > 0:
            raise UnreadInputError(f"{unread} bytes of the input were not read")


class PumpedOutput(TransformationProcessOutputInterface):
    """Gives an output that has only `read_data` a descriptor: each `move` carries some bytes into a pipe."""

    def __init__(self, upstream: TransformationProcessOutputInterface) -> None:
        self._upstream = upstream
        self._pipe, write_end = open_pipe()
        self._writer: NonblockingWriter | None = NonblockingWriter(write_end)
        os.close(write_end)
        self._pending = memoryview(b"")

    @property
    def is_done(self) -> bool:
        """Whether all of the upstream's bytes are in the pipe."""
        return self._writer is None

    def move(self) -> int:
        """Carry what can be carried without blocking; how many bytes that were."""
        if self._writer is None:
            return 0
        if not self._pending:
            data = self._upstream.read_data(PUMP_SIZE)
            if data is None:
                self._close_writer()
                self._upstream.close()
                return 1
            self._pending = memoryview(data)
        written = self._writer.write(self._pending) if self._pending else 0
        self._pending = self._pending[written:]
        return written

    def get_write_streams(self) -> list[int]:
        """What has to become writable before `move` can do something."""
        return [self._writer.fileno()] if self._writer is not None and self._pending else []

    def get_output_stream_descriptor(self) -> int:
        return self._pipe.get_output_stream_descriptor()

    def read_data(self, length: int) -> bytes | None:
        return self._pipe.read_data(length)

    def close(self) -> None:
        try:
            self._pipe.close()
        finally:
            if self._writer is not None:
                self._close_writer()
                self._upstream.close()

    def _close_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


class OutputSlot:
    """Where a process will write: a pipe, a descriptor that was set, or nowhere without either."""

    def __init__(self) -> None:
        self._given: int | None = None
        self._own: int | None = None
        self._pipe: PipeOutput | None = None
        self._is_closed = False

    def get_process_output(self) -> PipeOutput:
        """The read end of a new pipe, the same one each time."""
        if self._given is not None:
            raise PipelineError("the output of the process was set to a stream before")
        if self._pipe is None:
            if self._is_closed:
                raise PipelineError("the output of the process cannot be taken after its start")
            self._pipe, self._own = open_pipe()
        return self._pipe

    def set_stream(self, descriptor: int) -> None:
        """Write to this descriptor, which stays the caller's."""
        if self._pipe is not None or self._is_closed:
            raise PipelineError("the output of the process is connected already")
        self._given = descriptor

    def get_descriptor(self) -> int:
        """What to write to; stays this object's, or the caller's of `set_stream`."""
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        return self._own

    def close(self) -> None:
        """Let go of the write end: the reader sees the end once all others did."""
        self._is_closed = True
        if self._own is not None:
            descriptor, self._own = self._own, None
            os.close(descriptor)

    def abandon(self) -> None:
        """Let go of all, the read end too when nobody ever took it."""
        self.close()
        if self._pipe is not None and not self._pipe.was_taken:
            with contextlib.suppress(UnreadInputError):
                self._pipe.close()


class NonblockingWriter:
    """Writes to a pipe, file or socket without ever blocking on its reader; a duplicate it owns.

    A pipe is opened anew, so that O_NONBLOCK does not hold for others who share the descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        self.is_regular = stat.S_ISREG(mode)
        self._limit = 0 if self.is_regular else CAUTIOUS_WRITE
        if stat.S_ISFIFO(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            # Refused for a pipe of another user, or a named one that nobody reads: then with caution.
            with contextlib.suppress(OSError):
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
                self._limit = 0
                return
        self._descriptor = os.dup(descriptor)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._descriptor

    def write(self, data: memoryview) -> int:
        """How many bytes were taken, zero when none can be now; BrokenOutputError when nobody reads."""
        if self._limit > 0:
            if not _poll_now(self._descriptor, select.POLLOUT):
                return 0
            data = data[: self._limit]
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError as error:
            raise BrokenOutputError("nobody reads the output any more") from error

    def close(self) -> None:
        """Close the duplicate, once."""
        os.close(self._descriptor)


def open_pipe() -> tuple[PipeOutput, int]:
    """A wide pipe: its read end as an output, and its write end, which is the caller's to close."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    # Unprivileged users have a limit on the sum of their pipes; a narrow pipe is slower, nothing else.
    with contextlib.suppress(OSError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return PipeOutput(read_end), write_end


def _count_unread(descriptor: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


def _poll_now(descriptor: int, events: int = select.POLLIN) -> int:
    poll = select.poll()
    poll.register(descriptor, events)
    ready = poll.poll(0)
    return ready[0][1] if ready else 0


def _read_available(descriptor: int, length: int) -> bytes | None:
    if not _poll_now(descriptor):
        return b""
    return os.read(descriptor, length) or None
