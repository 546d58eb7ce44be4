"""The original's functions that join and run pipelines, and the streams that they begin with.

It joins our pipelines with the adapters of elements and processes. Touches: os.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.errors import ConfigError
from guerillabackup.original.elements import element_for_original, element_for_ours
from guerillabackup.original.processes import (
    TransformationProcessOutputInterface,
    output_for_ours,
    process_for_original,
    process_for_ours,
)
from guerillabackup.pipeline import run
from guerillabackup.pipeline.connection import DescriptorOutput
from guerillabackup.pipeline.gpg import DEFAULT_HOME


@dataclass(frozen=True, slots=True)
class Limits:
    """When a pipeline is given up: as PipelineStallTimeout says, or because the generator ends."""

    stall_timeout: float = 3600.0
    cancelled: Callable[[], bool] = field(default=lambda: False)


_limits: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039, frozen
"""Those of the unit that this thread runs: the original's functions have no argument for them."""


class TransformationProcessOutputStream(
    TransformationProcessOutputInterface  # type: ignore[misc]
):
    """A descriptor that was opened for the first element of a pipeline, which closes it."""

    def __init__(self, streamFd: int) -> None:
        if not isinstance(streamFd, int):
            raise ConfigError(f"{streamFd!r} is not a file descriptor")
        self.streamFd = streamFd
        self._output = DescriptorOutput(streamFd)

    def getOutputStreamDescriptor(self) -> int:
        return self.streamFd

    def readData(self, length: int) -> bytes | None:
        return self._output.read_data(length)

    def close(self) -> None:
        if self.streamFd < 0:
            return
        try:
            self._output.close()
        finally:
            descriptor, self.streamFd = self.streamFd, -1
            os.close(descriptor)


class NullProcessOutputStream(TransformationProcessOutputInterface):  # type: ignore[misc]
    """An output that is at its end."""

    def getOutputStreamDescriptor(self) -> None:
        return None

    def readData(self, length: int) -> None:
        return None

    def close(self) -> None:
        pass


def getDefaultDownstreamPipeline(
    configContext: Mapping[str, Any], encryptionKeyName: str | Sequence[str] | None
) -> list[Any]:
    """The elements behind a source, as the configuration says: compression, encryption, digest.

    The keys are those of the configuration directory where the context is what a unit was given.
    """
    encryption = configContext.get("GeneralDefaultEncryptionElement")
    if encryption is not None and encryptionKeyName is not None and hasattr(encryption, "replaceKey"):
        encryption, encryptionKeyName = encryption.replaceKey(encryptionKeyName), None
    find_key: Callable[[str], str] | None = getattr(configContext, "find_encryption_key", None)
    elements = run.default_downstream(
        element_for_ours(configContext.get("GeneralDefaultCompressionElement")),
        element_for_ours(encryption),
        encryptionKeyName,
        getattr(configContext, "keys_directory", DEFAULT_HOME),
        find_key,
    )
    return [element_for_original(element) for element in elements]


def instantiateTransformationPipeline(
    pipelineElements: Sequence[Any],
    upstreamProcessOutput: Any,
    downstreamProcessOutputStream: int | None,
    doStartFlag: bool = False,
) -> list[Any]:
    """A process of each element, joined; started, if the flag says so."""
    if doStartFlag and downstreamProcessOutputStream is None:
        raise ConfigError("a pipeline without an output stream cannot be started at once")
    processes = run.instantiate_pipeline(
        [element_for_ours(element) for element in pipelineElements],
        output_for_ours(upstreamProcessOutput),
        downstreamProcessOutputStream,
    )
    if doStartFlag:
        run.start_all(processes)
    return [process_for_original(process) for process in processes]


def runTransformationPipeline(pipelineInstances: Sequence[Any]) -> None:
    """Wait for all processes; raises the error that the others follow from, and leaves none running."""
    processes = [process_for_ours(process) for process in pipelineInstances]
    limits = _limits.get()
    run.run_pipeline(processes, stall_timeout=limits.stall_timeout, cancelled=limits.cancelled)


@contextlib.contextmanager
def running_within(limits: Limits) -> Iterator[None]:
    """What this thread runs until the end of the context is given up by these limits."""
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)
