"""What a command that a message prints needs, to be about the same configuration. No I/O."""

import shlex

DEFAULT_CONFIG_DIRECTORY = "/etc/guerillabackup"


def config_dir_option(config_directory: str) -> str:
    """An option behind a space; nothing for the default directory."""
    if config_directory == DEFAULT_CONFIG_DIRECTORY:
        return ""
    return f" --config-dir {shlex.quote(config_directory)}"
