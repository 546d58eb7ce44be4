"""Finds the activated units and executes their definition files.

A unit is a file, or a symbolic link to one, in `units/`, whose name is of letters and digits; `NAME.config`
beside it is its overlay over the main configuration. One that cannot be loaded does not keep the others
from being run. Touches: os.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from guerillabackup.errors import ConfigError
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface

CLASS_NAME = "backupGeneratorUnitClass"
OVERLAY_SUFFIX = ".config"

_UNIT_NAME = re.compile(r"[A-Za-z0-9]+")
_IGNORED = re.compile(r"Readme\.txt|.*\.template")

Executor = Callable[[str], Mapping[str, Any]]
"""Executes a trusted file and hands back what it binds; raises ConfigError."""
StandInFinder = Callable[[str], type[SchedulableGeneratorUnitInterface] | None]
Adapter = Callable[[Any], Any]


class UnitFile(NamedTuple):
    """An activated unit: its name, its definition file, and its overlay if there is one."""

    name: str
    path: str
    overlay: str | None


class UnitListing(NamedTuple):
    """The activated units, sorted by name, and what else lies there and should not.

    `unused_overlays` tells of overlays without a unit, such as that of one that was disabled: worth saying to
    who looks at the configuration, but not each time units are run.
    """

    units: tuple[UnitFile, ...]
    warnings: tuple[str, ...]
    unused_overlays: tuple[str, ...] = ()


def list_units(directory: str) -> UnitListing:
    """What is activated; nothing when there is no such directory."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return UnitListing((), ())
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be listed: {error.strerror}") from error
    units, warnings, unused = [], [], []
    for name in names:
        path = os.path.join(directory, name)
        if _UNIT_NAME.fullmatch(name):
            overlay = path + OVERLAY_SUFFIX
            units.append(UnitFile(name, path, overlay if os.path.lexists(overlay) else None))
        elif _IGNORED.fullmatch(name):
            continue
        elif name.endswith(OVERLAY_SUFFIX) and _UNIT_NAME.fullmatch(name.removesuffix(OVERLAY_SUFFIX)):
            if not os.path.lexists(path.removesuffix(OVERLAY_SUFFIX)):
                unit = name.removesuffix(OVERLAY_SUFFIX)
                unused.append(
                    f"{path}: there is no unit {unit} for it; enable one with:"
                    f" guerillabackup unit enable DEFINITION --as {unit}; or remove it"
                )
        else:
            warnings.append(f"{path}: ignored, because a unit's name is of letters and digits only")
    return UnitListing(tuple(units), tuple(warnings), tuple(unused))


def is_unit_name(text: str) -> bool:
    """Whether a unit may have that name."""
    return _UNIT_NAME.fullmatch(text) is not None


def load_unit_class(
    unit: UnitFile,
    execute: Executor,
    find_stand_in: StandInFinder = lambda path: None,
    adapt: Adapter = lambda bound: bound,
) -> type[SchedulableGeneratorUnitInterface]:
    """The class its definition file binds; raises ConfigError.

    `find_stand_in` may name another class for the file, `adapt` makes one of ours of what was bound.
    """
    stand_in = find_stand_in(unit.path)
    if stand_in is not None:
        return stand_in
    if os.path.islink(unit.path) and not os.path.exists(unit.path):
        raise ConfigError(
            f"{unit.path}: is a symbolic link to {os.readlink(unit.path)}, which is not there;"
            " link it to a definition file of this installation"
        )
    unit_class = adapt(execute(unit.path).get(CLASS_NAME))
    if unit_class is None:
        raise ConfigError(f"{unit.path}: does not bind {CLASS_NAME} to the class of the unit")
    if not isinstance(unit_class, type) or not issubclass(unit_class, SchedulableGeneratorUnitInterface):
        raise ConfigError(
            f"{unit.path}: {CLASS_NAME} is {unit_class!r}, not a class of SchedulableGeneratorUnitInterface"
        )
    return unit_class
