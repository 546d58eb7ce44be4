"""Compression and decompression by the usual programs, as pipeline elements.

zstd and xz use all processors; gzip is done by pigz where it is installed, with the same format. Any number
of streams one behind the other are one. What is no stream behind the last one is damage: some programs leave
it out and end with status 0.
Touches: shutil.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.outcome import ProcessEnd, judge_end

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A compression: how to do and to undo it, the program that is liked best first, and its levels."""

    compress: tuple[Command, ...]
    decompress: tuple[Command, ...]
    lowest: int
    highest: int
    default: int


METHODS = {
    "zstd": Method((("zstd", "-q", "-c", "-T0"),), (("zstd", "-q", "-d", "-c", "--long=31"),), 1, 19, 2),
    "bzip2": Method((("bzip2", "-c"),), (("bzip2", "-d", "-c"),), 1, 9, 9),
    "gzip": Method(
        (("pigz", "-n", "-c"), ("gzip", "-n", "-c")),
        # Only gzip tells zeros that fill up a block from something that was left out.
        (("gzip", "-d", "-c"), ("pigz", "-v", "-d", "-c")),
        1,
        9,
        6,
    ),
    "xz": Method((("xz", "-c", "-T0"),), (("xz", "-d", "-c"),), 0, 9, 6),
    "lz4": Method((("lz4", "-q", "-c"),), (("lz4", "-q", "-d", "-c"),), 1, 12, 1),
}
_NO_OPTIONS = dict.fromkeys(("GZIP", "PIGZ", "BZIP", "BZIP2", "XZ_OPT", "XZ_DEFAULTS"), "")
"""From their environment the programs take options, such as one to leave out warnings."""
_LEFT_OUT = re.compile(r"trailing (?:garbage|junk)", re.IGNORECASE)
_DAMAGE = re.compile(
    r"corrupt|unexpected end|ends unexpectedly|premature|truncated|integrity|checksum|crc|unsupported format"
    r"|not in gzip format|not recognized|unrecognized|unknown (header|frame)|not a bzip2|error 68|unfinished"
    r"|error 44|cannot decode|trailing (garbage|junk)|skipping|decompression error|read error",
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
        argv = [*_find_command(self._method.compress), f"-{self.level}"]
        return OSProcessPipelineElement(argv[0], argv).get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return _find_command(self._method.compress)[:1]


class DecompressionPipelineElement(TransformationPipelineElementInterface):
    """Undoes a compression; damaged input is an IntegrityError."""

    def __init__(self, method: str) -> None:
        """Raises ConfigError for a method there is not."""
        self.method = method
        self._method = _get_method(method)

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> OSProcess:
        argv = _find_command(self._method.decompress)
        # No end is allowed without being judged: what was left out may have been said only.
        element = OSProcessPipelineElement(argv[0], argv, (), environment=_NO_OPTIONS, judge=_judge_damage)
        return element.get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return _find_command(self._method.decompress)[:1]


def decompression_element(method: str) -> TransformationPipelineElementInterface:
    """The step that undoes a compression; raises ConfigError for a method there is not."""
    return DecompressionPipelineElement(method)


def _get_method(name: str) -> Method:
    if name not in METHODS:
        raise ConfigError(f"unknown compression {name!r}: expected one of {', '.join(METHODS)}")
    return METHODS[name]


def _find_command(commands: Sequence[Command]) -> Command:
    """The first whose program is installed, otherwise the last, whose absence is reported at the start."""
    installed = (command for command in commands if shutil.which(command[0]) is not None)
    return next(installed, commands[-1])


def _judge_damage(end: ProcessEnd) -> GuerillaBackupError | None:
    words = "\n".join(end.messages)
    if end.exit_status == 0:
        return IntegrityError(end.describe()) if _LEFT_OUT.search(words) else None
    # lz4 says nothing at all of what it leaves out.
    if end.exit_status > 0 and not words.strip():
        return IntegrityError(f"{end.describe()}, without a word, as for input that is damaged or cut off")
    if end.exit_status > 0 and _DAMAGE.search(words):
        return IntegrityError(end.describe())
    return judge_end(end)
