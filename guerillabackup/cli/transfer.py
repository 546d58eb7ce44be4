"""The commands that move elements between hosts: `transfer serve`, and those that ask a running service.

Arguments, output and exit status; it joins the transfer service to the terminal.
"""

from typing import TYPE_CHECKING

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.transfer_connect import connect
from guerillabackup.cli.transfer_control import confirm, limit, peers, status, stdio
from guerillabackup.cli.transfer_quarantine import quarantine

if TYPE_CHECKING:
    from guerillabackup.transfer.service import Source


@click.group()
def transfer() -> None:
    """Send elements to other hosts, and fetch theirs.

    \b
    Example:
      guerillabackup transfer serve
      guerillabackup transfer connect alpha
      guerillabackup transfer status
    """


@transfer.command()
@shared(example="guerillabackup transfer serve")
def serve(invocation: Invocation) -> ExitStatus:
    """Run the transfer service in the foreground, for good.

    It listens on transfer.socket in GeneralRuntimeDataDir and on the sockets of the peers in TransferPeers,
    and dials those that have a Connect, each in its Interval. What it sends and what it takes say the
    policies; see doc/Policies.txt, and doc/Tunnels.txt for how it is joined to other hosts.

    It ends in order on SIGTERM, with 0: transfers that are under way have TransferShutdownTime, and end at
    once on a second SIGTERM. SIGHUP has the configuration read anew, which ends no connection. It says to
    systemd (Type=notify) that it is ready, how it is, and that it is alive (WatchdogSec), and takes sockets
    that systemd listens at. The other commands ask it. Only one runs for a state directory; it ends with 1
    where it cannot begin. With --json each line of its log is a JSON object on standard output: time, level,
    message.
    """
    from guerillabackup.transfer.service import Source

    return run_as_service(invocation, Source(invocation.config_directory))


def run_as_service(invocation: Invocation, source: "Source") -> ExitStatus:
    """Run as a service of that configuration."""
    import logging

    from guerillabackup.cli.json_log import log_as_json_lines
    from guerillabackup.transfer.service import run_service

    if not invocation.debug:
        logging.getLogger("guerillabackup").setLevel(logging.INFO)
    with log_as_json_lines(invocation.as_json):
        run_service(source)
    return ExitStatus.OK


for command in (connect, stdio, status, peers, confirm, limit, quarantine):
    transfer.add_command(command)
