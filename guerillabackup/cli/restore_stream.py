"""What `restore` does with elements that are plain streams: stdout, a program, a list. Touches: stdout."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from guerillabackup.cli.binary_output import binary_stdout, writing_to_stdout
from guerillabackup.cli.common import ExitStatus, Invocation, show_error
from guerillabackup.cli.format import count_of, human_size, human_time
from guerillabackup.config import Configuration
from guerillabackup.errors import PipelineError
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.restore.chain import RestoreChain
from guerillabackup.restore.service import RestoreService
from guerillabackup.restore.stream import VerifiedStream
from guerillabackup.restore.verify import Verification
from guerillabackup.units.command_restore import find_restore_source, open_restore_command

MAX_MESSAGES = 20
"""Lines of a program's standard error that are repeated when it ends well."""


def is_stream(service: RestoreService, chain: RestoreChain) -> bool:
    """Whether the metadata of the element to restore says that it is one."""
    element = service.storage.get_backup_data_element(chain.target.element_id)
    return element.get_metadata().content_type is not None


def restore_to_stdout(
    invocation: Invocation, service: RestoreService, chain: RestoreChain
) -> ExitStatus | None:
    """Nothing is written before the element was verified."""
    descriptor = binary_stdout()
    with service.open_stream(chain) as stream:
        _warn(invocation, stream.warnings)
        with writing_to_stdout():
            stream.write(descriptor)
    _warn(invocation, service.key_warnings)
    return None


def restore_into_program(
    invocation: Invocation,
    service: RestoreService,
    chain: RestoreChain,
    configuration: Configuration,
    argv: Sequence[str] | None,
) -> ExitStatus | None:
    """Into the RestoreCommand that this host's configuration has for the source, or into `argv`.

    The program is not started before the element was verified. What it prints goes to our standard output,
    and with --json, which has that for itself, to standard error.
    """
    source_url = chain.target.element_id.source_url
    with ExitStack() as stack:
        if argv is None:
            program = stack.enter_context(
                open_restore_command(find_restore_source(configuration, source_url))
            )
        else:
            program = OSProcessPipelineElement(argv[0], argv)
        descriptor = sys.stderr.fileno() if invocation.as_json else binary_stdout()
        stream = stack.enter_context(service.open_stream(chain))
        _warn(invocation, stream.warnings)
        messages = _feed(stream, program, descriptor)
    warnings = [*stream.warnings, *service.key_warnings]
    _warn(invocation, service.key_warnings)
    shown = [line for line in messages if line.strip()]
    _warn(invocation, [f"{program.name}: {line}" for line in shown[:MAX_MESSAGES]])
    if len(shown) > MAX_MESSAGES:
        invocation.warn(f"{program.name}: and {count_of(len(shown) - MAX_MESSAGES, 'more line')}")
    if invocation.as_json:
        invocation.write_record(
            {
                "source": source_url,
                "element": str(stream.element_id),
                "program": program.argv[0],
                "warnings": warnings,
                "messages": messages,
            }
        )
    elif argv is None:
        invocation.say(f"restored {source_url} with {program.name}: the content of {stream.element_id}")
    else:
        invocation.note(f"restored {source_url} into {program.name}: the content of {stream.element_id}")
    return None


def list_stream(invocation: Invocation, service: RestoreService, chain: RestoreChain) -> ExitStatus | None:
    """All elements of the source, each of which could be restored by itself; the chosen one is verified."""
    _warn(invocation, chain.warnings)
    (verification,) = service.verify_chain(chain)[-1:]
    _warn(invocation, [f"element {verification.element_id}: {text}" for text in verification.warnings])
    for text in verification.violations:
        show_error(f"element {verification.element_id}: {text}")
    show_way_out(service, chain, [verification])

    def records() -> Iterator[Mapping[str, Any]]:
        links = service.elements.links(chain.target.element_id.source_url).links
        for link in sorted(links, key=lambda link: (link.timestamp, link.arrival)):
            is_chosen = link.element_id == chain.target.element_id
            element = service.storage.get_backup_data_element(link.element_id)
            yield {
                "element": str(link.element_id),
                "type": link.backup_type,
                "timestamp": link.timestamp,
                "arrival": link.arrival,
                "size": element.get_data_size(),
                "content_type": element.get_metadata().content_type,
                "chosen": is_chosen,
                "verified": verification.is_ok if is_chosen else None,
                "signed_by": verification.signed_by if is_chosen else None,
            }

    invocation.stream_records(records(), _render)
    return None if verification.is_ok else ExitStatus.INTEGRITY


def show_way_out(service: RestoreService, chain: RestoreChain, verifications: Sequence[Verification]) -> None:
    """Name what can be restored in spite of the first element that is damaged."""
    damaged = (each.element_id for each in verifications if not each.is_ok and not each.only_lacks_keys)
    if (element_id := next(damaged, None)) is not None and (text := service.way_out(chain, element_id)):
        show_error(text.removeprefix("; "))


def _feed(stream: VerifiedStream, program: OSProcessPipelineElement, descriptor: int) -> Sequence[str]:
    try:
        return stream.feed(program, descriptor)
    except PipelineError as error:
        raise type(error)(
            f"element {stream.element_id} is not restored: {error}; {program.name} may have kept what it had"
            " taken until then"
        ) from error


def _render(record: Mapping[str, Any]) -> str:
    state = "not read" if record["verified"] is None else "verified" if record["verified"] else "NOT VERIFIED"
    mark = "*" if record["chosen"] else " "
    time, size = human_time(record["timestamp"]), human_size(record["size"])
    return f"{mark} {record['element']}  {time}  {size}  {state}"


def _warn(invocation: Invocation, texts: Sequence[str]) -> None:
    for text in texts:
        invocation.warn(text)
