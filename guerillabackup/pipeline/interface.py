"""What a pipeline is made of: descriptions of steps, and their running instances. No I/O.

A pipeline element describes one step (an argv, a function) and can be used any number of times; an execution
instance, the pipeline process, is one run of it. Processes are joined by what the one before puts out: by a
kernel pipe wherever both sides can use a descriptor.

The rules every process keeps:

* after an error `do_process` raises the same error again and again until `stop` is called;
* input that a process did not read is an error, reported by `do_process` or by `stop`, whichever is first;
* when a process has ended, the one before and the one after it notice: end of input or an error, never
  silence;
* `stop` ends everything the process started, its process group too, and reaps it.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple


class TransformationProcessOutputInterface(ABC):
    """Where the bytes of a process come out, as the process after it sees them."""

    @abstractmethod
    def get_output_stream_descriptor(self) -> int | None:
        """A descriptor to read them from, None where there is only `read_data`. (getOutputStreamDescriptor)

        It stays this object's: a taker that outlives it duplicates it.
        """

    @abstractmethod
    def read_data(self, length: int) -> bytes | None:
        """At most `length` bytes; empty: none now, None: the end. Never blocks. (readData)"""

    @abstractmethod
    def close(self) -> None:
        """End the reading: the writer gets an error. (close)

        Raises PipelineError when bytes are left unread; it is closed all the same.
        """


class StageCounts(NamedTuple):
    """Bytes a process has read and written since its start; -1 where it is not known."""

    bytes_read: int
    bytes_written: int
    cpu_seconds: float = 0.0


class TransformationProcessInterface(ABC):
    """One run of a step."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call it in messages and progress: `tar`, `zstd`, `digest`."""

    @property
    def ends_by_force(self) -> bool:
        """Whether `stop` can end it whatever it waits for; else its neighbours may have to end first."""
        return False

    @abstractmethod
    def get_process_output(self) -> TransformationProcessOutputInterface:
        """Where its bytes come out; before `start`, not with a set stream. (getProcessOutput)"""

    @abstractmethod
    def set_process_output_stream(self, descriptor: int) -> None:
        """Let it write here; the descriptor stays the caller's. (setProcessOutputStream)"""

    @abstractmethod
    def is_asynchronous(self) -> bool:
        """Whether it works on by itself between calls of `do_process`. (isAsynchronous)"""

    @abstractmethod
    def start(self) -> None:
        """Start it; started before: nothing. (start)

        Raises PipelineError when that fails, ConfigError when the program is missing.
        """

    def request_stop(self) -> None:  # noqa: B027
        """Begin to end it, without waiting: stopping many then takes the grace of one. Raises nothing."""

    @abstractmethod
    def stop(self) -> None:
        """End it, by force if it runs, and release all it holds. (stop)

        Raises the error that nobody was told yet, if there is one; called again it does nothing.
        """

    @abstractmethod
    def is_running(self) -> bool:
        """Whether it was started and has not ended, or has an error nobody was told yet. (isRunning)"""

    @abstractmethod
    def do_process(self) -> int:
        """Move data, or look how an asynchronous process does. Never blocks. (doProcess)

        Above zero: something was done; zero: nothing can be done now; below zero: all input was read and all
        output written, the process has ended well. Raises the process's PipelineError, the same each time.
        """

    @abstractmethod
    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        """Descriptors whose being readable, or writable, lets `do_process` go on. (getBlockingStreams)

        For an asynchronous process: what becomes readable when it ends.
        """

    @abstractmethod
    def get_counts(self) -> StageCounts:
        """How much it has done so far: a changed value is a sign of life."""


class TransformationPipelineElementInterface(ABC):
    """The description of one step."""

    @abstractmethod
    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> TransformationProcessInterface:
        """A new process of this step, fed by that output or by nothing. (getExecutionInstance)"""

    def required_programs(self) -> tuple[str, ...]:
        """Programs that must be there to run it: absolute, or found on PATH."""
        return ()
