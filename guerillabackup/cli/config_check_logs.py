"""Entries of logfile units to look at: two that take the same files, and those that take a live log.

It joins the entries and the files there are now: what else a regular expression could match is not known.
"""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.units.logfile import CONFIG_KEY
from guerillabackup.units.logfile_files import LogDirectory, show_path
from guerillabackup.units.logfile_input import LogInput, parse_inputs
from guerillabackup.units.logfile_names import LogFile
from guerillabackup.units.logfile_open import WriterCheck
from guerillabackup.units.logfile_run import find_log_file

MAX_OPENED = 100
"""Files of an entry that are opened to find out who writes to them."""
_ROTATED = re.compile(r"[.-][0-9]")
"""What a name goes on with when the file was rotated."""


def find_shared_logs(overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Entries that take the same files: whose source a file is then is a matter of their order."""
    entries = [(unit, log_input) for unit, overlay in overlays.items() for log_input in _list_inputs(overlay)]
    warnings = []
    for (one_unit, one), (other_unit, other) in combinations(entries, 2):
        if os.path.normpath(one.directory) != os.path.normpath(other.directory):
            continue
        patterns = (one.pattern, other.pattern)
        names = [name for name in _list_names(one) if all(pattern.match(name) for pattern in patterns)]
        if not names and one.pattern.pattern != other.pattern.pattern:
            continue
        units = f"unit {one_unit}" if one_unit == other_unit else f"units {one_unit} and {other_unit}"
        what = show_path(one.directory, names[0]) if names else f"the same files of {one.directory}"
        more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
        warnings.append(
            f"{units}: two entries of {CONFIG_KEY} take {what}{more}, {one.pattern.pattern!r} and "
            f"{other.pattern.pattern!r}: let each file match one of them"
        )
    return warnings


def find_live_logs(log_input: LogInput) -> list[str]:
    """Files that an entry takes, and removes, although programs go on writing to them."""
    pattern = log_input.pattern.pattern
    return [
        f"{show_path(log_input.directory, name)} is the live log, as {reason}, and matches {pattern!r}: "
        "match only what programs have finished writing"
        for name, reason in _find_live(log_input)
    ]


def _find_live(log_input: LogInput) -> Iterator[tuple[str, str]]:
    names = _list_names(log_input)
    files = [file for name in names if (file := find_log_file(log_input, name)) is not None]
    # One with a number or a date is left alone while it is open, and belongs to the entry after that.
    bare = [file for file in files if not file.serial and file.compression is None]
    rotated = {match.string[: match.start()]: match.string for match in _find_rotated(names)}
    for number, file in enumerate(bare):
        if file.name in rotated:
            yield file.name, f"{rotated[file.name]!a} beside it was rotated"
        elif number < MAX_OPENED and (writer := _find_writer(log_input, file)) is not None:
            yield file.name, f"{writer} has it open for writing"


def _find_rotated(names: list[str]) -> Iterator[re.Match[str]]:
    """Where the name of a live log may end in others, at each place."""
    for name in names:
        yield from _ROTATED.finditer(name)


def _find_writer(log_input: LogInput, file: LogFile) -> str | None:
    try:
        with LogDirectory(log_input.directory) as directory:
            descriptor = directory.open_file(file.name)
            try:
                return WriterCheck().find_writer(descriptor)
            finally:
                os.close(descriptor)
    except (GuerillaBackupError, OSError):
        return None


def _list_names(log_input: LogInput) -> list[str]:
    try:
        with LogDirectory(log_input.directory) as directory:
            return directory.list_names()
    except GuerillaBackupError:
        return []


def _list_inputs(overlay: Mapping[str, Any]) -> tuple[LogInput, ...]:
    try:
        return parse_inputs(overlay.get(CONFIG_KEY), SourceUrl("/entry")).inputs
    except GuerillaBackupError:
        return ()
