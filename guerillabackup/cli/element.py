"""The commands `element show|verify|cat|delete`: arguments, output, exit status.

Touches: stdout.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from guerillabackup.cli.binary_output import binary_stdout, writing_to_stdout
from guerillabackup.cli.common import ExitStatus, Invocation, shared
from guerillabackup.cli.format import count_elements, count_of, human_size
from guerillabackup.cli.parameters import (
    ELEMENT,
    SOURCE_OR_ELEMENT,
    decrypting_keyring_option,
    passphrase_file_option,
    private_keyrings_option,
    storage_option,
)
from guerillabackup.cli.passphrase import passphrase_source
from guerillabackup.element import ElementId
from guerillabackup.errors import ConfigError
from guerillabackup.restore.chain_check import Severity
from guerillabackup.restore.deletion import DeletionPlan, dependents_text
from guerillabackup.restore.elements import Finding
from guerillabackup.restore.service import RestoreService
from guerillabackup.restore.time_text import describe_time


@click.command()
@shared(example="guerillabackup element show /myhost/system/20261120140000-root-full")
@click.argument("element_id", type=ELEMENT)
@storage_option
def show(invocation: Invocation, element_id: ElementId, storage: str | None) -> ExitStatus | None:
    """Show all that is known of one element; ends with 4 when its metadata cannot be read."""
    with RestoreService(invocation.configuration_for(storage), storage_directory=storage) as service:
        found = service.elements.get(str(element_id))
        record = service.elements.describe_fully(found)
        if not invocation.as_json:
            record |= {
                key: describe_time(value)
                for key in ("timestamp", "arrival", "Timestamp")
                if isinstance(value := record.get(key), int | float)
            }
        invocation.write_record(record)
        return ExitStatus.INTEGRITY if "problem" in record else None


@click.command()
@shared(
    example="guerillabackup element verify --all\n"
    "guerillabackup element verify /myhost/system/root /myhost/system/20261120140000-root-full"
)
@click.argument("names", metavar="[SOURCE|ID]...", type=SOURCE_OR_ELEMENT, nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every element, and files that belong to none.")
@click.option(
    "--accept-unverified",
    is_flag=True,
    help="Only warn of elements that are not signed, or by a key that is not known here, expired or revoked.",
)
@private_keyrings_option("A keyring with public signing keys too, for GeneralPrivateKeyringDir.")
@storage_option
def verify(
    invocation: Invocation,
    names: tuple[str, ...],
    is_all: bool,
    accept_unverified: bool,
    private_keyrings: tuple[str, ...],
    storage: str | None,
) -> ExitStatus | None:
    """Verify digest, signature and chain of elements or of whole sources.

    Of sources also that the last element which this host's generator has stored is still there, unless
    elements move on from here. A full that follows an element which is not there is a violation where older
    ones are, as a hole in the history; it is a warning where none are, or elements move on. So is an
    incremental there that waits here alone, and where all have moved on that is in order.

    A line for each finding; ends with 4 when there was a violation, with 5 when there was none, but keys to
    check signatures with are not known here.
    """
    if is_all == bool(names):
        raise click.UsageError("name elements or sources, or say --all")
    violations = 0
    unchecked: set[str] = set()
    with (
        invocation.progress() as listen,
        RestoreService(
            invocation.configuration_for(storage),
            storage_directory=storage,
            private_keyring=private_keyrings,
            accept_unverified=accept_unverified,
            listen=listen,
        ) as service,
    ):
        found = service.elements.verify(names)

        def records() -> Iterator[Mapping[str, Any]]:
            nonlocal violations
            for finding in found:
                if finding.lacks_key:
                    unchecked.add(finding.subject)
                violations += finding.severity is Severity.VIOLATION and not finding.lacks_key
                yield {"subject": finding.subject, "severity": _severity(finding), "text": finding.text}

        count = invocation.stream_records(records(), _render_finding)
    summary = f"{count_of(count, 'finding')}, {count_of(violations, 'violation')}"
    if unchecked:
        summary += f"; {count_elements(len(unchecked))} cannot be checked"
    invocation.say(summary)
    if violations:
        return ExitStatus.INTEGRITY
    return ExitStatus.KEY_UNUSABLE if unchecked else None


@click.command()
@shared(example="guerillabackup element cat /myhost/logs/20261120140000-syslog-full | less")
@click.argument("element_id", type=ELEMENT)
@click.option("--raw", "is_raw", is_flag=True, help="The data as it is stored, not decoded.")
@decrypting_keyring_option
@passphrase_file_option
@storage_option
def cat(
    invocation: Invocation,
    element_id: ElementId,
    is_raw: bool,
    private_keyrings: tuple[str, ...],
    passphrase_file: str | None,
    storage: str | None,
) -> None:
    """Write an element's data to stdout, decrypted and decompressed."""
    if invocation.as_json:
        raise ConfigError("the data of an element is no JSON document: leave --json out")
    configuration = invocation.configuration_for(storage)
    if not is_raw:
        homes = private_keyrings or (configuration.get("GeneralPrivateKeyringDir"),)
        passphrase_file = passphrase_source(passphrase_file, *homes)
    with RestoreService(
        configuration,
        storage_directory=storage,
        private_keyring=private_keyrings,
        passphrase_file=passphrase_file,
    ) as service:
        with writing_to_stdout():
            service.write_content(str(element_id), binary_stdout(), raw=is_raw)
        for text in service.key_warnings:
            invocation.warn(text)


@click.command()
@shared(example="guerillabackup element delete /myhost/system/20261120140000-root-inc")
@click.argument("element_ids", metavar="ID...", type=ELEMENT, nargs=-1, required=True)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@click.option(
    "--force", "is_forced", is_flag=True, help="Also when other elements cannot be restored without."
)
@storage_option
def delete(
    invocation: Invocation,
    element_ids: tuple[ElementId, ...],
    is_sure: bool,
    is_forced: bool,
    storage: str | None,
) -> None:
    """Delete elements of exactly these ids, and the lists of their members.

    Of several, one that is gone already is only warned of: what was interrupted is typed again.

    Ends with 1 when the answer to its question is no, and nothing is deleted then.
    """
    with RestoreService(invocation.configuration_for(storage), storage_directory=storage) as service:
        plan = service.elements.plan_deletion([str(each) for each in element_ids])
        if plan.dependents and not is_forced:
            needed = "; ".join(dependents_text(plan.dependents))
            raise ConfigError(f"{needed}: delete those as well, or say --force")
        for text in plan.warnings:
            invocation.warn(text)
        if not is_sure:
            _ask(plan)
        deleted = ({"deleted": str(each)} for each in service.elements.delete(plan, force=is_forced))
        invocation.stream_records(deleted, lambda record: f"deleted {record['deleted']}")


def _ask(plan: DeletionPlan) -> None:
    """Raises ConfigError when the answer is no, UsageError when nobody is there to give one."""
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is here to be asked: say --yes")
    for each in plan.elements:
        click.echo(f"{each.get_element_id()}  {human_size(each.get_data_size())}", err=True)
    for text in dependents_text(plan.dependents):
        click.echo(f"warning: {text}", err=True)
    if not click.confirm(f"delete {count_elements(len(plan.elements))} for good?", err=True):
        raise ConfigError("not deleted: the answer was no")


def _severity(finding: Finding) -> str:
    if finding.lacks_key:
        return "unchecked"
    return "ok" if finding.severity is None else finding.severity.value


def _render_finding(record: Mapping[str, Any]) -> str:
    return f"{record['severity']}: {record['subject']}: {record['text']}"
