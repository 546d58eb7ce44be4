"""Pipeline elements in both spellings, and the original's functions that join and run pipelines.

Elements that a configuration makes answer in both spellings. It joins our pipelines with the adapters of
processes. Touches: os.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.original import interfaces
from guerillabackup.original.processes import (
    output_for_original,
    output_for_ours,
    process_for_original,
    process_for_ours,
)
from guerillabackup.pipeline import digest, gpg, os_process, run
from guerillabackup.pipeline.connection import DescriptorOutput
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface as ElementInterface,
)
from guerillabackup.pipeline.interface import (
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)

STALL_TIMEOUT = 3600.0
ELEMENT_KEYS = ("GeneralDefaultCompressionElement", "GeneralDefaultEncryptionElement")


class TransformationPipelineElementInterface(ElementInterface):
    """Base class of elements; one of the two methods is defined, and the other follows from it."""

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> TransformationProcessInterface:
        return process_for_ours(self.getExecutionInstance(output_for_original(upstream_process_output)))

    def getExecutionInstance(self, upstreamProcessOutput: Any) -> Any:
        if type(self).get_execution_instance is TransformationPipelineElementInterface.get_execution_instance:
            raise NotImplementedError(f"{type(self).__name__} has no getExecutionInstance")
        return process_for_original(self.get_execution_instance(output_for_ours(upstreamProcessOutput)))


class _BothSpellings(ElementInterface):
    """Gives an element of ours the original's spelling."""

    def getExecutionInstance(self, upstreamProcessOutput: Any) -> Any:
        return process_for_original(self.get_execution_instance(output_for_ours(upstreamProcessOutput)))


class OSProcessPipelineElement(_BothSpellings, os_process.OSProcessPipelineElement):
    """OSProcessPipelineElement(executable, argv[, allowed exit statuses])."""


class DigestPipelineElement(_BothSpellings, digest.DigestPipelineElement):
    """DigestPipelineElement()."""


class GpgEncryptionPipelineElement(_BothSpellings, gpg.GpgEncryptionPipelineElement):
    """GpgEncryptionPipelineElement(key[, argv])."""

    gpgDefaultCallArguments: ClassVar[list[str]] = [
        *("/usr/bin/gpg", "--batch", "--lock-never", "--no-options", "--homedir", gpg.DEFAULT_HOME),
        *("--trust-model", "always", "--throw-keyids", "--no-emit-version", "--encrypt"),
    ]

    def replaceKey(self, newKeyName: str) -> "GpgEncryptionPipelineElement":
        return GpgEncryptionPipelineElement(newKeyName, self.argv, home=self.home)


class AdoptedElement(TransformationPipelineElementInterface):
    """An element written for the original that derives from no class of ours."""

    def __init__(self, element: Any) -> None:
        self.theirs = element

    def getExecutionInstance(self, upstreamProcessOutput: Any) -> Any:
        return self.theirs.getExecutionInstance(upstreamProcessOutput)


class _Element(TransformationPipelineElementInterface):
    """Any element of ours, for code written for the original."""

    def __init__(self, element: ElementInterface) -> None:
        self.ours = element

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> TransformationProcessInterface:
        return self.ours.get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return self.ours.required_programs()

    def replaceKey(self, newKeyName: str) -> "_Element":
        if not isinstance(self.ours, gpg.GpgEncryptionPipelineElement):
            raise ConfigError(f"the key of {type(self.ours).__name__} cannot be replaced by {newKeyName!r}")
        return _Element(self.ours.replace_key(newKeyName))


class TransformationProcessOutputStream(
    interfaces.TransformationProcessOutputInterface  # type: ignore[misc]
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
            os.close(self.streamFd)
            self.streamFd = -1


class NullProcessOutputStream(interfaces.TransformationProcessOutputInterface):  # type: ignore[misc]
    """An output that is at its end."""

    def getOutputStreamDescriptor(self) -> None:
        return None

    def readData(self, length: int) -> None:
        return None

    def close(self) -> None:
        pass


def OSProcessPipelineExecutionInstance(
    executable: str,
    execArgs: Sequence[str],
    upstreamProcessOutput: Any,
    allowedExitStatusList: Sequence[int] | None = None,
) -> Any:
    """A process of a program, as elements made of programs hand it out."""
    element = OSProcessPipelineElement(executable, execArgs, allowedExitStatusList)
    return element.getExecutionInstance(upstreamProcessOutput)


def element_for_ours(element: Any) -> Any:
    """An element as our pipelines expect it; what is none stays as it is, to be refused there."""
    if isinstance(element, _Element):
        return element.ours
    if isinstance(element, ElementInterface) or not hasattr(element, "getExecutionInstance"):
        return element
    return AdoptedElement(element)


def element_for_original(element: Any) -> Any:
    """An element as code written for the original expects it."""
    if isinstance(element, AdoptedElement):
        return element.theirs
    if element is None or hasattr(element, "getExecutionInstance"):
        return element
    return _Element(element)


def adapt_elements(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with elements of ours where it has elements written for the original."""
    adapted = {key: element_for_ours(configuration.get(key)) for key in ELEMENT_KEYS}
    changed = {key: element for key, element in adapted.items() if element is not configuration.get(key)}
    return {**configuration, **changed} if changed else configuration


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
        getattr(configContext, "keys_directory", gpg.DEFAULT_HOME),
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
        try:
            for process in processes:
                process.start()
        except BaseException:
            for process in processes:
                with contextlib.suppress(GuerillaBackupError):
                    process.stop()
            raise
    return [process_for_original(process) for process in processes]


def runTransformationPipeline(pipelineInstances: Sequence[Any]) -> None:
    """Wait for all processes; raises the error that the others follow from, and leaves none running."""
    processes = [process_for_ours(process) for process in pipelineInstances]
    run.run_pipeline(processes, stall_timeout=STALL_TIMEOUT)
