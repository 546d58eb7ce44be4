"""Pipeline elements in both spellings: what a configuration makes, and what it defines itself.

It joins our elements with the adapters of processes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from guerillabackup.errors import ConfigError
from guerillabackup.original.processes import (
    output_for_original,
    output_for_ours,
    process_for_original,
    process_for_ours,
)
from guerillabackup.pipeline import gpg, os_process
from guerillabackup.pipeline.interface import TransformationPipelineElementInterface as ElementInterface
from guerillabackup.pipeline.interface import (
    TransformationProcessInterface,
    TransformationProcessOutputInterface,
)

ELEMENT_KEYS = ("GeneralDefaultCompressionElement", "GeneralDefaultEncryptionElement")


class TransformationPipelineElementInterface(ElementInterface):
    """Base class of elements; one of the two methods is defined, and the other follows from it."""

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> TransformationProcessInterface:
        return process_for_ours(self.getExecutionInstance(output_for_original(upstream_process_output)))

    def replace_key(self, key: str | Sequence[str]) -> ElementInterface:
        """The same with another encryption key, by the element's own replaceKey; raises ConfigError."""
        return _replace_key(self, key)

    def getExecutionInstance(self, upstreamProcessOutput: Any) -> Any:
        if type(self).get_execution_instance is TransformationPipelineElementInterface.get_execution_instance:
            raise ConfigError(
                f"{type(self).__name__} defines no getExecutionInstance, which an element needs"
            )
        return process_for_original(self.get_execution_instance(output_for_ours(upstreamProcessOutput)))


class BothSpellings(ElementInterface):
    """Gives an element of ours the original's spelling."""

    def getExecutionInstance(self, upstreamProcessOutput: Any) -> Any:
        return process_for_original(self.get_execution_instance(output_for_ours(upstreamProcessOutput)))


class OSProcessPipelineElement(BothSpellings, os_process.OSProcessPipelineElement):
    """OSProcessPipelineElement(executable, argv[, allowed exit statuses])."""


class GpgEncryptionPipelineElement(BothSpellings, gpg.GpgEncryptionPipelineElement):
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

    def replace_key(self, key: str | Sequence[str]) -> ElementInterface:
        return _replace_key(self.theirs, key)

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


def _replace_key(element: Any, key: str | Sequence[str]) -> ElementInterface:
    replace = getattr(element, "replaceKey", None)
    if replace is None:
        raise ConfigError(f"the key of {type(element).__name__} cannot be replaced by {key!r}")
    replaced: ElementInterface = element_for_ours(replace(key))
    return replaced


def adapt_elements(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with elements of ours where it has elements written for the original."""
    adapted = {key: element_for_ours(configuration.get(key)) for key in ELEMENT_KEYS}
    changed = {key: element for key, element in adapted.items() if element is not configuration.get(key)}
    return {**configuration, **changed} if changed else configuration
