"""The commands about a transfer service: `status`, `peers`, `limit`, `stdio` and `confirm`.

Arguments, output and exit status. It joins the control socket and the storage to the terminal.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import ELEMENT, PEER, RATE, STDIO_PEER, storage_option
from guerillabackup.element import ElementId
from guerillabackup.errors import ConfigError, GuerillaBackupError

if TYPE_CHECKING:
    from guerillabackup.observe.control_client import ServiceClient

RUNTIME = "GeneralRuntimeDataDir"
MAX_SHOWN = 20
"""Claimed, or refused, elements that are shown to a reader."""
MAX_ALIKE = 3
"""Of those, which one peer has refused for one reason."""
MAX_DOUBTS = 5


def connect_to_service(invocation: Invocation) -> "ServiceClient":
    """A client of the service of this configuration; raises NoServiceError."""
    from guerillabackup.observe.control_client import ServiceClient
    from guerillabackup.transfer.control_messages import TRANSFER

    return ServiceClient(find_runtime_directory(invocation), TRANSFER)


def find_runtime_directory(invocation: Invocation) -> str:
    """Where the service's sockets are, also where the configuration cannot be used just now."""
    from guerillabackup.config import MAIN_FILE
    from guerillabackup.config_line import find_plain_text

    try:
        configuration = invocation.configuration()
        configuration.require(RUNTIME)
    except ConfigError as error:
        name = invocation.main_file or MAIN_FILE
        directory = find_plain_text(os.path.join(invocation.config_directory, name), RUNTIME)
        if directory is None:
            raise
        for problem in error.problems:
            invocation.warn(f"the configuration cannot be used now: {problem}")
        return directory
    return str(configuration[RUNTIME])


@click.command()
@shared(
    example="""guerillabackup transfer status
guerillabackup transfer status --json""",
    takes_file=True,
)
def status(invocation: Invocation) -> ExitStatus:
    """Show what the service does: its peers, rates, what waits to be sent, what was refused or only claimed.

    Claimed is an element of which a peer says that it holds it, without having taken it from here just
    before, or whose word is not enough (AcceptBareAcknowledgement): it stays until `transfer confirm`.

    Ends with 0, with 3 when a peer fails, is left out, or neither sends nor takes anything, when something is
    claimed, kept as refused or was so by a peer's last connection, when an incremental came whose predecessor
    did not (until that or a new full of its source comes), what is in a storage cannot be told, or the last
    reload was refused, and with 1 when no service runs.
    """
    from guerillabackup.transfer.control_messages import Request

    with connect_to_service(invocation) as client:
        answer = client.ask(Request("status").describe())
    del answer["ok"]
    answer |= _survey(invocation)
    if invocation.as_json:
        invocation.write_record(answer)
    else:
        for line in _describe_status(answer, time.time()):
            invocation.say(line)
    has_problem = (
        answer["reload_refused"]
        or answer["left_out"]
        or answer["claimed"]
        or answer["refused"]
        or answer["broken_chains"]
        or answer["queue"] is None
        or any(
            _is_failing(peer) or peer["refused_lately"] or peer["moves_nothing"] for peer in answer["peers"]
        )
    )
    return ExitStatus.SOME_FAILED if has_problem else ExitStatus.OK


@click.command()
@shared(
    example="""guerillabackup transfer peers
guerillabackup transfer peers --json""",
    takes_file=True,
)
def peers(invocation: Invocation) -> ExitStatus:
    """List the peers of the configuration: how each is reached, and what it may do. Needs no service.

    Ends with 0, and with 1 when the configuration cannot be used.
    """
    from guerillabackup.transfer.plan import describe_reach
    from guerillabackup.transfer.report import describe_plan
    from guerillabackup.transfer.service import plan_of

    plan = plan_of(invocation.configuration())
    records = [describe_plan(peer) for peer in plan.peers]
    reached = {peer.agent_id: describe_reach(peer) for peer in plan.peers}
    if not invocation.as_json:
        for record in records:
            record["reached"] = reached[record["peer"]]
            record["does"] = " and ".join(word for word in ("sends", "receives") if record[word]) or "nothing"
    invocation.write_records(records, ("peer", "does", "reached"))
    return ExitStatus.OK


@click.command()
@click.argument("rate", metavar="[BYTES|none]", type=RATE, required=False)
@shared(
    example="""guerillabackup transfer limit 2M
guerillabackup transfer limit 500000
guerillabackup transfer limit none
guerillabackup transfer limit""",
    takes_file=True,
)
def limit(invocation: Invocation, rate: int | str | None) -> ExitStatus:
    """Let all connections of the running service together receive, and send, so many bytes a second at most.

    BYTES may end with k, M or G: KiB, MiB or GiB. Without an argument the limit is shown. A new one holds
    until the service is restarted or its configuration read anew, which sets TransferBandwidthLimit. Ends
    with 0, and with 1 when no service runs.
    """
    from guerillabackup.transfer.control_messages import LOW_RATE, Request

    number = rate if isinstance(rate, int) else None
    if number is not None and number < LOW_RATE:
        invocation.warn(f"{number} bytes a second are so few that peers give the connection up")
    request = Request("status") if rate is None else Request("limit", rate=number)
    with connect_to_service(invocation) as client:
        number = client.ask(request.describe())["bandwidth_limit"]
    if invocation.as_json:
        invocation.write_record({"bandwidth_limit": number})
    else:
        invocation.say("no limit" if number is None else f"at most {number} bytes a second")
    return ExitStatus.OK


@click.command()
@click.option(
    "--agent",
    "agent_id",
    metavar="NAME",
    type=STDIO_PEER,
    required=True,
    help="The peer at the other end, in TransferPeers.",
)
@shared(
    example="""# in ~/.ssh/authorized_keys of the user of the service, on one line:
# restrict,command="guerillabackup transfer stdio --agent beta" ssh-ed25519 AAAA… beta""",
    takes_file=True,
)
def stdio(invocation: Invocation, agent_id: str) -> ExitStatus:
    """Let the running service talk to the peer at this command's standard input and output.

    For an ssh forced command, which says who the peer is; it needs `'Stdio': True` in TransferPeers. Ends
    when the connection does: with 0 when both sides had agreed to that, else with 1, as when no service runs.
    """
    if invocation.as_json:
        raise click.UsageError("--json: standard output is the peer's")
    from guerillabackup.transfer.plan import STDIO_SOCKET_NAME
    from guerillabackup.transfer.stdio_relay import relay_stdio

    relay_stdio(os.path.join(find_runtime_directory(invocation), STDIO_SOCKET_NAME), agent_id)
    return ExitStatus.OK


@click.command()
@click.argument("element_id", metavar="ELEMENT", type=ELEMENT)
@click.option("--agent", "agent_id", metavar="NAME", type=PEER, help="Who holds it, when several say so.")
@click.option("--mark", is_flag=True, help="Keep it, marked as transferred, in place of deleting it.")
@click.option("--withdraw", is_flag=True, help="It is not so: offer the element to that peer again.")
@storage_option
@shared(
    example="guerillabackup transfer confirm /alpha/system/20261120140000-root-full --agent central",
    takes_file=True,
)
def confirm(
    invocation: Invocation,
    element_id: ElementId,
    agent_id: str | None,
    mark: bool,
    withdraw: bool,
    storage: str | None,
) -> ExitStatus:
    """Confirm what a peer claims: that it holds ELEMENT, which is deleted here, or marked; or deny it.

    A peer that says so without having taken the element from here has proved nothing: look there first. One
    with AcceptBareAcknowledgement False has mostly been sent all of it, which `transfer status` tells. What
    is said of an element holds for its list of members (SOURCE.members) too, where that peer claims it. Ends
    with 0, and with 1 when there is no such element or nobody claims to hold it.
    """
    from contextlib import closing

    from guerillabackup.restore.companions import find_lists
    from guerillabackup.storage.registry import open_storage
    from guerillabackup.transfer.sender_marks import (
        CLAIMED,
        confirm_element,
        read_marks,
        withdraw_claim,
    )

    if mark and withdraw:
        raise click.UsageError("--mark and --withdraw exclude each other")

    configuration = invocation.configuration_for(storage)
    directory = storage or _storage_of(invocation)
    state = configuration.get("GeneralPersistencyBaseDir")
    with closing(open_storage(directory, state_directory=state)) as opened:
        claims = sorted(read_marks(opened.get_backup_data_element(element_id), CLAIMED))
        if agent_id is None and len(claims) != 1:
            raise GuerillaBackupError(
                f"element {element_id} is claimed by {', '.join(claims) or 'nobody'}"
                + ("; say by --agent whom you believe" if claims else "")
            )
        agent = agent_id or claims[0]
        # Found before the element goes, by which they are.
        lists = [
            each.get_element_id()
            for each in find_lists(opened, opened.get_backup_data_element(element_id))
            if agent in read_marks(each, CLAIMED)
        ]
        for each_id in (element_id, *lists):
            if withdraw:
                withdraw_claim(opened, each_id, agent)
            else:
                confirm_element(opened, each_id, agent, time.time(), mark_only=mark)
    outcome = "withdrawn" if withdraw else "marked" if mark else "deleted"
    if invocation.as_json:
        invocation.write_record(
            {"element": str(element_id), "agent": agent, "outcome": outcome, "members": list(map(str, lists))}
        )
    elif withdraw:
        invocation.say(f"{element_id} is offered to {agent} again")
    else:
        invocation.say(f"{outcome} {element_id}: {agent} holds it")
    for each_id in lists:
        invocation.say(f"  and so its list of members, {each_id}")
    return ExitStatus.OK


def _storage_of(invocation: Invocation) -> str:
    from guerillabackup.transfer.service import plan_of

    storages = plan_of(invocation.configuration()).storages
    if len(storages) != 1:
        raise ConfigError(f"there are {len(storages)} storages: name one with --storage")
    return storages[0]


def _survey(invocation: Invocation) -> dict[str, Any]:
    """What is in the storages, which the service is not kept busy with."""
    from guerillabackup.cli.transfer_survey import survey_storages

    try:
        found = survey_storages(invocation.configuration())
    except GuerillaBackupError as error:
        invocation.warn(f"what waits to be sent is not known: {error}")
        return {"queue": None, "claimed": [], "refused": [], "broken_chains": []}
    return {
        "queue": found.queue,
        "claimed": found.claimed,
        "refused": found.refused,
        "broken_chains": found.broken_chains,
    }


def _is_failing(peer: Mapping[str, Any]) -> bool:
    at = peer["last_error_at"]
    return at is not None and (peer["last_success"] is None or at > peer["last_success"])


def _describe_status(answer: Mapping[str, Any], now: float) -> Iterable[str]:
    from guerillabackup.cli.format import human_rate, human_size, human_time

    ending = ", and is ending" if answer["stopping"] else ""
    yield f"process {answer['process_id']} since {human_time(answer['started_at'])}{ending}"
    if (refused := answer["reload_refused"]) is not None:
        yield (
            f"the reload at {human_time(refused['at'])} was refused, and the service runs with the "
            f"configuration of {human_time(answer['configuration_read_at'])}: {refused['error']}"
        )
    for left in answer["left_out"]:
        yield f"peer {left['peer']} is left out: {left['problem']}"
    rate = answer["bandwidth_limit"]
    limited = "" if rate is None else f", at most {human_rate(rate)} each way"
    yield (
        f"{answer['connections']} of {answer['max_connections']} connections: receives "
        f"{human_rate(answer['received_per_second'])}, sends {human_rate(answer['sent_per_second'])}{limited}"
    )
    for queue in answer["queue"] or ():
        text = f"{queue['elements']} elements wait in {queue['storage']} to be sent"
        if queue["elements"]:
            text += f", {human_size(queue['bytes'])}, the first since {human_time(queue['oldest'])}"
        if queue["offered_to_nobody"]:
            text += f"; {queue['offered_to_nobody']} more are offered to no configured peer"
        yield text
    for peer in answer["peers"]:
        yield from _describe_peer(peer, now)
    yield from _describe_refused(answer["refused"], now)
    doubts = [doubt for each in answer["receiving"] for doubt in each["doubts"]]
    for doubt in doubts[-MAX_DOUBTS:]:
        yield f"doubt: {doubt}"
    if len(doubts) > MAX_DOUBTS:
        yield f"{len(doubts) - MAX_DOUBTS} more doubts; --json has them"
    for broken in answer["broken_chains"][:MAX_SHOWN]:
        yield f"broken chain, of {broken['peer']} since {human_time(broken['since'])}: {broken['message']}"
    if len(answer["broken_chains"]) > MAX_SHOWN:
        yield f"{len(answer['broken_chains']) - MAX_SHOWN} more chains are broken; --json has them"
    for claimed in answer["claimed"][:MAX_SHOWN]:
        unproved = sorted(set(claimed["claims"]) - set(claimed["sent_to"]))
        if claimed["sent_to"]:
            agents = ", ".join(claimed["sent_to"])
            yield f"sent to {agents} in full, waits for your confirm: {claimed['element']}"
        if unproved:
            yield f"claimed, not proved: {claimed['element']} by {', '.join(unproved)}"
    if len(answer["claimed"]) > MAX_SHOWN:
        yield f"{len(answer['claimed']) - MAX_SHOWN} more are claimed; --json has them"


def _describe_refused(refused: Sequence[Mapping[str, Any]], now: float) -> Iterable[str]:
    """A few of each peer and reason: one key that is missing refuses everything."""
    from guerillabackup.cli.format import human_time

    counts: Counter[tuple[str, str]] = Counter()
    shown = 0
    for each in refused:
        counts[each["peer"], each["reason"]] += 1
        if counts[each["peer"], each["reason"]] > MAX_ALIKE or shown == MAX_SHOWN:
            continue
        shown += 1
        text = (
            f"refused of {each['peer']}, {each['count']} times, last at {human_time(each['last'])}: "
            f"{each['element'] or each['source']}: {each['reason']}"
        )
        if (next_try := each["next_try"]) is not None:
            text += f"; tried {'when it is offered' if next_try <= now else f'after {human_time(next_try)}'}"
        yield text + (f"; evidence: {each['evidence']}" if each["evidence"] else "")
    alike = {kind: count - MAX_ALIKE for kind, count in counts.items() if count > MAX_ALIKE}
    for (peer, reason), count in list(alike.items())[:MAX_ALIKE]:
        yield f"{count} more were refused of {peer}: {reason}; --json has them"
    other = len(refused) - shown - sum(list(alike.values())[:MAX_ALIKE])
    if other:
        yield f"{other} more were refused; --json has them"


def _describe_peer(peer: Mapping[str, Any], now: float) -> Iterable[str]:
    from guerillabackup.cli.format import human_size, human_span, human_time
    from guerillabackup.transfer.running import MOVES_NOTHING

    text = f"peer {peer['peer']}: "
    if peer["connections"]:
        text += f"connected since {human_time(peer['connected_since'])}"
        text += f", {peer['connections']} connections" if peer["connections"] > 1 else ""
        text += f", moves {peer['current']}" if peer["current"] else ""
    elif peer["last_success"] is not None:
        text += f"last success {human_time(peer['last_success'])}"
    else:
        text += "no success yet"
    for what in ("received", "sent"):
        if peer[f"last_{what}"] is not None:
            text += f"; last {what} an element {human_time(peer[f'last_{what}'])}"
    if peer["elements_received"] or peer["bytes_received"]:
        text += f"; received {peer['elements_received']} elements, {human_size(peer['bytes_received'])}"
    if peer["elements_sent"] or peer["bytes_sent"]:
        text += f"; sent {peer['elements_sent']}, {human_size(peer['bytes_sent'])}"
    if peer["elements_refused"]:
        text += f"; {peer['elements_refused']} refused"
        text += "" if peer["refused_lately"] else ", none of them lately"
    if peer["next_dial_in"] is not None and not peer["connections"]:
        text += f"; dialled in {human_span(peer['next_dial_in'])}"
    yield text
    if peer["moves_nothing"]:
        yield f"  {MOVES_NOTHING}"
    if _is_failing(peer):
        yield f"  failed {human_time(peer['last_error_at'])}: {peer['last_error']}"
