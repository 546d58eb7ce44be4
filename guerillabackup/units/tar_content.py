"""Whether what is backed up is empty all of a sudden, as a mount point without its file system.

No I/O.
"""

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from guerillabackup.command_option import config_dir_option
from guerillabackup.element import SourceUrl

ACCEPT = "--accept-empty"


class Place(NamedTuple):
    """A directory that is to be included: whether anything is in it, and whether it is a mount point.

    A mount point is what is of another device than the directory above it.
    """

    is_filled: bool
    is_mounted: bool


def find_emptied(remembered: Mapping[str, Place], now: Mapping[str, Place]) -> list[str]:
    """What looks as if it were not mounted, compared with how it was at the last backup."""
    found = []
    for path, place in now.items():
        before = remembered.get(path)
        if before is None:
            continue
        if before.is_filled and not place.is_filled:
            found.append(f"{path} is empty, although the last backup had content there: is it mounted?")
        elif before.is_mounted and not place.is_mounted:
            found.append(f"{path} is no mount point any more, as it was at the last backup: is it mounted?")
    return found


def find_empty(remembered: Mapping[str, Place], now: Mapping[str, Place]) -> list[str]:
    """What is worth a warning: directories that are empty, and of which nothing is remembered."""
    return [
        f"{path} is empty: is it mounted?"
        for path, place in now.items()
        if path not in remembered and not place.is_filled
    ]


def how_to_accept(url: SourceUrl, config_directory: str) -> str:
    """What to do where it is meant to be so."""
    arguments = f"--source {shlex.quote(str(url))} {ACCEPT}{config_dir_option(config_directory)}"
    return (
        f"nothing of the source is backed up until it is; where that is so on purpose, accept it once with:"
        f" guerillabackup generator run --once {arguments} (beside a service: guerillabackup generator"
        f" trigger {arguments})"
    )


def dump_places(places: Mapping[str, Place]) -> dict[str, list[bool]]:
    """As JSON."""
    return {path: list(place) for path, place in places.items()}


def parse_places(value: Any) -> dict[str, Place]:
    """From JSON; raises TypeError or ValueError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} is not an object")
    return {path: _parse_place(flags) for path, flags in value.items()}


def _parse_place(flags: Any) -> Place:
    if not isinstance(flags, list) or not all(isinstance(flag, bool) for flag in flags):
        raise TypeError(f"{str(flags)[:40]!r} is not a list of true and false")
    is_filled, is_mounted = flags
    return Place(is_filled, is_mounted)
