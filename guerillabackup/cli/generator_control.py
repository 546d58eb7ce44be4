"""The commands that ask a running service: `generator list`, `status`, `trigger` and `reload`.

Arguments, output and exit status. Where the configuration is wrong just now, they need no more of it than
where the socket is. It joins the control socket to the terminal.
"""

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import SOURCE, UNIT
from guerillabackup.cli.service_hint import RUNTIME, with_unread
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, StorageError
from guerillabackup.events import EventListener, SourceWarning

if TYPE_CHECKING:
    from guerillabackup.observe.control_client import ServiceClient

TEST_MODE = "unit {} stores nothing: GeneralDebugTestModeFlag is set"
RELOAD_SECONDS = 60.0
"""For the service to read all files anew, whatever the code in them does."""
ENDED = "the service ended before the backup did; after its next start it makes what is due by then"


@click.command("list")
@shared(
    example="""guerillabackup generator list
guerillabackup generator list --json"""
)
def list_units(invocation: Invocation) -> ExitStatus:
    """List the units of the service and their sources, when each is due next, and what came of the last time.

    NOTE has why the last backup of a source failed, or for what it waits, as for a program that still has a
    log file open.
    What was before the start of the service is not shown here; `element list` has all that is stored. Ends
    with 0, and with 1 when no service runs.
    """
    from guerillabackup.generator.control_messages import Request

    with _connect(invocation) as client:
        units = client.ask(Request("list").describe())["units"]
    for unit in units:
        if unit["test_mode"]:
            invocation.warn(TEST_MODE.format(unit["unit"]))
    if invocation.as_json:
        invocation.write_records(units, ())
        return ExitStatus.OK
    rows = [row for unit in units for row in _rows_of(unit)]
    invocation.write_records(rows, ("unit", "state", "next", "source", "last_stored", "note"))
    return ExitStatus.OK


@click.command()
@shared(
    example="""guerillabackup generator status
guerillabackup generator status --json"""
)
def status(invocation: Invocation) -> ExitStatus:
    """Show what the service does: what runs and how far it is, what waits, is hung, or has failed since when.

    What waits is a unit whose DefaultUnitRunCondition does not hold, or a log file that a program has open.
    A run is hung when it gave no sign of life for PipelineStallTimeout: the others are run beside it. Ends
    with 0, with 3 when something has failed or is hung or the last reload was refused, and with 1 when no
    service runs.
    """
    from guerillabackup.generator.control_messages import Request

    with _connect(invocation) as client:
        answer = client.ask(Request("status").describe())
    del answer["ok"]
    for name in answer["test_mode"]:
        invocation.warn(TEST_MODE.format(name))
    if invocation.as_json:
        invocation.write_record(answer)
    else:
        for line in _describe_status(answer, time.time()):
            invocation.say(line)
    has_problem = answer["failed"] or answer["hung"] or answer["refused"]
    return ExitStatus.SOME_FAILED if has_problem else ExitStatus.OK


@click.command()
@click.option("--unit", "unit_names", metavar="NAME", type=UNIT, multiple=True, help="This unit; repeatable.")
@click.option(
    "--source", "source_urls", metavar="URL", type=SOURCE, multiple=True, help="This source; repeatable."
)
@click.option("--full", is_flag=True, help="Make full backups.")
@click.option(
    "--accept-empty",
    is_flag=True,
    help="Full backups of these sources, also of a directory that is empty, or not mounted, all of a sudden.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end, showing progress.")
@shared(
    example="""guerillabackup generator trigger --source /myhost/system/root
guerillabackup generator trigger --unit TarBackupUnit --full --no-wait"""
)
def trigger(
    invocation: Invocation,
    unit_names: tuple[str, ...],
    source_urls: tuple[SourceUrl, ...],
    full: bool,
    accept_empty: bool,
    wait: bool,
) -> ExitStatus:
    """Let the service back up a unit, or single sources, now: whatever its timing and run condition say.

    A unit that runs already is run once more when it has ended. Interrupting this command does not end the
    backup. Ends with 0 when all went well, with 3 when a source has no new element, with 5 when the reason
    was a key each time, and with 1 when no service runs or it ended before the backup did. With --no-wait:
    with 0 when the service has taken note.
    """
    if not unit_names and not source_urls:
        raise click.UsageError("say what to back up: --unit NAME or --source URL")
    if accept_empty and not source_urls:
        raise click.UsageError("--accept-empty goes with --source: it is for what you looked at")
    from guerillabackup.generator.control_messages import Request

    with _connect(invocation) as client:
        try:
            request = Request("trigger", unit_names, source_urls, full, wait, accept_empty)
            answer = client.ask(request.describe())
        except ConfigError as error:
            raise with_unread(error, invocation, client, unit_names, source_urls) from error
        for problem in answer["problems"]:
            invocation.warn(problem)
        for name in answer["busy"]:
            invocation.say(f"unit {name} runs now: it is run again when it has ended")
        if not wait:
            return _end_without_waiting(invocation, answer)
        outcomes, warnings = _follow(invocation, client, len(answer["runs"]))
    return _conclude(invocation, outcomes, [*answer["problems"], *warnings], bool(answer["problems"]))


@click.command()
@shared(
    example="""guerillabackup generator reload
guerillabackup generator reload --json"""
)
def reload(invocation: Invocation) -> ExitStatus:
    """Let the service read its configuration and units anew, as SIGHUP does, and tell what came of it.

    What runs goes on. Ends with 0 when all was taken; with 1 when it was refused as a whole, and the service
    goes on with the configuration of before, or when no service runs; with 3 when single units were refused,
    which are run with their files of before, or are not run at all.
    """
    from guerillabackup.generator.control_messages import Request

    with _connect(invocation) as client:
        answer = client.ask(Request("reload").describe(), RELOAD_SECONDS)
    refused, broken = answer["refused"], answer["broken"]
    is_taken = refused is None or bool(refused["units"])
    if invocation.as_json:
        invocation.write_record(
            {"is_taken": is_taken, "units": answer["units"], "refused": refused, "broken": broken}
        )
    if refused is not None and not is_taken:
        invocation.warn(f"refused, and the service runs with the configuration of before: {refused['error']}")
        return ExitStatus.ERROR
    count = len(answer["units"])
    invocation.say(f"the service has read its configuration anew: {count} unit{'' if count == 1 else 's'}")
    if refused is not None:
        invocation.warn(f"refused, and run with the files of before: {refused['error']}")
    for name, error in broken.items():
        invocation.warn(f"unit {name} is not run: {error}")
    return ExitStatus.SOME_FAILED if refused is not None or broken else ExitStatus.OK


def _connect(invocation: Invocation) -> "ServiceClient":
    from guerillabackup.generator.control_messages import GENERATOR
    from guerillabackup.observe.control_client import ServiceClient

    try:
        configuration = invocation.configuration()
        configuration.require(RUNTIME)
        directory = configuration[RUNTIME]
    except ConfigError as error:
        return _connect_all_the_same(invocation, error)
    return ServiceClient(directory, GENERATOR)


def _connect_all_the_same(invocation: Invocation, wrong: ConfigError) -> "ServiceClient":
    """The service goes on with the configuration of before: what is wrong with that of now is only told."""
    from guerillabackup.config import MAIN_FILE
    from guerillabackup.config_line import find_plain_text
    from guerillabackup.generator.control_messages import GENERATOR
    from guerillabackup.observe.control_client import ServiceClient
    from guerillabackup.observe.control_socket import NoServiceError
    from guerillabackup.original.functions import DEFAULTS

    path = os.path.join(invocation.config_directory, MAIN_FILE)
    found = find_plain_text(path, RUNTIME)
    directory = found or DEFAULTS[RUNTIME]
    try:
        client = ServiceClient(directory, GENERATOR)
    except (NoServiceError, StorageError, ConfigError) as error:
        if found is None:
            raise wrong from error  # who knows where a service would listen
        raise ConfigError(*wrong.problems, f"in {directory}: {error}") from wrong
    for problem in wrong.problems:
        invocation.warn(f"the configuration cannot be used now: {problem}")
    invocation.warn(f"asked the service in {directory}, which runs with the configuration of before")
    return client


def _end_without_waiting(invocation: Invocation, answer: Mapping[str, Any]) -> ExitStatus:
    if invocation.as_json:
        invocation.write_record({"runs": answer["runs"], "problems": answer["problems"]})
    for run in answer["runs"]:
        invocation.say(f"unit {run['unit']} will be run; see: guerillabackup generator status")
    return ExitStatus.SOME_FAILED if answer["problems"] else ExitStatus.OK


def _follow(
    invocation: Invocation, client: "ServiceClient", count: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """The outcomes of so many runs, and the warnings on the way; events are shown as they come."""
    outcomes: list[dict[str, Any]] = []
    warnings: list[str] = []
    with invocation.progress() as show:
        for message in client.follow():
            if "event" in message:
                _show(message["event"], show, warnings)
            elif "ended" in message:
                outcomes.append(message["outcome"])
            if len(outcomes) == count:
                break
    if len(outcomes) < count:
        raise GuerillaBackupError(ENDED)
    return outcomes, warnings


def _show(described: Mapping[str, Any], show: EventListener, warnings: list[str]) -> None:
    from guerillabackup.events_json import parse_event

    event = parse_event(described)
    if isinstance(event, SourceWarning):
        warnings.append(f"source {event.source_url}: {event.message}")
    if event is not None:
        show(event)


def _conclude(
    invocation: Invocation, outcomes: list[dict[str, Any]], warnings: list[str], has_problems: bool
) -> ExitStatus:
    """Say what came of it, in the form of `run --once`."""
    sources = [source for outcome in outcomes for source in outcome["sources"]]
    failed_units = [
        {"unit": outcome.get("unit"), "error": outcome["error"]} for outcome in outcomes if outcome["error"]
    ]
    failed = [*failed_units, *(source for source in sources if source["error"] is not None)]
    if invocation.as_json:
        invocation.write_record({"sources": sources, "failed_units": failed_units, "warnings": warnings})
    for source in sources:
        if source["element"] is not None:
            remarks = f" ({', '.join(source['remarks'])})" if source["remarks"] else ""
            invocation.say(f"stored {source['element']}{remarks}")
        elif source["error"] is None:
            invocation.say(f"ran for {source['source']} and stored nothing: this is the test mode")
    for item in (item for outcome in outcomes for item in outcome.get("waiting", ())):
        invocation.say(f"source {item['source']}: left for the next run: {item['reason']}")
    for warning in warnings:
        invocation.warn(warning)
    for item in failed:
        where = f"source {item['source']}" if "source" in item else f"unit {item['unit']}"
        invocation.warn(f"{where}: no backup: {item['error']}")
    if any(outcome.get("given_up") for outcome in outcomes):
        invocation.warn(ENDED)
        return ExitStatus.ERROR
    if not failed and not has_problems:
        return ExitStatus.OK
    is_keys = bool(failed) and all(
        outcome.get("only_keys_failed") for outcome in outcomes if _has_failed(outcome)
    )
    return ExitStatus.KEY_UNUSABLE if is_keys and not has_problems else ExitStatus.SOME_FAILED


def _has_failed(outcome: Mapping[str, Any]) -> bool:
    return bool(outcome["error"]) or any(source["error"] is not None for source in outcome["sources"])


def _rows_of(unit: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """A row for each source; what concerns the unit in one of its own, with when that is looked at."""
    from guerillabackup.cli.format import human_time

    def at(value: float | None) -> str | None:
        return None if value is None else human_time(value)

    head = {"unit": unit["unit"], "state": unit["state"], "next": at(unit["next"])}
    note = unit["error"] or unit["skipped"]
    if not note and unit["refused"]:
        note = f"runs with its files of before: {unit['refused']}"
    if note or not unit["sources"]:
        yield {**head, "source": None, "last_stored": None, "note": note}
    for source in unit["sources"]:
        waits = None if source["waits_for"] is None else f"waits: {source['waits_for']}"
        yield {
            **head,
            "next": at(source["next"]),
            "source": source["source"],
            "last_stored": at(source["stored_at"]),
            "note": source["error"] or waits,
        }


def _describe_status(answer: Mapping[str, Any], now: float) -> Iterable[str]:
    from guerillabackup.cli.format import human_span, human_time

    since = human_time(answer["started_at"])
    ending = ", and is ending" if answer["stopping"] else ""
    workers, units = answer["workers"], answer["units"]
    yield f"process {answer['process_id']} since {since}{ending}; {units} units, up to {workers} run at once"
    refused = answer["refused"]
    if refused is not None and refused["units"]:
        names = ", ".join(f"unit {name}" for name in refused["units"])
        are = ("was", "runs", "its") if len(refused["units"]) == 1 else ("were", "run", "their")
        yield (
            f"at the reload at {human_time(refused['at'])} {names} {are[0]} refused, and {are[1]} with "
            f"{are[2]} files of before: {refused['error']}"
        )
    elif refused is not None:
        read_at = human_time(answer["configuration_read_at"])
        yield (
            f"the reload at {human_time(refused['at'])} was refused, and the service runs with the "
            f"configuration of {read_at}: {refused['error']}"
        )
    for run in answer["running"]:
        yield _describe_run(run)
    if answer["queued"]:
        yield f"waiting for their turn: {', '.join(answer['queued'])}"
    for problem in answer["failed"]:
        what = f"unit {problem['unit']}" if problem["source"] is None else f"source {problem['source']}"
        when = "" if problem["since"] is None else f" since {human_time(problem['since'])}"
        yield f"{what} has failed{when}: {problem['error']}"
    for skipped in answer["skipped"]:
        when = human_time(skipped["since"])
        yield f"unit {skipped['unit']} is due, and is not run since {when}: {skipped['reason']}"
    for waiting in answer["waiting"]:
        yield f"source {waiting['source']} waits since {human_time(waiting['since'])}: {waiting['reason']}"
    if answer["next"] is not None:
        wait = human_span(max(0.0, answer["next"]["at"] - now))
        yield f"next: unit {answer['next']['unit']} in {wait}"


def _describe_run(run: Mapping[str, Any]) -> str:
    from guerillabackup.cli.format import human_rate, human_size, human_span

    text = f"unit {run['unit']} is {run['state']} for {human_span(run['seconds'])}"
    if run["state"] == "hung":
        text += f", without a sign of life for {human_span(run['quiet_seconds'])}"
    if run.get("source"):
        text += f": source {run['source']}"
    if run.get("bytes") is not None:
        of = f" of about {human_size(run['expected'])}" if run.get("expected") else ""
        text += f", {human_size(run['bytes'])}{of}"
        if run["seconds"] > 0:
            text += f", {human_rate(run['bytes'] / run['seconds'])}"
    return text
