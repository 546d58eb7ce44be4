"""`transfer connect`: dial peers now, by the running service or without one, and follow what comes of it.

Arguments, output and exit status; it joins the transfer service and its control socket to the terminal.
"""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import PEER
from guerillabackup.cli.paths import FILE
from guerillabackup.cli.transfer_control import connect_to_service
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import EventListener, TransferEnded, TransferProgress

if TYPE_CHECKING:
    from guerillabackup.observe.control_client import ServiceClient
    from guerillabackup.transfer.broken_chains import BrokenChain
    from guerillabackup.transfer.interface import TransferCounters

_TELLING_ENDS = (
    "guerillabackup.transfer.broken_chains",
    "guerillabackup.transfer.dial_connector",
    "guerillabackup.transfer.running",
)
WAITING_SECONDS = 10.0
"""Until it is said which peer is waited for."""
MAX_SHOWN = 20
"""Broken chains of a peer that are shown to a reader."""
UNNAMED = "dialled"
"""The name of a peer that is only on the command line."""
MAX_LEFT_ALONE = 5
"""Elements left alone of one peer that are shown to a reader."""
ENDED = "the service ended before the connections did"


@click.command()
@click.argument("peers", metavar="[PEER]...", nargs=-1, type=PEER)
@click.option("--command", metavar="COMMAND", help="Dial by this command: its stdin and stdout are the peer.")
@click.option("--socket", "path", metavar="PATH", type=FILE, help="Dial this UNIX socket.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end, showing progress.")
@click.option("--quiet", is_flag=True, help="Write nothing when all is well; for cron.")
@shared(
    example="""guerillabackup transfer connect
guerillabackup transfer connect alpha --json
guerillabackup transfer connect --quiet
guerillabackup transfer connect --command 'ssh -T backup@alpha'""",
    takes_file=True,
)
def connect(
    invocation: Invocation,
    peers: tuple[str, ...],
    command: str | None,
    path: str | None,
    wait: bool,
    quiet: bool,
) -> ExitStatus:
    """Send to and fetch from PEER now, or all peers with a Connect in TransferPeers.

    Where the service runs it does that, right after the connection that it may have with the peer; else it is
    done here, once. With --command or --socket, for which no service may run, a peer is dialled that need not
    be in the configuration; PEER then is the name it gets.

    A peer that says nothing is given up after a minute where no service runs. For cron:
    `17 * * * * root /usr/bin/guerillabackup transfer connect --quiet` in a file of /etc/cron.d.

    An element that was refused is left alone for a while, longer each time up to a day, which is told; with a
    PEER and without --quiet all are tried. Without a service the peer is dialled again where one ended the
    connection, so that those behind it come.

    Ends with 0 when all went well, with 3 when a peer failed, elements were refused or left alone, neither
    side sends what the other takes, or what came of PEER, now or before, lacks the element it follows, and
    with 1 when it could not be begun. With --no-wait: with 0 when the service has taken note.
    """
    if quiet and (invocation.as_json or not wait):
        raise click.UsageError("--quiet goes without --json and --no-wait")
    if command is not None or path is not None:
        if command is not None and path is not None:
            raise click.UsageError("--command and --socket exclude each other")
        if len(peers) > 1 or not wait:
            raise click.UsageError("--command and --socket go with one PEER, and without --no-wait")
        target = _split(command or "") if path is None else _check_path(path)
        return _dial(invocation, peers or (UNNAMED,), target, quiet, tries_all=not quiet)
    from guerillabackup.observe.control_socket import NoServiceError
    from guerillabackup.transfer.control_messages import Request

    tries_all = bool(peers) and not quiet
    try:
        client = connect_to_service(invocation)
    except NoServiceError:
        if not wait:
            raise
        return _dial(invocation, peers, None, quiet, tries_all=tries_all)
    with client:
        answer = client.ask(Request("connect", peers, wait, tries_all=tries_all).describe())
        if not wait:
            if invocation.as_json:
                invocation.write_record({"peers": answer["peers"]})
            for name in answer["peers"]:
                invocation.say(f"peer {name} will be dialled; see: guerillabackup transfer status")
            return ExitStatus.OK
        return _conclude(invocation, _follow(invocation, client, answer["peers"]), quiet)


def _check_path(path: str) -> str:
    """As it is from everywhere; wrong usage where no socket is."""
    import stat

    path = os.path.abspath(path)
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise GuerillaBackupError(f"--socket {path}: {error.strerror}") from error
    if not is_socket:
        raise GuerillaBackupError(f"--socket {path}: is not a socket")
    return path


def _split(command: str) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise click.UsageError(f"--command {command!r} is no command line: {error}") from error
    if not argv:
        raise click.UsageError("--command is empty")
    return argv


def _dial(
    invocation: Invocation,
    names: tuple[str, ...],
    target: str | tuple[str, ...] | None,
    quiet: bool,
    *,
    tries_all: bool,
) -> ExitStatus:
    import logging

    from guerillabackup.cli.quiet import hold_standing_warnings
    from guerillabackup.transfer.report import describe_counters
    from guerillabackup.transfer.service import Source, dial_once

    source = Source(invocation.config_directory)
    if invocation.main_file is not None:
        from guerillabackup.original.functions import DEFAULTS

        source = Source(invocation.config_directory, invocation.main_file, DEFAULTS)
    if not invocation.debug:
        # What became of each peer is told at the end.
        for name in _TELLING_ENDS:
            logging.getLogger(name).setLevel(logging.ERROR)
    waiting = _Waiting(invocation)
    with hold_standing_warnings(quiet), invocation.progress() as show:

        def tick(name: str, counters: "TransferCounters") -> None:
            moved = describe_counters(counters)
            waiting.tick(name, moved)
            _show_progress(show, name, moved)

        outcomes = dial_once(source, names, target, listen=show, tick=tick, tries_all=tries_all)
    ends = [
        {
            "peer": outcome.agent_id,
            "error": outcome.error,
            "moves_nothing": outcome.moves_nothing,
            **describe_counters(outcome.counters),
        }
        for outcome in outcomes
    ]
    return _conclude(invocation, ends, quiet)


class _Waiting:
    """Says once of each peer that has moved nothing for long that it is waited for."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._since = time.monotonic()
        self._told: set[str] = set()

    def tick(self, name: str, moved: Mapping[str, Any]) -> None:
        """How far a peer is that has not ended."""
        is_moving = moved["bytes_received"] or moved["bytes_sent"] or moved["current"]
        if name in self._told or is_moving or time.monotonic() - self._since < WAITING_SECONDS:
            return
        self._told.add(name)
        self._invocation.note(f"waiting for peer {name}, which has moved nothing so far")


def _follow(invocation: Invocation, client: "ServiceClient", names: Sequence[str]) -> list[dict[str, Any]]:
    """What came of these peers; shows how far they are."""
    from guerillabackup.events_json import parse_event

    ends: list[dict[str, Any]] = []
    count = len(names)
    waiting = _Waiting(invocation)
    with invocation.progress() as show:
        for message in client.follow():
            if "progress" in message:
                waiting.tick(message["progress"], message)
                _show_progress(show, message["progress"], message)
            elif "event" in message and (event := parse_event(message["event"])) is not None:
                show(event)
            elif "ended" in message:
                name = message.pop("ended")
                show(TransferEnded(name, message["error"]))
                ends.append({"peer": name, **message})
            if len(ends) == count:
                break
    if len(ends) < count:
        raise GuerillaBackupError(ENDED)
    return sorted(ends, key=lambda end: str(end["peer"]))


def _show_progress(show: EventListener, name: str, moved: Mapping[str, Any]) -> None:
    show(
        TransferProgress(
            name,
            moved["elements_received"],
            moved["bytes_received"],
            moved["elements_sent"],
            moved["bytes_sent"],
            moved["current"] or "",
        )
    )


def _conclude(invocation: Invocation, ends: list[dict[str, Any]], quiet: bool) -> ExitStatus:
    from guerillabackup.transfer.running import MOVES_NOTHING

    broken = _find_broken(invocation)
    for end in ends:
        end.pop("current", None)
        end["broken_chains"] = [chain.describe() for chain in broken if chain.agent_id == end["peer"]]
    _add_left_alone(invocation, ends)
    if invocation.as_json:
        invocation.write_record({"peers": ends})
    for end in ends:
        if not quiet:
            invocation.say(f"peer {end['peer']}: {_describe(end)}")
        if end["error"] is not None:
            invocation.warn(f"peer {end['peer']}: {end['error']}")
        elif quiet and end["elements_refused"]:
            invocation.warn(f"peer {end['peer']}: {_describe(end)}")
        if end["elements_left_alone"]:
            invocation.warn(f"peer {end['peer']}: {_describe_left_alone(end)}")
        if end.get("moves_nothing"):
            invocation.warn(f"peer {end['peer']} {MOVES_NOTHING}")
        ours = [chain for chain in broken if chain.agent_id == end["peer"]]
        for chain in ours[:MAX_SHOWN]:
            invocation.warn(f"peer {end['peer']}: {chain.message}")
        if len(ours) > MAX_SHOWN:
            invocation.warn(f"peer {end['peer']}: {len(ours) - MAX_SHOWN} more chains are broken")
    has_problem = any(
        end["error"] is not None
        or end["elements_refused"]
        or end["elements_left_alone"]
        or end.get("moves_nothing")
        or end["broken_chains"]
        for end in ends
    )
    return ExitStatus.SOME_FAILED if has_problem else ExitStatus.OK


def _find_broken(invocation: Invocation) -> "list[BrokenChain]":
    """What lacks its predecessor here, whenever it came; nothing where that cannot be told."""
    from guerillabackup.cli.transfer_survey import find_broken_chains

    try:
        return find_broken_chains(invocation.configuration())
    except GuerillaBackupError as error:
        invocation.warn(f"which chains are broken is not known: {error}")
        return []


def _add_left_alone(invocation: Invocation, ends: list[dict[str, Any]]) -> None:
    """Which elements were left alone, as far as this is known here."""
    from guerillabackup.transfer.refused_file import list_refused

    refused: list[dict[str, Any]] = []
    if any(end["elements_left_alone"] for end in ends):
        try:
            refused = list_refused(str(invocation.configuration()["GeneralPersistencyBaseDir"]))
        except (ConfigError, KeyError):
            refused = []  # of a configuration that cannot be used just now there are the numbers
    now = time.time()
    for end in ends:
        waiting = [each for each in refused if each["peer"] == end["peer"] and each["next_try"] > now]
        waiting.sort(key=lambda each: float(each["next_try"]))
        end["left_alone"] = waiting if end["elements_left_alone"] else []


def _describe_left_alone(end: Mapping[str, Any]) -> str:
    from guerillabackup.cli.format import human_time

    count = end["elements_left_alone"]
    text = f"left {count} {'element' if count == 1 else 'elements'} alone, refused before"
    for each in end["left_alone"][:MAX_LEFT_ALONE]:
        text += f"; until {human_time(each['next_try'])} {each['element']}: {each['reason']}"
    if len(end["left_alone"]) > MAX_LEFT_ALONE:
        text += "; and others"
    return f"{text}; to try all now: guerillabackup transfer connect {end['peer']}"


def _describe(end: Mapping[str, Any]) -> str:
    from guerillabackup.cli.format import human_size

    text = (
        f"received {end['elements_received']} elements ({human_size(end['bytes_received'])}), "
        f"sent {end['elements_sent']} ({human_size(end['bytes_sent'])})"
    )
    text += f", {end['elements_refused']} refused" if end["elements_refused"] else ""
    return text + (f", {end['elements_claimed']} claimed without proof" if end["elements_claimed"] else "")
