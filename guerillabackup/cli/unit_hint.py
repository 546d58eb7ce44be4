"""What to type to activate a unit. Touches: os."""

import os

from guerillabackup.command_option import config_dir_option
from guerillabackup.config import UNITS_DIRECTORY

UNIT = "TarBackupUnit"


def activation_command(config_directory: str) -> str:
    """The command that activates the tar unit."""
    return f"guerillabackup unit enable {UNIT}{config_dir_option(config_directory)}"


def what_to_do(config_directory: str) -> str:
    """In one line, for an error or a warning."""
    settings = os.path.join(config_directory, UNITS_DIRECTORY, f"{UNIT}.config")
    command = activation_command(config_directory)
    return f"activate a unit with: {command}; then say what to back up in {settings}"
