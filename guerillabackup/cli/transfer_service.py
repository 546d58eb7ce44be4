"""The program `gb-transfer-service`: the transfer service, by the name and arguments it had in the original.

Arguments and exit status; it joins the transfer service to the terminal.
"""

import os

import click

from guerillabackup.cli.common import ExitStatus, begin
from guerillabackup.cli.main import start
from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY

NAME = "gb-transfer-service"


@click.command(NAME, context_settings={"help_option_names": ["--Help", "--help"]})
@click.option(
    "--Config",
    "config_file",
    metavar="FILE",
    default=f"{DEFAULT_CONFIG_DIRECTORY}/config",
    show_default=True,
    help="The main configuration file.",
)
def transfer_service(config_file: str) -> ExitStatus:
    """Send elements to other transfer services and fetch theirs, until it is told to end (SIGTERM).

    It is what gb-transfer-service of GuerillaBackup 0.5.0 was. A configuration that does not say where state
    and sockets are has them where they were with that. All else is as with `guerillabackup transfer serve`,
    but that the configuration may have any name; SIGHUP, which ended it, has that read anew. Wrong arguments
    end with 1. What asks a service takes such a FILE too: guerillabackup transfer status --config FILE.

    \b
    Example:
      gb-transfer-service --Config /etc/guerillabackup/config
    """
    path = os.path.abspath(config_file)
    directory, name = os.path.split(path)
    invocation = begin(directory, as_json=False, debug=False)
    from guerillabackup.cli.transfer import run_as_service
    from guerillabackup.original.functions import DEFAULTS
    from guerillabackup.transfer.service import Source

    return run_as_service(invocation, Source(invocation.config_directory, name, DEFAULTS))


def main() -> None:
    """The program's entry point."""
    start(transfer_service, usage_status=ExitStatus.ERROR)
