"""The program `gb-backup-generator`: the generator, by the name and the arguments it had in the original.

Arguments and exit status; it joins the generator's service to the terminal.
"""

import click

from guerillabackup.cli.common import ExitStatus, begin
from guerillabackup.cli.main import start
from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY

NAME = "gb-backup-generator"


@click.command(NAME, context_settings={"help_option_names": ["--Help", "--help"]})
@click.option(
    "--ConfigDir",
    "config_directory",
    metavar="DIR",
    default=DEFAULT_CONFIG_DIRECTORY,
    show_default=True,
    help="The configuration directory.",
)
def backup_generator(config_directory: str) -> ExitStatus:
    """Run the generator units as they are due, until it is told to end (SIGTERM).

    It is what gb-backup-generator of GuerillaBackup 0.5.0 was. A configuration that does not say where state
    and sockets are has them where they were with that. All else is as with `guerillabackup generator run`,
    which has more options. Wrong arguments end with 1.

    \b
    Example:
      gb-backup-generator --ConfigDir /etc/guerillabackup
    """
    invocation = begin(config_directory, as_json=False, debug=False)
    from guerillabackup.cli.generator import serve
    from guerillabackup.original.functions import DEFAULTS

    return serve(invocation, DEFAULTS)


def main() -> None:
    """The program's entry point."""
    start(backup_generator, usage_status=ExitStatus.ERROR)
