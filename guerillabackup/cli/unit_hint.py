"""What to type to activate a unit, with the paths of this installation.

Touches: os, shlex.
"""

import os
import shlex

from guerillabackup.cli.config_init import UNIT, find_definition, find_template
from guerillabackup.config import UNITS_DIRECTORY


def activation_commands(config_directory: str) -> tuple[str, ...]:
    """The commands that activate the tar unit; none where this installation lacks its files."""
    target = os.path.join(config_directory, UNITS_DIRECTORY, UNIT)
    definition = find_definition()
    if definition is None:
        return ()
    template = find_template(f"units/{UNIT}.config.template")
    return (
        f"ln -s {shlex.quote(definition)} {shlex.quote(target)}",
        f"cp {shlex.quote(template)} {shlex.quote(target)}.config",
    )


def what_to_do(config_directory: str) -> str:
    """In one line, for an error or a warning."""
    settings = os.path.join(config_directory, UNITS_DIRECTORY, f"{UNIT}.config")
    commands = " && ".join(activation_commands(config_directory))
    first = f"activate a unit with: {commands}; then say" if commands else "say"
    return f"{first} what to back up in {settings}"
