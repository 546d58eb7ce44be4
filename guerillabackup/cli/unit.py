"""`guerillabackup unit`: which generator units there are, and which of them are run.

Touches: os, shlex.
"""

import os
import shlex
from typing import TYPE_CHECKING

import click

from guerillabackup.cli.common import Invocation, shared
from guerillabackup.cli.parameters import DEFINITION, UNIT
from guerillabackup.command_option import config_dir_option

if TYPE_CHECKING:
    from guerillabackup.cli.unit_survey import UnitSurvey


@click.group()
def unit() -> None:
    """List, enable and disable generator units.

    \b
    Example:
      guerillabackup unit enable TarBackupUnit --as HomeBackup
    """


@unit.command("list")
@click.option("-v", "--verbose", is_flag=True, help="Show where their definitions and settings are, too.")
@shared(
    example="guerillabackup unit list\nguerillabackup unit list --verbose\nguerillabackup unit list --json"
)
def list_(invocation: Invocation, verbose: bool) -> None:
    """List the enabled units with their sources and problems, and what could be enabled.

    Ends with 0 also when a unit has problems; `config check` is for finding out whether all is well.
    """
    from guerillabackup.cli.unit_survey import survey_units

    survey = survey_units(invocation.configuration())
    if invocation.as_json:
        invocation.write_record(
            {
                "units": [
                    {
                        "unit": view.name,
                        "class": view.class_name,
                        "definition": view.definition,
                        "overlay": view.overlay,
                        "sources": view.sources,
                        "problems": view.problems,
                    }
                    for view in survey.units
                ],
                "definitions": [
                    {
                        "definition": definition.name,
                        "path": definition.path,
                        "summary": definition.summary,
                        "template": definition.template,
                        "units": names,
                    }
                    for definition, names in survey.definitions
                ],
                "warnings": survey.warnings,
            }
        )
        return
    _tell(invocation, survey, verbose)


@unit.command()
@click.argument("definition", metavar="NAME", type=DEFINITION)
@click.option("--as", "alias", metavar="ALIAS", help="Name of the unit; letters and digits. Default: NAME.")
@shared(
    example="guerillabackup unit enable TarBackupUnit\n"
    "guerillabackup unit enable TarBackupUnit --as HomeBackup\n"
    "guerillabackup unit enable /etc/guerillabackup/lib-enabled/MyUnit.py"
)
def enable(invocation: Invocation, definition: str, alias: str | None) -> None:
    """Have a unit run: link its definition file into the folder of the units.

    NAME is one of those that `unit list` shows, or the path of a file of your own. Its settings are made from
    their template, if there are none yet. Nothing that is there is changed; enabling a unit once more does
    no harm.
    """
    from guerillabackup.cli.service_hint import is_service_there, reload_command
    from guerillabackup.config import MAIN_FILE
    from guerillabackup.generator.activation import activate, choose_definition, find_definitions
    from guerillabackup.original.loading import load_any_unit_class

    directory = _units_directory(invocation)
    chosen = choose_definition(definition, find_definitions(directory))
    done = activate(directory, chosen, alias or chosen.name, load_any_unit_class)
    option = config_dir_option(invocation.config_directory)
    overlay = done.unit.overlay
    settings = overlay or f"{done.unit.path}.config"
    commands = [
        f'"${{EDITOR:-vi}}" {shlex.quote(settings)}  # what to back up, and when',
        f"guerillabackup config check{option}",
        f"guerillabackup generator run --once{option}",
    ]
    if is_running := is_service_there(invocation):
        commands[-1] = reload_command(invocation.config_directory)
    if not os.path.lexists(os.path.join(invocation.config_directory, MAIN_FILE)):
        commands.insert(0, f"guerillabackup config init{option}")
    if invocation.as_json:
        invocation.write_record(
            {
                "unit": done.unit.name,
                "path": done.unit.path,
                "definition": done.definition,
                "overlay": overlay,
                "was_enabled": not done.is_new,
                "overlay_was_made": done.is_overlay_new,
                "service_runs": is_running,
                "next": commands,
            }
        )
        return
    invocation.say(
        f"{'enabled' if done.is_new else 'is enabled already:'} unit {done.unit.name}, {done.definition}"
    )
    if overlay is not None:
        invocation.say(f"{'made' if done.is_overlay_new else 'kept'} its settings, {overlay}")
    if is_running:
        invocation.say("a service runs, and knows nothing of it before it reads its configuration anew")
    invocation.say("next:")
    for command in commands:
        invocation.say(f"  {command}")


@unit.command()
@click.argument("name", type=UNIT)
@shared(example="guerillabackup unit disable HomeBackup")
def disable(invocation: Invocation, name: str) -> None:
    """Have a unit run no more: remove its link from the folder of the units.

    Its settings, what it remembers and what it stored stay: when it is enabled again, it goes on from there.
    A unit that is a file of its own is not removed.
    """
    from guerillabackup.cli.service_hint import is_service_there, reload_command
    from guerillabackup.generator.activation import deactivate, definition_of
    from guerillabackup.generator.loader import list_units

    directory = _units_directory(invocation)
    listing = list_units(directory)
    definitions = {unit.name: definition_of(unit) for unit in listing.units}
    done = deactivate(directory, name, listing)
    definition = definitions[name]
    is_running = is_service_there(invocation)
    if invocation.as_json:
        invocation.write_record(
            {
                "unit": done.name,
                "definition": definition,
                "overlay": done.overlay,
                "service_runs": is_running,
            }
        )
        return
    invocation.say(f"disabled unit {done.name}, {definition}")
    if done.overlay is not None:
        invocation.say(f"kept its settings, {done.overlay}")
    if is_running:
        command = reload_command(invocation.config_directory)
        invocation.say(f"a service runs, and runs the unit until it reads its configuration anew: {command}")


def _tell(invocation: Invocation, survey: "UnitSurvey", verbose: bool) -> None:
    units = [
        {
            "unit": view.name,
            "class": view.class_name,
            "sources": view.sources,
            "settings": view.overlay,
            "definition": view.definition,
        }
        for view in survey.units
    ]
    if not units:
        invocation.say("no unit is enabled")
    elif verbose:
        for number, record in enumerate(units):
            if number:
                invocation.say()
            invocation.write_record(record)
    else:
        invocation.write_records(units, ["unit", "class", "sources"], fitting=True)
    for view in survey.units:
        for problem in view.problems:
            invocation.say(f"problem of unit {view.name}: {problem}")
    invocation.say()
    invocation.write_records(
        [
            {"definition": definition.name, "enabled_as": names, "what_it_makes": definition.summary}
            for definition, names in survey.definitions
        ],
        ["definition", "enabled_as", "what_it_makes"],
        fitting=True,
    )
    for warning in survey.warnings:
        invocation.warn(warning)


def _units_directory(invocation: Invocation) -> str:
    from guerillabackup.config import UNITS_DIRECTORY

    return os.path.join(invocation.config_directory, UNITS_DIRECTORY)
