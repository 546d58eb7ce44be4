"""Our units in place of the original's own, whose files the links of an existing installation lead to.

Touches: importlib, os.
"""

import importlib
import os
import re

from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface

UNITS = {
    "LogfileBackupUnit": "guerillabackup.units.logfile",
    "TarBackupUnit": "guerillabackup.units.tar",
}
_ITS_OWN = re.compile(rf".*/lib/guerillabackup/({'|'.join(UNITS)})\.py")


def find_name(path: str) -> str | None:
    """The unit of the original whose file a unit's link leads to, whether that is there or not; else None."""
    if os.path.islink(path):
        for target in (os.readlink(path), os.path.realpath(path)):
            match = _ITS_OWN.fullmatch(target)
            if match is not None:
                return match[1]
    return None


def find_stand_in(path: str) -> type[SchedulableGeneratorUnitInterface] | None:
    """Our class for a unit's link to the original's file; else None."""
    name = find_name(path)
    if name is None:
        return None
    found: type[SchedulableGeneratorUnitInterface] = getattr(importlib.import_module(UNITS[name]), name)
    return found
