"""Stages that are operating system processes, joined by kernel pipes.

A child runs in a session and process group of its own, with LC_ALL=C where it is not told otherwise, the
default SIGPIPE and no descriptor but its three and those it is given. It stays a zombie until `stop`, so that
its group's number cannot become somebody else's before the group is killed.
Touches: os, subprocess, select, signal.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from guerillabackup.errors import (
    ConfigError,
    GuerillaBackupError,
    PipelineError,
    UnreadInputError,
)
from guerillabackup.pipeline.activity import read_cpu_seconds, read_transferred
from guerillabackup.pipeline.connection import OutputSlot, PipeOutput, PumpedOutput
from guerillabackup.pipeline.interface import (
    StageCounts,
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.interrupts import interrupts_put_off
from guerillabackup.pipeline.messages import MessageCollector
from guerillabackup.pipeline.outcome import ErrorLatch, Judge, ProcessEnd, ProcessState, judge_end

TERMINATE_GRACE_SECONDS = 1.0
KILL_DEADLINE_SECONDS = 10.0
MAX_DRAINED_BYTES = 1 << 20
Starter = Callable[[Callable[[], subprocess.Popen[bytes]]], subprocess.Popen[bytes]]
_ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError)


class ProcessIdentity(NamedTuple):
    """Whom a program runs as; only root can choose. `group_ids` are the further groups."""

    user_id: int
    group_id: int
    group_ids: tuple[int, ...] = ()


class OSProcessPipelineElement(TransformationPipelineElementInterface):
    """A step done by a program, which reads its standard input and writes its standard output."""

    def __init__(
        self,
        executable: str,
        argv: Sequence[str],
        allowed_exit_statuses: Sequence[int] | None = (0,),
        *,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        working_directory: str | None = None,
        name: str | None = None,
        judge: Judge = judge_end,
        identity: ProcessIdentity | None = None,
        start_by: Starter | None = None,
    ) -> None:
        """`environment` is added to ours, `pass_fds` keep their numbers and stay the caller's.

        `judge` gives the error for an exit status that is not allowed, or None when it is none after all.
        `start_by` calls what starts the program, at once and once: from a thread that is confined, say.
        Raises ConfigError.
        """
        if isinstance(argv, str) or not argv or not all(isinstance(part, str) for part in argv):
            raise ConfigError(f"arguments of {executable!r} have to be a list of strings, not {argv!r}")
        if not executable or any("\0" in part for part in (executable, *argv)):
            raise ConfigError(f"executable {executable!r} or its arguments are empty or hold a zero byte")
        self.executable = executable
        self.argv = tuple(argv)
        self.allowed_exit_statuses = frozenset(
            (0,) if allowed_exit_statuses is None else allowed_exit_statuses
        )
        self.environment = dict(environment or {})
        self.pass_fds = tuple(pass_fds)
        self.working_directory = working_directory
        self.name = name or os.path.basename(executable)
        self.judge = judge
        self.identity = identity
        self.start_by = start_by

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> "OSProcess":
        return OSProcess(self, upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return (self.executable,)


class OSProcess(TransformationProcessInterface):
    """One run of a program."""

    def __init__(
        self, element: OSProcessPipelineElement, upstream: TransformationProcessOutputInterface | None
    ) -> None:
        self._element = element
        self._upstream = upstream
        self._pump: PumpedOutput | None = None
        self._output = OutputSlot()
        self._state = ProcessState.CREATED
        self._child: subprocess.Popen[bytes] | None = None
        self._group_is_ours = True
        self._child_fd = -1
        self._message_fd = -1
        self._messages = MessageCollector()
        self._errors = ErrorLatch()
        self._counts = StageCounts(0, 0)
        self.exit_status: int | None = None

    @property
    def name(self) -> str:
        return self._element.name

    @property
    def ends_by_force(self) -> bool:
        return True

    @property
    def process_id(self) -> int | None:
        """Of the child, which leads its process group; None before the start."""
        return None if self._child is None else self._child.pid

    def get_messages(self) -> list[str]:
        """What it said on standard error, line by line; the first and last 100 lines, 4 KiB of each."""
        return self._messages.get_lines()

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
            self._spawn(self._connect_input())
            self._state = ProcessState.RUNNING
        except GuerillaBackupError as error:
            self._fail(error)
            self._errors.tell()
        finally:
            self._output.close()

    def request_stop(self) -> None:
        if self._child is not None and self._state is ProcessState.RUNNING:
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)

    def stop(self) -> None:
        if self._state is ProcessState.STOPPED:
            return
        if self._child is not None:
            self._end_group()
        elif self._upstream is not None:
            with contextlib.suppress(UnreadInputError):
                self._upstream.close()
        self._output.abandon()
        self._close_descriptors()
        self._state = ProcessState.STOPPED
        self._errors.release()

    def is_running(self) -> bool:
        if self._state is ProcessState.RUNNING:
            self._look()
        return self._state is ProcessState.RUNNING or self._errors.is_untold

    def do_process(self) -> int:
        if self._state is ProcessState.CREATED or self._state is ProcessState.STOPPED:
            raise PipelineError(f"stage {self.name} is not running")
        moved = self._look()
        self._errors.tell()
        return moved if self._state is ProcessState.RUNNING else -1

    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        readable = [self._message_fd] if self._message_fd >= 0 else []
        if self._state is not ProcessState.RUNNING:
            return readable, []
        return [self._child_fd, *readable], [] if self._pump is None else self._pump.get_write_streams()

    def get_counts(self) -> StageCounts:
        if self._child is not None and self._state is ProcessState.RUNNING:
            self._read_counts(self._child.pid)
        return self._counts

    def _connect_input(self) -> int:
        if self._upstream is None:
            return subprocess.DEVNULL
        descriptor = self._upstream.get_output_stream_descriptor()
        if descriptor is None:
            self._pump = PumpedOutput(self._upstream)
            self._upstream = self._pump
            descriptor = self._pump.get_output_stream_descriptor()
        return descriptor

    def _spawn(self, input_fd: int) -> None:
        self._message_fd, message_write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._message_fd, False)
        try:
            with interrupts_put_off():
                start = partial(self._start_child, input_fd, message_write_end)
                start_by = self._element.start_by
                self._child = start() if start_by is None else start_by(start)
                self._child_fd = self._open_child(self._child)
        except _ABSENT as error:
            raise ConfigError(self._describe_absence(error)) from error
        except (OSError, ValueError) as error:
            raise PipelineError(
                f"stage {self.name} ({self._element.executable}) cannot be started: {error}"
            ) from error
        finally:
            os.close(message_write_end)

    def _start_child(self, input_fd: int, message_fd: int) -> subprocess.Popen[bytes]:
        element, identity = self._element, self._element.identity
        return subprocess.Popen(
            list(element.argv),
            executable=element.executable,
            stdin=input_fd,
            stdout=self._output.get_descriptor(),
            stderr=message_fd,
            pass_fds=element.pass_fds,
            cwd=element.working_directory,
            env={**os.environ, "LC_ALL": "C", **element.environment},
            start_new_session=True,
            user=None if identity is None else identity.user_id,
            group=None if identity is None else identity.group_id,
            extra_groups=None if identity is None else identity.group_ids,
        )

    def _open_child(self, child: subprocess.Popen[bytes]) -> int:
        try:
            return os.pidfd_open(child.pid)
        except OSError:
            # Without a descriptor nothing could wait for it.
            self._signal_group(signal.SIGKILL)
            child.wait()
            self._child = None
            raise

    def _describe_absence(self, error: OSError) -> str:
        directory = self._element.working_directory
        if directory is not None and not os.path.isdir(directory):
            return f"stage {self.name} cannot be started: there is no directory {directory}"
        return f"stage {self.name} cannot be started: program {self._element.executable}: {error.strerror}"

    def _look(self) -> int:
        """Take what the child said and notice its end; how much was moved for it."""
        self._drain()
        if self._state is not ProcessState.RUNNING:
            return 0
        moved = 0
        try:
            moved = self._pump.move() if self._pump is not None else 0
        except GuerillaBackupError as error:
            self._fail(error)
            return 0
        status = self._peek()
        if status is not None:
            self._conclude(status)
        return moved

    def _peek(self) -> int | None:
        """The exit status without reaping the child; None while it runs."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            result = os.waitid(os.P_PIDFD, self._child_fd, flags)
        except ChildProcessError:
            self._group_is_ours = False
            self._fail(PipelineError(f"exit status of stage {self.name} was taken by somebody else"))
            self._close_upstream()
            return None
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def _conclude(self, status: int) -> None:
        """The child has ended: judge how, and let the process before it notice."""
        assert self._child is not None
        self._drain()
        self._read_counts(self._child.pid)
        self.exit_status = status
        self._state = ProcessState.ENDED
        if status not in self._element.allowed_exit_statuses:
            end = ProcessEnd(self.name, self._element.executable, status, tuple(self.get_messages()))
            error = self._element.judge(end)
            if error is not None:
                self._fail(error)
        self._close_upstream()

    def _close_upstream(self) -> None:
        if self._upstream is None:
            return
        try:
            self._upstream.close()
        except UnreadInputError as error:
            program = self._element.executable
            self._fail(UnreadInputError(f"stage {self.name} ({program}) has ended, but {error}"))
        except GuerillaBackupError as error:
            self._fail(error)

    def _fail(self, error: GuerillaBackupError) -> None:
        self._errors.keep(error)
        self._state = ProcessState.FAILED

    def _drain(self) -> None:
        """Take what the child says; no more at a time than keeps the others waiting only shortly."""
        left = MAX_DRAINED_BYTES
        while self._message_fd >= 0 and left > 0:
            try:
                data = os.read(self._message_fd, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                descriptor, self._message_fd = self._message_fd, -1
                os.close(descriptor)
            self._messages.feed(data)
            left -= len(data)

    def _read_counts(self, process_id: int) -> None:
        moved = read_transferred(process_id)
        bytes_read, bytes_written = moved.bytes_read, moved.bytes_written
        if bytes_read < 0 and self._counts.bytes_read > 0:
            # Those of an ended child only root may read: what was seen last stays.
            bytes_read, bytes_written = self._counts.bytes_read, self._counts.bytes_written
        self._counts = StageCounts(bytes_read, bytes_written, read_cpu_seconds(process_id))

    def _end_group(self) -> None:
        """End the child and all that is left in its group, reap it, and judge an end not seen yet."""
        assert self._child is not None
        # In this order: what has ended by the first of them is seen by the second, and judged.
        was_forced = not self._wait_for_end(0)
        if self._state is ProcessState.RUNNING:
            self._look()
        if was_forced:
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)
            self._wait_for_end(TERMINATE_GRACE_SECONDS)
        self._signal_group(signal.SIGKILL)
        if not self._wait_for_end(KILL_DEADLINE_SECONDS):
            self._fail(PipelineError(f"stage {self.name} could not be killed in {KILL_DEADLINE_SECONDS:g} s"))
            return
        self.exit_status = self._child.wait()
        self._drain()
        if was_forced:
            self._close_upstream()

    def _wait_for_end(self, seconds: float) -> bool:
        """Whether the child has ended, within that time."""
        poll = select.poll()
        poll.register(self._child_fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _signal_group(self, number: signal.Signals) -> None:
        # The child is a zombie at least, so the number of its group is still its own.
        if self._child is not None and self._group_is_ours:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def _close_descriptors(self) -> None:
        descriptors = (self._child_fd, self._message_fd)
        self._child_fd = self._message_fd = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)
