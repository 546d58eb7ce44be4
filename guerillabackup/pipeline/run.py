"""Joins the stages of a pipeline and runs them: one poll waits for all of them. Touches: select, time."""

import select
import time
from collections.abc import Callable, Sequence

from guerillabackup.errors import CancelledError, ConfigError, GuerillaBackupError, PipelineError
from guerillabackup.events import StageProgress
from guerillabackup.pipeline.connection import DescriptorOutput
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.gpg import GpgEncryptionPipelineElement
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.stall import StallWatch, find_cause

SETTLE_SECONDS = 0.1
LOOKS_PER_STALL = 4

ProgressListener = Callable[[float, tuple[StageProgress, ...]], None]


def default_downstream(
    compression: TransformationPipelineElementInterface | None,
    encryption: TransformationPipelineElementInterface | None,
    encryption_key: str | Sequence[str] | None,
    keys_directory: str,
    find_key: Callable[[str], str] | None = None,
) -> list[TransformationPipelineElementInterface]:
    """The elements behind a source: compression, encryption, digest. (getDefaultDownstreamPipeline)

    A key given here replaces the encryption's own, and asks for encryption where there is none; the keys of
    an encryption that does not say otherwise are in `keys_directory`; there `find_key` says which key exactly
    a name means (gpg itself takes any key whose name has that text in it), and raises KeyUnusableError.
    """
    elements = [] if compression is None else [compression]
    if encryption is None and encryption_key:
        encryption = GpgEncryptionPipelineElement(encryption_key)
    if isinstance(encryption, GpgEncryptionPipelineElement):
        if encryption_key:
            encryption = encryption.replace_key(encryption_key)
        if find_key is not None and encryption.uses_default_keyring:
            encryption = encryption.replace_key([find_key(name) for name in encryption.keys])
        encryption = encryption.replace_home(keys_directory)
        if compression is not None:
            encryption = encryption.without_compression()
    elif encryption is not None and encryption_key:
        replace_key = getattr(encryption, "replace_key", None)  # an element of a site's own may know how
        if replace_key is None:
            raise ConfigError(
                f"the key of {type(encryption).__name__} cannot be replaced by {encryption_key!r}"
            )
        encryption = replace_key(encryption_key)
    if encryption is not None:
        elements.append(encryption)
    return [*elements, DigestPipelineElement()]


def instantiate_pipeline(
    elements: Sequence[TransformationPipelineElementInterface],
    input_fd: int | TransformationProcessOutputInterface | None,
    output_fd: int | None,
) -> list[TransformationProcessInterface]:
    """A process of each element, joined, not started. (instantiateTransformationPipeline)

    Descriptors stay the caller's. Without an input the first process reads nothing; without an output the
    last writes nowhere, unless its output is taken before the start.
    """
    upstream = DescriptorOutput(input_fd) if isinstance(input_fd, int) else input_fd
    processes: list[TransformationProcessInterface] = []
    try:
        for element in elements:
            if processes:
                upstream = processes[-1].get_process_output()
            processes.append(element.get_execution_instance(upstream))
        if output_fd is not None and processes:
            processes[-1].set_process_output_stream(output_fd)
    except BaseException:
        _stop_all(processes)
        raise
    return processes


def start_all(processes: Sequence[TransformationProcessInterface]) -> None:
    """Start every process, or none: what was started is stopped when one cannot be."""
    try:
        for process in processes:
            process.start()
    except BaseException:
        _stop_all(processes)
        raise


def run_pipeline(
    processes: Sequence[TransformationProcessInterface],
    *,
    stall_timeout: float,
    on_progress: ProgressListener | None = None,
    progress_interval: float = 0.5,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Start what is not started, wait for all, stop all. (runTransformationPipeline)

    `processes` are those of one pipeline, the first at its source, or of several that run side by side.
    Raises the error all others follow from, as its process raised it, PipelineError when for `stall_timeout`
    seconds no stage did anything, and CancelledError when `cancelled` says so, which is looked at as often as
    progress is reported.
    Whatever happens, nothing is left running.
    """
    run = _Run(processes, stall_timeout, progress_interval)
    try:
        for process in processes:
            process.start()
        run.wait(on_progress, cancelled)
    except BaseException:
        _stop_all(processes)
        raise
    error = _stop_all(processes)
    try:
        if error is not None:
            raise error
    finally:
        # An error that its own traceback holds would keep buffers and descriptors alive.
        del error


class _Run:
    """The waiting of one run."""

    def __init__(
        self, processes: Sequence[TransformationProcessInterface], stall_timeout: float, interval: float
    ) -> None:
        self._processes = processes
        self._stall_timeout = stall_timeout
        self._interval = min(interval, stall_timeout / LOOKS_PER_STALL)
        self._errors: dict[int, GuerillaBackupError] = {}
        self._ended: set[int] = set()
        self._started = time.monotonic()
        self._stall = StallWatch(self._started)

    def wait(self, on_progress: ProgressListener | None, cancelled: Callable[[], bool] | None) -> None:
        """Until all have ended; raises the cause when one failed."""
        everything = set(range(len(self._processes)))
        ready = everything
        next_look = self._started
        give_up: float | None = None
        # Also what ends before the first look at it.
        _check_cancelled(cancelled)
        while True:
            moved = self._process(ready)
            now = time.monotonic()
            if self._errors and give_up is None:
                # What failed before in the pipeline, and made this one fail, may be about to be seen.
                give_up = now + SETTLE_SECONDS
            if len(self._ended) == len(self._processes) or (give_up is not None and now >= give_up):
                break
            if now >= next_look:
                self._look(now, on_progress, cancelled)
                next_look = now + self._interval
            deadline = next_look if give_up is None else min(next_look, give_up)
            ready = self._poll(0 if moved else max(0.0, deadline - now))
        if self._errors:
            try:
                raise find_cause(self._errors)
            finally:
                self._errors.clear()
        self._look(time.monotonic(), on_progress, None)

    def _process(self, ready: set[int]) -> bool:
        """Let all do something for which there is something; whether bytes were moved by one of them."""
        moved = False
        for index, process in enumerate(self._processes):
            if index in self._errors or not (index in ready or self._is_polled(index)):
                continue
            try:
                result = process.do_process()
            except GuerillaBackupError as error:
                self._errors[index] = error
                self._ended.add(index)
                continue
            moved = moved or result > 0
            if result < 0:
                self._ended.add(index)
        return moved

    def _is_polled(self, index: int) -> bool:
        return index not in self._ended and not self._processes[index].is_asynchronous()

    def _poll(self, seconds: float) -> set[int]:
        """The processes one of whose descriptors is ready, after at most that time."""
        events: dict[int, int] = {}
        waiting: dict[int, set[int]] = {}
        for index, process in enumerate(self._processes):
            readable, writable = process.get_blocking_streams()
            for descriptors, event in ((readable, select.POLLIN), (writable, select.POLLOUT)):
                for descriptor in descriptors:
                    events[descriptor] = events.get(descriptor, 0) | event
                    waiting.setdefault(descriptor, set()).add(index)
        poll = select.poll()
        for descriptor, mask in events.items():
            poll.register(descriptor, mask)
        # Rounded up, so that a wait does not spin in its last millisecond.
        return set().union(
            *(waiting[descriptor] for descriptor, _ in poll.poll(int(seconds * 1000) + (seconds > 0)))
        )

    def _look(
        self, now: float, on_progress: ProgressListener | None, cancelled: Callable[[], bool] | None
    ) -> None:
        counts = tuple(process.get_counts() for process in self._processes)
        if on_progress is not None:
            stages = tuple(
                StageProgress(process.name, count.bytes_read, count.bytes_written)
                for process, count in zip(self._processes, counts, strict=True)
            )
            on_progress(now - self._started, stages)
        _check_cancelled(cancelled)
        quiet = self._stall.observe(now, counts)
        if quiet >= self._stall_timeout:
            raise PipelineError(
                f"no stage did anything for {quiet:.1f} s (limit {self._stall_timeout:g} s): "
                f"{', '.join(self._name_unfinished())} had not ended"
            )

    def _name_unfinished(self) -> list[str]:
        return [process.name for index, process in enumerate(self._processes) if index not in self._ended]


def _stop_all(processes: Sequence[TransformationProcessInterface]) -> GuerillaBackupError | None:
    """Stop every process, also after errors; the first one's error that was not told yet.

    A thread that waits to write ends once nobody holds the other end of its pipe any more: what can be ended
    by force goes first, then each after the one that reads from it.
    """
    for process in processes:
        process.request_stop()
    errors: dict[int, GuerillaBackupError] = {}
    for index in sorted(range(len(processes)), key=lambda each: (not processes[each].ends_by_force, -each)):
        try:
            processes[index].stop()
        except GuerillaBackupError as error:
            errors[index] = error
    return errors[min(errors)] if errors else None


def _check_cancelled(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise CancelledError("the pipeline was cancelled")
