"""Where a source is, as its machine has it just now. Touches: os."""

import os
import re
import stat

from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.units.tar_content import Place
from guerillabackup.units.tar_source import TarSource

_OCTAL = re.compile(rb"\\([0-7]{3})")
"""What stands for a blank in the kernel's list of mounts."""


def without_storage(source: TarSource, spool: str) -> TarSource:
    """The source without the storage its elements go to, whatever its configuration leaves out.

    An element that held those before it would let each backup be larger than all before together. Raises
    ConfigError when nothing would be left.
    """
    spool = os.path.realpath(spool)
    left_out = []
    for member in source.include:
        place = os.path.realpath(os.path.join(source.root, member))
        if place == spool or place.startswith(spool + os.sep):
            raise ConfigError(
                f"source {source.source_url}: {place} is in the storage of its own elements, {spool}"
            )
        if spool.startswith(place.rstrip(os.sep) + os.sep):
            below = os.path.relpath(spool, place)
            left_out.append(f"{member.rstrip(os.sep)}{os.sep}{below}")
    return source._replace(left_out=(*source.left_out, *left_out))


def check_place(source: TarSource) -> None:
    """Raise StorageError when the root, or something to include, is not there or cannot be read.

    Of what is below that tar tells; but for a source that was not mounted it would make an empty archive.
    """
    if not os.path.isdir(source.root):
        raise StorageError(f"root {source.root} is not a directory: is it mounted?")
    _check_readable(source.root, os.X_OK)
    for member in source.include:
        path = os.path.normpath(os.path.join(source.root, member))
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError as error:
            raise StorageError(f"{path} is to be included, but is not there: is it mounted?") from error
        except OSError as error:
            raise StorageError(
                f"{path} is to be included, but cannot be looked at: {error.strerror}"
            ) from error
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            _check_readable(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0))


def look_at_places(source: TarSource) -> dict[str, Place]:
    """How the directories to be included are now, by their paths; others, and what cannot be looked at, lack.

    For a command in the place of tar they mean nothing.
    """
    if source.full_override is not None:
        return {}
    places = {}
    for member in source.include:
        path = os.path.join(source.root, member)
        try:
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                is_mounted = os.stat(os.path.join(path, os.pardir)).st_dev != status.st_dev
                places[os.path.normpath(path)] = Place(_is_filled(path), is_mounted)
        except OSError:
            continue  # tar says what it is
    return places


def _is_filled(path: str) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is not None


def has_coarse_times(source: TarSource) -> bool:
    """Whether a file system of the source keeps whole seconds of the times of changes, or less.

    Each tells by its uppermost directory; so does what is to be included.
    """
    places = [os.path.realpath(os.path.join(source.root, member)) for member in source.include]
    below = tuple(place.rstrip(os.sep) + os.sep for place in places)
    return any(map(_is_coarse, (*places, *(point for point in _mount_points() if point.startswith(below)))))


def _is_coarse(path: str) -> bool:
    try:
        return os.lstat(path).st_ctime_ns % 10**9 == 0
    except OSError:
        return False


def _mount_points() -> list[str]:
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            fields = [line.split()[4] for line in file]
    except OSError:
        return []
    return [os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)) for field in fields]


def _check_readable(path: str, mode: int) -> None:
    if not os.access(path, mode, effective_ids=True):
        raise StorageError(f"{path} may not be read: run this as its owner or as root")
