"""Where a source is, as its machine has it just now. Touches: os."""

import os
import stat
from dataclasses import replace

from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.units.tar_source import TarSource


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
    return replace(source, left_out=(*source.left_out, *left_out))


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


def _check_readable(path: str, mode: int) -> None:
    if not os.access(path, mode, effective_ids=True):
        raise StorageError(f"{path} may not be read: run this as its owner or as root")
