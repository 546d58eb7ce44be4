"""Looks at the units that are activated and at the definition files that could be, for `unit list`.

It joins the configuration, the units' folder and the installed definitions.
"""

import os
from dataclasses import dataclass

from guerillabackup.cli.config_check import overlay_of
from guerillabackup.cli.interrupts import is_interrupted
from guerillabackup.config import Configuration
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.activation import UnitDefinition, definition_of, find_definitions
from guerillabackup.generator.handed_back import check_sources, describe_error
from guerillabackup.generator.loader import UnitFile, list_units
from guerillabackup.original.loading import load_any_unit_class
from guerillabackup.original.stand_in import find_name


@dataclass(frozen=True, slots=True)
class UnitView:
    """An activated unit as it stands; `sources` is None where it cannot say, or could not be loaded."""

    name: str
    definition: str
    overlay: str | None
    class_name: str | None
    sources: tuple[str, ...] | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnitSurvey:
    """All activated units, the definition files with the names they are activated under, and warnings."""

    units: tuple[UnitView, ...]
    definitions: tuple[tuple[UnitDefinition, tuple[str, ...]], ...]
    warnings: tuple[str, ...]


def survey_units(configuration: Configuration) -> UnitSurvey:
    """Look at everything; what is wrong with a unit is in its problems. Raises ConfigError."""
    listing = list_units(configuration.units_directory)
    definitions = tuple(
        (definition, tuple(unit.name for unit in listing.units if _is_defined_by(unit, definition)))
        for definition in find_definitions(configuration.units_directory)
    )
    units = tuple(_view_unit(configuration, unit) for unit in listing.units)
    return UnitSurvey(units, definitions, (*listing.warnings, *listing.unused_overlays))


def _is_defined_by(unit: UnitFile, definition: UnitDefinition) -> bool:
    """Whether the unit's link leads to that file, or to the original's of which it takes the place."""
    stood_in_for = find_name(unit.path)
    if stood_in_for is not None:
        return stood_in_for == definition.name
    return os.path.realpath(unit.path) == os.path.realpath(definition.path)


def _view_unit(configuration: Configuration, unit: UnitFile) -> UnitView:
    unit_class, sources = None, None
    problems: list[str] = []
    try:
        unit_class = load_any_unit_class(unit)
    except ConfigError as error:
        problems += error.problems
    try:
        effective = overlay_of(configuration, unit.name)
        if unit_class is not None:
            listed = check_sources(unit_class.list_sources(effective))
            sources = None if listed is None else tuple(str(source) for source in listed)
            if sources == ():
                problems.append("it has no source")
    except GuerillaBackupError as error:
        problems += error.problems if isinstance(error, ConfigError) else [str(error)]
    except BaseException as error:  # a unit's own code may raise anything
        if is_interrupted(error):
            raise
        problems.append(describe_error(error))
    return UnitView(
        unit.name,
        definition_of(unit),
        unit.overlay,
        None if unit_class is None else unit_class.__name__,
        sources,
        tuple(problems),
    )
