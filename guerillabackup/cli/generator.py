"""The commands that make elements: `generator run`.

Arguments, output and exit status; it joins the generator's service to the terminal.
"""

import signal
from types import FrameType

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import UNIT


@click.group()
def generator() -> None:
    """Run the generator units.

    \b
    Example:
      guerillabackup generator run --once
    """


@generator.command()
@click.option("--once", is_flag=True, required=True, help="Run what is due now, then end.")
@click.option("--unit", "unit_names", metavar="NAME", type=UNIT, multiple=True, help="Only this unit.")
@shared(
    example="""guerillabackup generator run --once
guerillabackup generator run --once --unit TarBackupUnit --json"""
)
def run(invocation: Invocation, once: bool, unit_names: tuple[str, ...]) -> ExitStatus:
    """Make the elements that are due, of all units or of those named.

    Ends with 0 when all went well, also when nothing was due; with 3 when some sources have no new element,
    while those of the others are stored; with 5 when the reason was a key each time. What failed is tried
    again by the next run.
    """
    from guerillabackup.generator.service import run_once

    configuration = invocation.configuration()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it to go on
            signal.signal(number, _interrupt)
    with invocation.progress() as listen:
        outcome = run_once(configuration, unit_names=unit_names, listen=listen)
    for warning in outcome.warnings:
        invocation.warn(warning)
    records = [
        {
            "unit": unit.unit_name,
            "source": str(source.source_url),
            "element": None if source.element_id is None else str(source.element_id),
            "error": None if source.error is None else str(source.error),
            "retry_after": source.retry_after,
        }
        for unit in outcome.units
        for source in unit.sources
    ]
    failed_units = [
        {"unit": unit.unit_name, "error": str(unit.error)} for unit in outcome.units if unit.error is not None
    ]
    if invocation.as_json:
        invocation.write_record(
            {"sources": records, "failed_units": failed_units, "warnings": list(outcome.warnings)}
        )
    for record in records:
        if record["element"] is not None:
            invocation.say(f"stored {record['element']}")
        elif record["error"] is None:
            invocation.say(f"ran for {record['source']} and stored nothing: this is the test mode")
    if not records and not failed_units:
        invocation.say("nothing was due")
    if not outcome.errors:
        return ExitStatus.OK
    return ExitStatus.KEY_UNUSABLE if outcome.only_keys_failed else ExitStatus.SOME_FAILED


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: programs are stopped, and the commands after a backup are run."""
    raise KeyboardInterrupt
