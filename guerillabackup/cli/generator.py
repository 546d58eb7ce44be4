"""The commands that make elements: `generator run`, once or as a service.

Arguments, output and exit status; it joins the generator's service to the terminal.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.generator_control import list_units, reload, status, trigger
from guerillabackup.cli.parameters import SOURCE, UNIT
from guerillabackup.cli.quiet import hold_standing_warnings
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.events import Event, SourceWarning

if TYPE_CHECKING:
    from guerillabackup.generator.outcome import RunOutcome


@click.group()
def generator() -> None:
    """Run the generator units.

    \b
    Example:
      guerillabackup generator run --once
      guerillabackup generator trigger --source /myhost/system/root
    """


generator.add_command(list_units)
generator.add_command(status)
generator.add_command(trigger)
generator.add_command(reload)


@generator.command()
@click.option("--once", is_flag=True, help="Run what is due now, then end; without it: run as a service.")
@click.option("--unit", "unit_names", metavar="NAME", type=UNIT, multiple=True, help="Only this unit.")
@click.option(
    "--source",
    "source_urls",
    metavar="URL",
    type=SOURCE,
    multiple=True,
    help="Only this source, and now, even if it is not due; repeatable.",
)
@click.option("--full", is_flag=True, help="Make full backups now, even if nothing is due.")
@click.option(
    "--accept-empty",
    is_flag=True,
    help="Full backups of these sources, also of a directory that is empty, or not mounted, all of a sudden.",
)
@click.option("--quiet", is_flag=True, help="Write nothing when all is well; for cron.")
@shared(
    example="""guerillabackup generator run --once
guerillabackup generator run --once --full --source /myhost/system/root
guerillabackup generator run --once --unit TarBackupUnit --json"""
)
def run(
    invocation: Invocation,
    once: bool,
    unit_names: tuple[str, ...],
    source_urls: tuple[SourceUrl, ...],
    full: bool,
    accept_empty: bool,
    quiet: bool,
) -> ExitStatus:
    """Make the elements that are due, of all units or of those named: with --once now, else for good.

    As a service it runs each unit when it is due, GeneratorWorkers of them at once; it ends in order on
    SIGTERM, with 0, and reads its configuration anew on SIGHUP. It says to systemd (Type=notify) that it is
    ready, how it is, and that it is alive (WatchdogSec). The commands `list`, `status`, `trigger` and
    `reload` ask it.
    Only one runs for a state; --once is refused beside it. With --json each line of its log is a JSON object
    on standard output: time, level, message.

    A source with a directory that is empty, or no mount point any more, and was not so at its last backup,
    fails: is it mounted? Where that is so on purpose, --accept-empty has a full backup made of it, once.

    With --once it ends with 0 when all went well, also when nothing was due; with 1 when no unit is activated
    or none has a source; with 3 when some sources have no new element, while those of the others are stored;
    with 5 when the reason was a key each time. What failed is tried again by the next run.

    A unit that another run is still at work with is left to that one, which is said and is no error, but for
    one that has gone on for a day: it may be hung. A unit whose DefaultUnitRunCondition does not hold is not
    run, which is said and is no error. One that is
    named, or a source of which is named, runs in any case.

    Where there is no service, something has to start --once regularly: cron, for example each hour with
    `17 * * * * root guerillabackup generator run --once --quiet` in a file of /etc/cron.d, or a systemd
    timer. Warnings and errors go to stderr; cron sends them by mail, systemd writes them to the journal.
    With --quiet warnings of settings, as that elements are not signed, and of keys that have more than 7 days
    left come only with others; `config check` has them always.
    """
    if not once:
        if unit_names or source_urls or full or accept_empty or quiet:
            raise click.UsageError("--unit, --source, --full, --accept-empty and --quiet go with --once")
        return serve(invocation)
    if accept_empty and not source_urls:
        raise click.UsageError("--accept-empty goes with --source: it is for what you looked at")
    from guerillabackup.cli.interrupts import is_interrupted
    from guerillabackup.cli.own_output import kept_for_us
    from guerillabackup.generator.keys import KeyringAhead
    from guerillabackup.generator.outcome import describe_source

    configuration = invocation.configuration()
    warnings: list[str] = []
    # gpg reads the keys while the rest is imported.
    with (
        hold_standing_warnings(quiet),
        KeyringAhead(configuration.keys_directory) as keys,
        kept_for_us(),
        invocation.progress() as show,
    ):
        from guerillabackup.generator.selection import NothingToRunError
        from guerillabackup.generator.service import run_once

        def listen(event: Event) -> None:
            if isinstance(event, SourceWarning):
                warnings.append(f"source {event.source_url}: {event.message}")
            show(event)

        try:
            outcome = run_once(
                configuration,
                unit_names=unit_names,
                source_urls=source_urls,
                full=full,
                accept_empty=accept_empty,
                listen=listen,
                keys=keys,
                is_interrupted=is_interrupted,
            )
        except NothingToRunError as error:
            from guerillabackup.cli.unit_hint import what_to_do

            raise ConfigError(*error.problems, what_to_do(invocation.config_directory)) from error
    for warning in outcome.warnings:
        invocation.warn(warning)
    warnings = [*outcome.warnings, *warnings]
    for unit in outcome.units:
        for source in unit.sources:
            warnings += [f"source {source.source_url}: {remark}" for remark in source.remarks]
    records = [describe_source(unit.unit_name, source) for unit in outcome.units for source in unit.sources]
    failed_units = [
        {"unit": unit.unit_name, "error": str(unit.error)} for unit in outcome.units if unit.error is not None
    ]
    skipped_units = [
        {"unit": unit.unit_name, "reason": unit.skipped} for unit in outcome.units if unit.skipped is not None
    ]
    if invocation.as_json:
        invocation.write_record(
            {
                "sources": records,
                "failed_units": failed_units,
                "skipped_units": skipped_units,
                "waiting": [{"source": url, "reason": reason} for url, reason in _list_waiting(outcome)],
                "warnings": warnings,
            }
        )
    if not quiet:
        _tell(invocation, outcome)
    if not outcome.errors:
        return ExitStatus.OK
    return ExitStatus.KEY_UNUSABLE if outcome.only_keys_failed else ExitStatus.SOME_FAILED


def serve(invocation: Invocation, presets: Mapping[str, Any] | None = None) -> ExitStatus:
    """Run as a service; `presets` are values where the configuration sets none."""
    import logging

    from guerillabackup.cli.json_log import log_as_json_lines
    from guerillabackup.cli.own_output import move_standard_error
    from guerillabackup.generator.service import run_service

    logger = logging.getLogger("guerillabackup")
    if not invocation.debug:
        logger.setLevel(logging.INFO)
    move_standard_error()
    with log_as_json_lines(invocation.as_json):
        run_service(invocation.config_directory, presets=presets)
    return ExitStatus.OK


def _tell(invocation: Invocation, outcome: "RunOutcome") -> None:
    """What was done, for a reader."""
    from guerillabackup.cli.format import human_span

    sources = [source for unit in outcome.units for source in unit.sources]
    for source in sources:
        if source.element_id is not None:
            remarks = f" ({', '.join(source.remarks)})" if source.remarks else ""
            invocation.say(f"stored {source.element_id}{remarks}")
        elif source.error is None:
            invocation.say(f"ran for {source.source_url} and stored nothing: this is the test mode")
    skipped = [unit for unit in outcome.units if unit.skipped is not None]
    for url, reason in _list_waiting(outcome):
        invocation.say(f"source {url}: left for the next run: {reason}")
    for unit in skipped:
        invocation.say(f"unit {unit.unit_name} is due, but was not run: {unit.skipped}")
    if not sources and not skipped and not outcome.errors and not _list_waiting(outcome):
        first = min(outcome.units, key=lambda unit: unit.next_in)
        invocation.say(f"nothing was due; next: unit {first.unit_name} in {human_span(first.next_in)}")


def _list_waiting(outcome: "RunOutcome") -> list[tuple[str, str | None]]:
    from guerillabackup.generator.outcome import list_waiting

    return [(str(url), state.waits_for) for unit in outcome.units for url, state in list_waiting(unit)]
