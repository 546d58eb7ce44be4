"""What `config check` warns of about directories: who else may write there, and which of them are missing.

Touches: os, stat.
"""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from guerillabackup.config import Configuration
from guerillabackup.generator.conditions import FreeSpaceCondition, LogicalAndCondition

_PLACES = {
    "GeneralPersistencyBaseDir": "what is backed up next is decided by what is there",
    "DefaultFileSystemSinkBaseDir": "they can remove elements, and put others in their place",
}
_CONDITION = "DefaultUnitRunCondition"


def warn_of_places(configuration: Configuration, overlays: Iterable[Configuration]) -> list[str]:
    """Directories that others may write, and paths of conditions that are not there; each once."""
    everywhere = (configuration, *overlays)
    found = [text for effective in everywhere for text in _warn_of_writers(effective)]
    found += [text for effective in everywhere for text in _warn_of_conditions(effective)]
    return list(dict.fromkeys(found))


def _warn_of_writers(configuration: Mapping[str, Any]) -> Iterator[str]:
    for key, consequence in _PLACES.items():
        path = configuration.get(key)
        if path is None:
            continue
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except (OSError, ValueError):
            continue  # it is told of elsewhere, or made
        wrong = mode & 0o022
        if key == "DefaultFileSystemSinkBaseDir":
            # The group may be given the storage, as for a transfer service that is not root.
            wrong &= ~configuration["StorageDirectoryMode"]
        if wrong:
            yield (
                f"{path} ({key}) can be written by others (mode {mode:04o}): {consequence}; forbid that with:"
                f" chmod go-w {shlex.quote(path)}"
            )


def _warn_of_conditions(configuration: Configuration) -> Iterator[str]:
    condition = configuration.get(_CONDITION)
    for path in _free_space_paths(condition):
        if not os.path.exists(path):
            yield (
                f"{configuration.origin(_CONDITION)}: {_CONDITION}: path {path} of FreeSpaceCondition is not"
                " there: no unit is run while that is so"
            )


def _free_space_paths(condition: object) -> Iterator[str]:
    if isinstance(condition, FreeSpaceCondition):
        yield condition.path
    elif isinstance(condition, LogicalAndCondition):
        for each in condition.conditions:
            yield from _free_space_paths(each)
