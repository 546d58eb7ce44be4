"""What to type to activate a unit. Touches: os, shlex."""

import os
import shlex

from guerillabackup.cli.common import DEFAULT_CONFIG_DIRECTORY
from guerillabackup.config import UNITS_DIRECTORY

UNIT = "TarBackupUnit"


def config_dir_option(config_directory: str) -> str:
    """What a command needs for this configuration directory: an option behind a space, or nothing."""
    if config_directory == DEFAULT_CONFIG_DIRECTORY:
        return ""
    return f" --config-dir {shlex.quote(config_directory)}"


def activation_command(config_directory: str) -> str:
    """The command that activates the tar unit."""
    return f"guerillabackup unit enable {UNIT}{config_dir_option(config_directory)}"


def what_to_do(config_directory: str) -> str:
    """In one line, for an error or a warning."""
    settings = os.path.join(config_directory, UNITS_DIRECTORY, f"{UNIT}.config")
    command = activation_command(config_directory)
    return f"activate a unit with: {command}; then say what to back up in {settings}"
