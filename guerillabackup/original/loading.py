"""Loads the class of an activated unit, whichever program it was written for.

It joins the generator's loader with the adapter, which is imported when there is something to adapt.
"""

from typing import Any

from guerillabackup.config import execute_definition
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface
from guerillabackup.generator.loader import UnitFile, load_unit_class
from guerillabackup.original.stand_in import find_stand_in


def load_any_unit_class(unit: UnitFile) -> type[SchedulableGeneratorUnitInterface]:
    """The class of an activated unit, written for ours or for the original; raises ConfigError."""
    return load_unit_class(unit, execute_definition, find_stand_in, adapt)


def adapt(bound: Any) -> Any:
    """What a definition file bound, as a class of ours where it was written for the original."""
    if not isinstance(bound, type) or not callable(getattr(bound, "invokeUnit", None)):
        return bound
    from guerillabackup.original.unit import adapt_unit_class

    return adapt_unit_class(bound)
