"""Compression and decompression by the usual programs, as pipeline elements.

zstd and xz use all processors; gzip is done by pigz where it is installed, with the same format.
Touches: shutil.
"""

import re
import shutil
from dataclasses import dataclass

from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.outcome import ProcessEnd, judge_end


@dataclass(frozen=True, slots=True)
class Method:
    """A compression: its arguments without the program, and its levels."""

    programs: tuple[str, ...]
    compress: tuple[str, ...]
    decompress: tuple[str, ...]
    lowest: int
    highest: int
    default: int


METHODS = {
    "zstd": Method(("zstd",), ("-q", "-c", "-T0"), ("-q", "-d", "-c", "--long=31"), 1, 19, 2),
    "bzip2": Method(("bzip2",), ("-c",), ("-d", "-c"), 1, 9, 9),
    "gzip": Method(("pigz", "gzip"), ("-n", "-c"), ("-d", "-c"), 1, 9, 6),
    "xz": Method(("xz",), ("-c", "-T0"), ("-d", "-c"), 0, 9, 6),
    "lz4": Method(("lz4",), ("-q", "-c"), ("-q", "-d", "-c"), 1, 12, 1),
}
_DAMAGE = re.compile(
    r"corrupt|unexpected end|ends unexpectedly|premature|truncated|integrity|checksum|crc|unsupported format"
    r"|not in gzip format|not recognized|unrecognized|unknown (header|frame)|not a bzip2|error 68|unfinished"
    r"|error 44|cannot decode|trailing garbage|skipping|decompression error|read error",
    re.IGNORECASE,
)


class CompressionPipelineElement(TransformationPipelineElementInterface):
    """Compresses with zstd, bzip2, gzip, xz or lz4."""

    is_compression = True

    def __init__(self, method: str = "zstd", level: int | None = None) -> None:
        """Raises ConfigError for a method or level there is not."""
        self.method = method
        self._method = _get_method(method)
        self.level = self._method.default if level is None else level
        lowest, highest = self._method.lowest, self._method.highest
        if not isinstance(self.level, int) or not lowest <= self.level <= highest:
            raise ConfigError(f"compression level {level!r} of {method} is not from {lowest} to {highest}")

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> OSProcess:
        program = _find_program(self._method)
        argv = [program, *self._method.compress, f"-{self.level}"]
        return OSProcessPipelineElement(program, argv).get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return (_find_program(self._method),)


class DecompressionPipelineElement(TransformationPipelineElementInterface):
    """Undoes a compression; damaged input is an IntegrityError."""

    def __init__(self, method: str) -> None:
        """Raises ConfigError for a method there is not."""
        self.method = method
        self._method = _get_method(method)

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> OSProcess:
        program = _find_program(self._method)
        argv = [program, *self._method.decompress]
        element = OSProcessPipelineElement(program, argv, judge=_judge_damage)
        return element.get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return (_find_program(self._method),)


def decompression_element(method: str) -> TransformationPipelineElementInterface:
    """The step that undoes a compression; raises ConfigError for a method there is not."""
    return DecompressionPipelineElement(method)


def _get_method(name: str) -> Method:
    if name not in METHODS:
        raise ConfigError(f"unknown compression {name!r}: expected one of {', '.join(METHODS)}")
    return METHODS[name]


def _find_program(method: Method) -> str:
    """The first program that is installed, otherwise the last, whose absence is reported at the start."""
    installed = (program for program in method.programs if shutil.which(program) is not None)
    return next(installed, method.programs[-1])


def _judge_damage(end: ProcessEnd) -> GuerillaBackupError:
    if end.exit_status > 0 and _DAMAGE.search("\n".join(end.messages)):
        return IntegrityError(end.describe())
    return judge_end(end)
