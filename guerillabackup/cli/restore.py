"""The command `restore`: arguments, output and exit status. Touches: stdout."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from guerillabackup.cli.common import ExitStatus, Invocation, shared, show_error
from guerillabackup.cli.format import count_elements, count_of, human_size, human_time
from guerillabackup.cli.parameters import (
    ELEMENT_TO_RESTORE,
    SOURCE,
    TIME,
    decrypting_keyring_option,
    passphrase_file_option,
    storage_option,
)
from guerillabackup.cli.passphrase import passphrase_source
from guerillabackup.cli.paths import DIRECTORY
from guerillabackup.cli.restore_stream import (
    is_stream,
    list_stream,
    restore_into_program,
    restore_to_stdout,
    show_way_out,
)
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.restore.chain import RestoreChain
from guerillabackup.restore.interface import ListedMember
from guerillabackup.restore.member_patterns import quote
from guerillabackup.restore.service import RestoreRequest, RestoreService
from guerillabackup.restore.time_text import EXPECTED
from guerillabackup.restore.verify import Verification

EXAMPLE = """
guerillabackup restore /myhost/system/root --to /tmp/restored
guerillabackup restore /myhost/system/root --to /tmp/etc --include etc --at '2026-11-20 14:00'
guerillabackup restore /myhost/system/root --list
guerillabackup restore /myhost/postgresql/shop --run
guerillabackup restore /myhost/postgresql/all --into-command -- psql --dbname=postgres
"""


@click.command()
@shared(example=EXAMPLE)
@click.argument("source_url", metavar="SOURCE", type=SOURCE)
@click.option(
    "--to",
    "target",
    metavar="DIR",
    type=DIRECTORY,
    help="Directory to restore into; made if it is not there.",
)
@click.option(
    "--at",
    "at",
    metavar="TIME",
    type=TIME,
    help=f"The state as of that time, local where no zone is named: {EXPECTED}.",
)
@click.option(
    "--include",
    "includes",
    metavar="PATTERN",
    multiple=True,
    help="Only members of that path, and what is below, named as by --list; * ? [a-z] stay within a "
    "directory, ** does not; \\ before one of * ? [ \\ takes its meaning. Repeatable.",
)
@click.option(
    "--to-stdout",
    "is_to_stdout",
    is_flag=True,
    help="Write what is no archive, such as a dump, to standard output.",
)
@click.option(
    "--run",
    "is_run",
    is_flag=True,
    help="Send what is no archive into the RestoreCommand that this host has configured for SOURCE.",
)
@click.option(
    "--into-command",
    "is_into_command",
    is_flag=True,
    help="Send what is no archive into the program that follows, with its arguments, after --.",
)
@click.option("--list", "is_list", is_flag=True, help="Show the chain and the members instead of restoring.")
@click.argument("argv", metavar="[-- PROGRAM ARGUMENT...]", type=click.UNPROCESSED, nargs=-1)
@click.option(
    "--element",
    "element_id",
    metavar="ID",
    type=ELEMENT_TO_RESTORE,
    help="The state after this element.",
)
@click.option(
    "--into-existing", is_flag=True, help="Merge into a directory that is not empty; files are replaced."
)
@click.option(
    "--accept-unverified",
    is_flag=True,
    help="Only warn of elements that are not signed, or by a key that is not known here, expired or revoked.",
)
@decrypting_keyring_option
@passphrase_file_option
@storage_option
def restore(
    invocation: Invocation,
    source_url: SourceUrl,
    target: str | None,
    at: float | None,
    includes: tuple[str, ...],
    is_to_stdout: bool,
    is_run: bool,
    is_into_command: bool,
    is_list: bool,
    argv: tuple[str, ...],
    element_id: ElementId | None,
    into_existing: bool,
    accept_unverified: bool,
    private_keyrings: tuple[str, ...],
    passphrase_file: str | None,
    storage: str | None,
) -> ExitStatus | None:
    """Restore SOURCE into a directory, or list what is in it.

    A source that is no archive, such as a dump, goes into a file below that directory, to standard output, or
    into a program. Everything that is needed is verified before anything is written or started. Without --at
    or --element the last state is restored, or nothing where a later element is known to be missing. What
    --list prints as a member's name is what --include takes, between '…'.

    Ends with 1 when something could not be restored or a pattern matches nothing, with 4 when an element is
    not what it claims to be or is missing, with 5 when the key to decrypt it is missing.
    """
    _check_ways(target, is_list, is_to_stdout, is_run, is_into_command, argv)
    if target is None and not is_list and (includes or into_existing):
        raise click.UsageError("--include and --into-existing are for archives that go into a directory")
    if "" in includes:
        raise click.UsageError("--include needs a pattern, '' is none: leave it out to restore everything")
    if is_to_stdout and invocation.as_json:
        raise click.UsageError("what is restored is no JSON document: leave --json out")
    if at is not None and element_id is not None:
        raise click.UsageError("--at and --element exclude each other")
    if element_id is not None and element_id.source_url != source_url:
        raise ConfigError(
            f"element {element_id} is one of source {element_id.source_url}, not of {source_url}"
        )
    configuration = invocation.configuration_for(storage)
    homes = private_keyrings or (configuration.get("GeneralPrivateKeyringDir"),)
    passphrase_file = passphrase_source(passphrase_file, *homes)
    with (
        invocation.progress() as listen,
        RestoreService(
            configuration,
            storage_directory=storage,
            private_keyring=private_keyrings,
            passphrase_file=passphrase_file,
            accept_unverified=accept_unverified,
            listen=listen,
        ) as service,
    ):
        if target is None:
            chain = service.find_chain(source_url, at, element_id)
            if is_to_stdout:
                return restore_to_stdout(invocation, service, chain)
            if is_run or is_into_command:
                program = argv if is_into_command else None
                return restore_into_program(invocation, service, chain, configuration, program)
            if is_stream(service, chain):
                return list_stream(invocation, service, chain)
            return _list(invocation, service, chain, includes)
        request = RestoreRequest(source_url, target, at, element_id, includes, into_existing)
        return _restore(invocation, service, request)


def _check_ways(
    target: str | None,
    is_list: bool,
    is_to_stdout: bool,
    is_run: bool,
    is_into_command: bool,
    argv: tuple[str, ...],
) -> None:
    """Just one thing to do with the source."""
    if target == "":
        raise click.UsageError("--to needs the name of a directory, '' is none")
    if sum((target is not None, is_list, is_to_stdout, is_run, is_into_command)) != 1:
        raise click.UsageError(
            "one of --to, --list, --to-stdout, --run and --into-command is needed, and only one"
        )
    if bool(argv) != is_into_command:
        raise click.UsageError(
            "--into-command needs a program, and nothing else takes one: -- PROGRAM ARGUMENT..."
        )


def _restore(invocation: Invocation, service: RestoreService, request: RestoreRequest) -> ExitStatus | None:
    report = service.restore(request)
    for text in report.warnings:
        invocation.warn(text)
    for text in report.problems:
        show_error(text)
    if not report.is_merged:
        show_error(f"nothing was changed in {report.written_to}: what was unpacked has these problems")
    if invocation.as_json:
        invocation.write_record(
            {
                "source": report.source_url,
                "elements": [str(element_id) for element_id in report.elements],
                "written_to": report.written_to,
                "is_archive": report.is_archive,
                "is_merged": report.is_merged,
                "members": report.members,
                "confined_by": report.confined_by,
                "remarks": report.remarks,
                "warnings": report.warnings,
                "problems": report.problems,
            }
        )
    elif not report.is_merged:
        pass
    elif report.is_archive:
        last = f"the state of {report.elements[-1]}, from {count_elements(len(report.elements))}"
        members = "" if report.members is None else f"{count_of(report.members, 'member')} of "
        for text in report.remarks:
            invocation.say(text)
        part = "in part " if report.problems else ""
        invocation.say(f"restored {part}{members}{report.source_url} to {report.written_to}: {last}")
    else:
        invocation.say(f"{report.elements[-1]} is not an archive: its content is in {report.written_to}")
    return ExitStatus.ERROR if report.problems else None


def _list(
    invocation: Invocation, service: RestoreService, chain: RestoreChain, includes: tuple[str, ...]
) -> ExitStatus | None:
    for text in chain.warnings:
        invocation.warn(text)
    verifications = service.verify_chain(chain)
    for verification in verifications:
        for text in verification.warnings:
            invocation.warn(f"element {verification.element_id}: {text}")
        for text in verification.violations:
            show_error(f"element {verification.element_id}: {text}")
    show_way_out(service, chain, verifications)

    def records() -> Iterator[Mapping[str, Any]]:
        for link, verification in zip(chain.links, verifications, strict=True):
            yield {
                "element": str(link.element_id),
                "type": link.backup_type,
                "timestamp": link.timestamp,
                "arrival": link.arrival,
                "size": verification.size,
                "verified": verification.is_ok,
                "signed_by": verification.signed_by,
            }
        if all(verification.is_ok for verification in verifications):
            yield from map(_member_record, service.list_members(chain, includes))

    invocation.stream_records(records(), _render)
    for text in service.key_warnings:
        invocation.warn(text)
    return None if all(map(_is_ok, verifications)) else ExitStatus.INTEGRITY


def _is_ok(verification: Verification) -> bool:
    return verification.is_ok


def _member_record(member: ListedMember) -> Mapping[str, Any]:
    return {
        "member": member.name.decode("utf-8", "surrogateescape"),
        "type": member.type,
        "size": member.size,
        "mtime": member.mtime,
    }


def _render(record: Mapping[str, Any]) -> str:
    if "element" in record:
        state = "verified" if record["verified"] else "NOT VERIFIED"
        time, size = human_time(record["timestamp"]), human_size(record["size"])
        return f"# {record['element']}  {time}  {record['type'].value}  {size}  {state}"
    kind = record["type"] or "never archived"
    size = "" if record["size"] is None else str(record["size"])
    name = quote(record["member"].encode("utf-8", "surrogateescape"))
    return f"{kind:16} {size:>14} {_member_time(record['mtime']):20} {name}"


def _member_time(seconds: int | None) -> str:
    if seconds is None:
        return ""
    try:
        return human_time(seconds)
    except (OverflowError, ValueError, OSError):
        return f"@{seconds}"  # no year of four digits: an archive may claim any
