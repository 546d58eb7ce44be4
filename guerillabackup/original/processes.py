"""Pipeline processes and their outputs in both spellings: ours for code of the original, and its for ours.

The spellings differ in more than letters: the original's `stop` returns what ours raises, its asynchronous
processes are only asked whether they still run, and it keeps no descriptor to wait for their end. No I/O.
"""

from typing import Any

from guerillabackup.errors import GuerillaBackupError, PipelineError, UnreadInputError
from guerillabackup.original.interfaces import without_abstract_methods
from guerillabackup.pipeline.interface import StageCounts
from guerillabackup.pipeline.interface import TransformationProcessInterface as ProcessInterface
from guerillabackup.pipeline.interface import TransformationProcessOutputInterface as OutputInterface

TransformationProcessInterface: Any = without_abstract_methods(ProcessInterface)
TransformationProcessOutputInterface: Any = without_abstract_methods(OutputInterface)


class ProcessOutput(TransformationProcessOutputInterface):  # type: ignore[misc]
    """An output of ours, for a process written for the original."""

    def __init__(self, output: OutputInterface) -> None:
        self.ours = output

    def getOutputStreamDescriptor(self) -> int | None:
        return self.ours.get_output_stream_descriptor()

    def readData(self, length: int) -> bytes | None:
        return self.ours.read_data(length)

    def close(self) -> None:
        self.ours.close()


class Process(TransformationProcessInterface):  # type: ignore[misc]
    """A process of ours, for code written for the original that joins, starts and asks it."""

    def __init__(self, process: ProcessInterface) -> None:
        self.ours = process

    def getProcessOutput(self) -> Any:
        return output_for_original(self.ours.get_process_output())

    def setProcessOutputStream(self, processOutputStream: int) -> None:
        self.ours.set_process_output_stream(processOutputStream)

    def isAsynchronous(self) -> bool:
        return self.ours.is_asynchronous()

    def start(self) -> None:
        self.ours.start()

    def stop(self) -> Exception | None:
        """What nobody was told yet is handed back, not raised."""
        try:
            self.ours.stop()
        except GuerillaBackupError as error:
            return error
        return None

    def isRunning(self) -> bool:
        return self.ours.is_running()

    def doProcess(self) -> int:
        return self.ours.do_process()

    def getBlockingStreams(self, readStreamList: list[int], writeStreamList: list[int]) -> None:
        readable, writable = self.ours.get_blocking_streams()
        readStreamList += readable
        writeStreamList += writable

    def getDigestData(self) -> bytes:
        """Of a digest's process that has ended."""
        get_digest_data = getattr(self.ours, "get_digest_data", None)
        if get_digest_data is None:
            raise PipelineError(f"stage {self.ours.name} makes no digest")
        digest: bytes = get_digest_data()
        return digest


class AdoptedOutput(OutputInterface):
    """An output written for the original, for a process of ours."""

    def __init__(self, output: Any) -> None:
        self.theirs = output

    def get_output_stream_descriptor(self) -> int | None:
        descriptor: int | None = self.theirs.getOutputStreamDescriptor()
        return descriptor

    def read_data(self, length: int) -> bytes | None:
        data: bytes | str | None = self.theirs.readData(length)
        # Some of the original's own say '' for "none now".
        return b"" if data == "" else data  # type: ignore[return-value]

    def close(self) -> None:
        try:
            self.theirs.close()
        except GuerillaBackupError:
            raise
        except Exception as error:  # a foreign class may raise anything
            raise UnreadInputError(f"the input was not read to its end: {error}") from error


class AdoptedProcess(ProcessInterface):
    """A process written for the original, for our runs; it is polled."""

    def __init__(self, process: Any) -> None:
        self.theirs = process
        self._was_started = self._has_ended = self._was_stopped = False
        self._error: PipelineError | None = None
        self._moved = 0

    @property
    def name(self) -> str:
        return type(self.theirs).__name__

    def get_process_output(self) -> OutputInterface:
        output = output_for_ours(self.theirs.getProcessOutput())
        assert output is not None
        return output

    def set_process_output_stream(self, descriptor: int) -> None:
        self.theirs.setProcessOutputStream(descriptor)

    def is_asynchronous(self) -> bool:
        # Nothing of the original's says when one that works by itself has ended: it is asked each time.
        return False

    def start(self) -> None:
        if self._was_started:
            return
        self._was_started = True
        if not self.theirs.isRunning():  # who made it may have started it
            self.theirs.start()

    def stop(self) -> None:
        if self._was_stopped:
            return
        self._was_stopped = True
        if not self._was_started:
            return
        error = None
        try:
            if not self._has_ended or self.theirs.isRunning():
                error = self.theirs.stop()
        except Exception as raised:  # a foreign class may raise anything
            error = raised
        if error is not None and self._error is None:
            raise self._make_error(error)

    def is_running(self) -> bool:
        return self._was_started and not self._was_stopped and bool(self.theirs.isRunning())

    def do_process(self) -> int:
        if self._error is not None:
            raise self._error
        if self._has_ended:
            return -1
        try:
            moved = self._do_process()
        except Exception as error:  # a foreign class may raise anything
            self._error = self._make_error(error)
            raise self._error from error
        self._has_ended = moved < 0
        self._moved += max(0, moved)
        return moved

    def get_blocking_streams(self) -> tuple[list[int], list[int]]:
        readable: list[int] = []
        writable: list[int] = []
        if self._was_started and not self._has_ended and not self._was_stopped:
            self.theirs.getBlockingStreams(readable, writable)
        return readable, writable

    def get_counts(self) -> StageCounts:
        return StageCounts(self._moved, self._moved)

    def _do_process(self) -> int:
        if not self.theirs.isAsynchronous():
            moved: int = self.theirs.doProcess()
            return moved
        # One that works by itself tells its errors when it is asked to process, and bytes it only feigns.
        if not self.theirs.isRunning():
            return -1
        return -1 if self.theirs.doProcess() < 0 else 0

    def _make_error(self, error: object) -> PipelineError:
        return PipelineError(f"stage {self.name} failed: {error}")


def output_for_original(output: OutputInterface | None) -> Any:
    """An output as code written for the original expects it."""
    if isinstance(output, AdoptedOutput):
        return output.theirs
    return output if output is None or hasattr(output, "readData") else ProcessOutput(output)


def output_for_ours(output: Any) -> OutputInterface | None:
    """An output as our processes expect it."""
    if isinstance(output, ProcessOutput):
        ours: OutputInterface = output.ours
        return ours
    return AdoptedOutput(output) if hasattr(output, "readData") else output


def process_for_original(process: ProcessInterface) -> Any:
    """A process as code written for the original expects it."""
    if isinstance(process, AdoptedProcess):
        return process.theirs
    return Process(process)


def process_for_ours(process: Any) -> ProcessInterface:
    """A process as our runs expect it."""
    if isinstance(process, Process):
        ours: ProcessInterface = process.ours
        return ours
    if hasattr(process, "doProcess"):
        return AdoptedProcess(process)
    assert isinstance(process, ProcessInterface)
    return process
