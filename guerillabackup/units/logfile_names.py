"""What the name of a log file says, and the order of those of one source. No I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError

SERIAL = "serial"
"""Group of a number or date that is larger the newer a file is."""
OLD_SERIAL = "oldserial"
"""Group of a number that is larger the older a file is."""
COMPRESS = "compress"
COMPRESSIONS = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd", "lz4": "lz4"}
"""What that group may match, and the compression that means."""

Serial = tuple[tuple[bool, int, str], ...]
"""The parts of a serial, to be compared."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file by its name.

    `serial` is None where the regular expression has no group for it, empty where that matched nothing;
    `is_old_serial` says that a larger one is older. `compression` is what group compress matched.
    """

    name: str
    source_url: SourceUrl
    serial: str | None
    is_old_serial: bool
    compression: str | None

    @property
    def method(self) -> str | None:
        """The compression to undo, None for none; raises ConfigError for one that is not known."""
        if self.compression is None:
            return None
        if self.compression not in COMPRESSIONS:
            raise ConfigError(
                f"{self.name!a}: unknown compression {self.compression!a}:"
                f" group {COMPRESS} may match {', '.join(COMPRESSIONS)}"
            )
        return COMPRESSIONS[self.compression]


def make_log_file(name: str, source_url: SourceUrl, groups: Mapping[str, str | None]) -> LogFile:
    """From the named groups of the regular expression that matched the name."""
    is_old = OLD_SERIAL in groups
    group = OLD_SERIAL if is_old else SERIAL
    serial = (groups[group] or "") if group in groups else None
    return LogFile(name, source_url, serial, is_old, groups.get(COMPRESS) or None)


def sort_oldest_first(files: Iterable[LogFile]) -> list[LogFile]:
    """The files of one source in the order of their content; ConfigError when that cannot be told."""
    by_serial: dict[Serial, LogFile] = {}
    for file in files:
        other = by_serial.setdefault(_parse_serial(file.serial or ""), file)
        if other is not file:
            raise ConfigError(_describe_ambiguity(other, file))
    newest = by_serial.pop((), None)
    serials = sorted(by_serial)
    if any(file.is_old_serial for file in by_serial.values()):
        serials.reverse()
    return [*(by_serial[serial] for serial in serials), *([] if newest is None else [newest])]


def _parse_serial(text: str) -> Serial:
    """Numbers as such, so that 10 comes after 9; they come before texts."""
    return tuple(_part(part) for part in re.findall(r"\d+|\D+", text))


def _part(text: str) -> tuple[bool, int, str]:
    return (False, int(text), "") if text.isdecimal() else (True, 0, text)


def _describe_ambiguity(one: LogFile, other: LogFile) -> str:
    names = f"{one.name!a} and {other.name!a}"
    if one.serial is None:
        return (
            f"which of {names} is older cannot be told:"
            f" the file regex has neither a group {SERIAL} nor {OLD_SERIAL}"
        )
    return (
        f"{names} have the same serial {one.serial!a}: which is older cannot be told;"
        " if one is being compressed into the other, this ends by itself"
    )
