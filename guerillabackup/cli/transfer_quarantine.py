"""`transfer quarantine`: look at what was refused and kept as evidence, and discard it.

Arguments, output and exit status; it joins the quarantine to the terminal.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.parameters import PEER, REFUSED_ENTRY
from guerillabackup.errors import ConfigError, GuerillaBackupError

STATE = "GeneralPersistencyBaseDir"
MIN_KEY = 4
"""Characters of an ENTRY that stand for it."""


@click.group()
def quarantine() -> None:
    """Look at what was refused and kept as evidence, and discard it.

    \b
    Example:
      guerillabackup transfer quarantine list
      guerillabackup transfer quarantine show 6ac8f086
      guerillabackup transfer quarantine discard --settled
    """


@quarantine.command(name="list")
@click.option("--agent", "agent_id", metavar="NAME", type=PEER, help="Only what came of this peer.")
@shared(
    example="""guerillabackup transfer quarantine list
guerillabackup transfer quarantine list --agent alpha --json"""
)
def list_(invocation: Invocation, agent_id: str | None) -> ExitStatus:
    """List what is kept of refused elements, the latest first; needs no service.

    Settled is what has come since as it should be: it is kept to be looked at, but is no finding of
    `transfer status`. Ends with 0, and with 1 when the configuration cannot be used.
    """
    records = [
        {"entry": each["key"][:12] if not invocation.as_json else each["key"], **each}
        for each in _read(invocation)
        if agent_id in (None, each["peer"])
    ]
    if not invocation.as_json:
        from guerillabackup.cli.format import human_time

        for each in records:
            each["last"] = human_time(each["last"])
            each["settled"] = each["settled"] is not None
    invocation.write_records(records, ("entry", "peer", "settled", "count", "last", "source", "reason"))
    return ExitStatus.OK


@quarantine.command()
@click.argument("entry", metavar="ENTRY", type=REFUSED_ENTRY)
@shared(example="guerillabackup transfer quarantine show 6ac8f08633a4d939f6492be08e8bb50b")
def show(invocation: Invocation, entry: str) -> ExitStatus:
    """Show all that is kept of one refused element, and in which files; the beginning of ENTRY is enough.

    Ends with 0, and with 1 when there is no such entry.
    """
    for each in _find(_read(invocation), entry):
        base = each["evidence"].removesuffix(".reason")
        files = [path for part in ("reason", "info", "data") if os.path.exists(path := f"{base}.{part}")]
        record: dict[str, Any] = {"entry": each["key"], **each, "files": files}
        if not invocation.as_json:
            from guerillabackup.cli.format import human_time

            for name in ("first", "last", "settled"):
                record[name] = None if record[name] is None else human_time(record[name])
        invocation.write_record(record)
    return ExitStatus.OK


@quarantine.command()
@click.argument("entries", metavar="[ENTRY]...", nargs=-1, type=REFUSED_ENTRY)
@click.option("--settled", is_flag=True, help="All whose elements have come since.")
@click.option("--all", "is_all", is_flag=True, help="All there is, or all of --agent.")
@click.option("--agent", "agent_id", metavar="NAME", type=PEER, help="Only what came of this peer.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@shared(
    example="""guerillabackup transfer quarantine discard 6ac8f086
guerillabackup transfer quarantine discard --settled --yes"""
)
def discard(
    invocation: Invocation,
    entries: tuple[str, ...],
    settled: bool,
    is_all: bool,
    agent_id: str | None,
    is_sure: bool,
) -> ExitStatus:
    """Remove for good what is kept of refused elements; the service may run.

    It changes nothing about the elements: what is offered again and still is not what it claims to be is
    refused and kept again. Ends with 0, and with 1 when there is no such entry, or the answer to its question
    is no: then nothing is removed.
    """
    from guerillabackup.transfer.evidence import discard_evidence

    if bool(entries) + settled + is_all != 1:
        raise click.UsageError("say which: ENTRY, --settled or --all")
    found = [each for each in _read(invocation) if agent_id in (None, each["peer"])]
    if entries:
        found = [each for entry in dict.fromkeys(entries) for each in _find(found, entry)]
    elif settled:
        found = [each for each in found if each["settled"] is not None]
    if found and not is_sure:
        _ask(found)
    for each in found:
        discard_evidence(each["evidence"])
        invocation.say(f"discarded {each['key']} of {each['peer']}: {each['source']}")
    if invocation.as_json:
        invocation.write_record({"discarded": [{"peer": each["peer"], "key": each["key"]} for each in found]})
    elif not found:
        invocation.say("nothing is there to be discarded")
    return ExitStatus.OK


def _read(invocation: Invocation) -> list[dict[str, Any]]:
    from guerillabackup.transfer.evidence import list_evidence

    configuration = invocation.configuration()
    configuration.require(STATE)
    return list_evidence(str(configuration[STATE]))


def _find(records: Sequence[dict[str, Any]], entry: str) -> list[dict[str, Any]]:
    """Those of one element, of whichever peers; raises GuerillaBackupError for none, or several elements."""
    found = [each for each in records if len(entry) >= MIN_KEY and each["key"].startswith(entry)]
    if not found:
        raise GuerillaBackupError(
            f"nothing is kept under {entry}; see: guerillabackup transfer quarantine list"
        )
    if len({each["key"] for each in found}) > 1:
        raise GuerillaBackupError(f"{len(found)} entries begin with {entry}: say more of it")
    return found


def _ask(found: Sequence[dict[str, Any]]) -> None:
    """Raises ConfigError when the answer is no, UsageError when nobody is there to give one."""
    from guerillabackup.cli.format import printable

    if not sys.stdin.isatty():
        raise click.UsageError("nobody is here to be asked: say --yes")
    for each in found:
        click.echo(printable(f"{each['key']}  {each['peer']}  {each['source']}: {each['reason']}"), err=True)
    entries = "1 entry" if len(found) == 1 else f"{len(found)} entries"
    if not click.confirm(f"discard {entries} for good?", err=True):
        raise ConfigError("nothing is discarded: the answer was no")
