"""The commands `element list|latest`: arguments, output, exit status. Touches: os, time, stdout."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from guerillabackup.cli.common import STOPPED, ExitStatus, Invocation, json_text, shared
from guerillabackup.cli.format import human_size, human_span, human_time, printable
from guerillabackup.cli.genuine import judging_signatures
from guerillabackup.cli.parameters import (
    FIRST_MOMENT,
    SOURCE_PATTERN,
    TIME,
    private_keyrings_option,
    storage_option,
)
from guerillabackup.cli.quick_output import QuickOutput
from guerillabackup.config import Configuration
from guerillabackup.config_keys import elements_move_on
from guerillabackup.element import MEMBERS_SUFFIX, BackupType
from guerillabackup.element_order import LastEnd, Reason
from guerillabackup.errors import ConfigError, ElementNotFoundError, GuerillaBackupError
from guerillabackup.restore.commands import Commands
from guerillabackup.storage.catalogue import Catalogue
from guerillabackup.storage.interface import ElementFacts, ElementSelection, StorageInterface
from guerillabackup.storage.newest import newest_of_each_source
from guerillabackup.storage.place import describe_empty, describe_missing, find_foreign_file
from guerillabackup.storage.registry import catalogue_path
from guerillabackup.storage.sequence import in_chain_order

if TYPE_CHECKING:
    from guerillabackup.cli.newest_doubts import NewestDoubts

STORAGE_KEYS = ("DefaultFileSystemSinkBaseDir", "TransferServiceStorageBaseDir")
"""The storages of this host: they have a catalogue, others that are named do not."""
TIME_HINT = "YYYY-MM-DD, 'YYYY-MM-DD HH:MM[:SS][Z]', YYYYmmddHHMMSS or @SECONDS"


@click.command("list")
@shared(
    example="guerillabackup element list '/myhost/*' --long\n"
    "guerillabackup element list /myhost --since 2026-11-01 --type full"
)
@click.argument("source_pattern", metavar="[SOURCE|PATTERN]", type=SOURCE_PATTERN, required=False)
@click.option("--long", "is_long", is_flag=True, help="With time, type and size.")
@click.option("--members", "with_members", is_flag=True, help="The lists of members too.")
@click.option("--type", "backup_type", type=click.Choice(["full", "inc"]), help="Of this type only.")
@click.option("--since", metavar="TIME", type=FIRST_MOMENT, help=f"Of this time or later: {TIME_HINT}.")
@click.option(
    "--until",
    metavar="TIME",
    type=TIME,
    help="Of this time or earlier; a day is meant to its end, HH:MM is HH:MM:00.",
)
@click.option(
    "--uuid", "uuids", metavar="UUID", multiple=True, help="With this DataUuid, in base64 or hexadecimal."
)
@storage_option
def list_elements(
    invocation: Invocation,
    source_pattern: str | None,
    is_long: bool,
    with_members: bool,
    backup_type: str | None,
    since: float | None,
    until: float | None,
    uuids: tuple[str, ...],
    storage: str | None,
) -> None:
    """List elements: of a source, of all below it, or of what matches a pattern; without one of all.

    The lists of members, which are elements of their own, are left out unless --members, --json, --uuid or
    the name of their source asks for them. Times are those that the elements say they are of; within a second
    the chain tells the order. Ends with 1 when nothing is as it was asked for, the storage of this host is
    empty all of a sudden, or the directory holds no element but other files.
    """
    asks_for_members = with_members or bool(uuids) or (source_pattern or "").endswith(MEMBERS_SUFFIX)
    selection = ElementSelection(
        source_pattern,
        with_members=asks_for_members or invocation.as_json,
        since=since,
        until=until,
        backup_type=None if backup_type is None else BackupType(backup_type),
        data_uuids=frozenset(uuid for text in uuids for uuid in _read_uuid(text)) if uuids else None,
    )
    configuration = invocation.configuration_for(storage)
    commands = Commands(configuration.directory, storage)
    with _open_catalogue(configuration, storage) as catalogue:

        def hint(pattern: str) -> str:
            return "" if storage is None else _suggest_above(storage, pattern, catalogue)

        if is_long or invocation.as_json:
            listing = _require_any(catalogue.list_facts(selection), selection, catalogue, hint, commands)
            listing = in_chain_order(listing, lambda facts: facts.element_id, lambda facts: facts)
            _write(invocation, listing, _record, _render)
        else:
            ids = _require_any(catalogue.list_ids(selection), selection, catalogue, hint, commands)
            output = QuickOutput(STOPPED)
            for element_id in in_chain_order(ids, str, catalogue.find_facts):
                output.write(element_id + "\n")
            output.flush()


@click.command()
@shared(
    example="guerillabackup element latest\n"
    "guerillabackup element latest '/myhost/*' /otherhost/system/root --json"
)
@click.argument("patterns", metavar="[SOURCE|PATTERN]...", type=SOURCE_PATTERN, nargs=-1)
@click.option("--members", "with_members", is_flag=True, help="The sources of lists of members too.")
@private_keyrings_option("A keyring with public signing keys too, for GeneralPrivateKeyringDir.")
@storage_option
def latest(
    invocation: Invocation,
    patterns: tuple[str, ...],
    with_members: bool,
    private_keyrings: tuple[str, ...],
    storage: str | None,
) -> ExitStatus | None:
    """Show the newest element of each source, and how long ago it was made.

    The newest is the last of its chain; of several chains, the one whose end arrived last. Where another end
    is later by its own timestamp, as in a storage that was copied, that one if all of them are signed by keys
    that are known here, with a warning. If not, what is shown is in doubt and the status is 4: restore
    refuses to choose then. It is 4 as well where a newer element is gone or not whole: a list of members is
    there without it, or only a part of it, or what this host's generator stored last is not in its storage
    any more, unless elements move on from here. Ends with 1 when one of the names is not that of a source
    with elements, the storage of this host is empty all of a sudden, or the directory holds no element
    but other files.
    """
    from guerillabackup.cli.newest_doubts import NewestDoubts

    now = time.time()
    doubtful: set[str] = set()
    configuration = invocation.configuration_for(storage)

    def record(facts: ElementFacts) -> dict[str, Any]:
        age = None if facts.timestamp is None else now - facts.timestamp
        return _record(facts) | {"age": age, "in_doubt": facts.element_id in doubtful}

    def take(last: LastEnd[ElementFacts]) -> None:
        if last.reason is not Reason.AGREED:
            invocation.warn(_tell(last))
        if last.reason is Reason.DOUBT:
            doubtful.add(last.best.element_id)
        texts, is_in_doubt = doubts.judge(last.best)
        for text in texts:
            invocation.warn(text)
        if is_in_doubt:
            doubtful.add(last.best.element_id)

    def miss(source: str, text: str) -> None:
        invocation.warn(text)
        doubtful.add(source)

    with (
        _open_catalogue(configuration, storage) as catalogue,
        judging_signatures(configuration, storage, private_keyrings, invocation.warn) as is_genuine,
        ExitStack() as stack,
    ):
        doubts = NewestDoubts(configuration, storage, private_keyrings, stack)
        newest = _newest(catalogue, patterns, with_members, is_genuine, take, miss, doubts)
        _write(invocation, newest, record, lambda facts: _render(facts, now))
    return ExitStatus.INTEGRITY if doubtful else None


def _tell(last: LastEnd[ElementFacts]) -> str:
    """Why one of several ends is shown."""
    text = (
        f"source {last.best.source_url}: of separate chains {last.arrived.element_id} arrived last, but by "
        f"its own timestamp {last.latest.element_id} is later, as in a storage that was copied"
    )
    if last.reason is Reason.SIGNED:
        return f"{text}; as is signed, so that one is shown"
    return (
        f"{text}; not all are signed by a key that is known here (--private-keyring), which would decide: it "
        "is in doubt which is the newest"
    )


def _newest(
    catalogue: Catalogue,
    patterns: tuple[str, ...],
    with_members: bool,
    is_genuine: Callable[[ElementFacts], bool],
    take: Callable[[LastEnd[ElementFacts]], None],
    miss: Callable[[str, str], None],
    doubts: "NewestDoubts",
) -> Iterator[ElementFacts]:
    """Each source once; raises ElementNotFoundError after the others for what there is nothing of."""
    seen: set[str] = set()
    missing: list[str] = []
    for pattern in patterns or (None,):
        is_members = with_members or (pattern or "").endswith(MEMBERS_SUFFIX)
        selection = ElementSelection(pattern, with_members=is_members)
        found = False
        doubts.look(selection)
        for last in newest_of_each_source(doubts.pass_on(catalogue.list_facts(selection)), is_genuine):
            found = True
            if last.best.source_url not in seen:
                seen.add(last.best.source_url)
                take(last)
                yield last.best
        for source, text in doubts.find_gone(selection, seen).items():
            found = True
            seen.add(source)
            miss(source, text)
        if pattern is not None and not found:
            missing.append(pattern)
    if not seen:
        _require_elements(catalogue, is_asked=bool(patterns))
    if missing:
        raise ElementNotFoundError(_nothing_like(" or ".join(missing), doubts.commands))


@contextmanager
def _open_catalogue(configuration: Configuration, storage: str | None) -> Iterator[Catalogue]:
    if storage is None:
        configuration.require(STORAGE_KEYS[0])
        _check_mounted(configuration)
    directory = storage if storage is not None else str(configuration[STORAGE_KEYS[0]])
    if (problem := describe_missing(directory)) is not None:
        raise ConfigError(problem)
    own = [os.path.realpath(configuration[key]) for key in STORAGE_KEYS if configuration.get(key)]
    state = configuration.get("GeneralPersistencyBaseDir")
    path = catalogue_path(state, directory) if state and os.path.realpath(directory) in own else None
    with ExitStack() as stack:

        @cache
        def opened() -> StorageInterface:
            from guerillabackup.storage.registry import open_storage

            return stack.enter_context(open_storage(directory))

        yield Catalogue(directory, path, opened)


def _check_mounted(configuration: Configuration) -> None:
    """Raise ConfigError where the host's storage is not there, or empty although it had elements."""
    from guerillabackup.generator.storage_place import find_storage_problem

    directory, state = configuration[STORAGE_KEYS[0]], configuration.get("GeneralPersistencyBaseDir")
    if state is None:
        return
    problem = find_storage_problem(directory, state, elements_move_on=elements_move_on(configuration))
    if problem is not None:
        raise ConfigError(problem)


def _write(
    invocation: Invocation,
    listing: Iterable[ElementFacts],
    record: Callable[[ElementFacts], dict[str, Any]],
    render: Callable[[ElementFacts], str],
) -> None:
    """One line for each element, or one JSON array, which is ended also where the listing fails.

    What fails at the first element is told in place of an array.
    """
    output = QuickOutput(STOPPED)
    if not invocation.as_json:
        for facts in listing:
            output.write(render(facts) + "\n")
        output.flush()
        return
    from itertools import chain, islice

    elements = iter(listing)
    listing = chain(list(islice(elements, 1)), elements)
    separator = "[\n"
    try:
        for facts in listing:
            output.write(separator + json_text(record(facts), indent=None))
            separator = ",\n"
    except GuerillaBackupError:
        output.write("[\n]\n" if separator == "[\n" else "\n]\n")
        output.flush()
        raise
    output.write("[\n]\n" if separator == "[\n" else "\n]\n")
    output.flush()


def _record(facts: ElementFacts) -> dict[str, Any]:
    record = {
        "id": facts.element_id,
        "source": facts.source_url,
        "type": facts.backup_type,
        "timestamp": facts.timestamp,
        "arrival": facts.arrival,
        "size": facts.size,
        "signed": facts.is_signed,
    }
    return record if facts.problem is None else record | {"problem": facts.problem}


def _render(facts: ElementFacts, now: float | None = None) -> str:
    time_text = "?" if facts.timestamp is None else human_time(facts.timestamp)
    age = ""
    if now is not None:
        age = "?" if facts.timestamp is None else human_span(now - facts.timestamp)
        age = f"  {age:>12}"
    what = facts.element_id if facts.problem is None else printable(facts.problem)
    return f"{time_text:20}{age}  {facts.backup_type:4}  {human_size(facts.size):>9}  {what}"


def _require_any(
    listing: Iterator[Any],
    selection: ElementSelection,
    catalogue: Catalogue,
    hint: Callable[[str], str],
    commands: Commands,
) -> Iterator[Any]:
    """The same; raises ElementNotFoundError before the first where something was asked for that is not."""
    from itertools import chain

    for first in listing:
        return chain([first], listing)
    _require_elements(catalogue, is_asked=selection.asks_metadata or selection.pattern is not None)
    if selection.asks_metadata:
        raise ElementNotFoundError("no element meets all of what was asked for; see them all without it")
    if selection.pattern is not None:
        raise ElementNotFoundError(_nothing_like(selection.pattern, commands) + hint(selection.pattern))
    return iter(())


def _require_elements(catalogue: Catalogue, *, is_asked: bool) -> None:
    """Where nothing was found: raises ElementNotFoundError where it is the directory that is wrong.

    A storage may be empty, unless something of it is asked for; files of others are in none.
    """
    directory = catalogue.base_directory
    if next(catalogue.list_ids(), None) is not None:
        return
    if is_asked:
        raise ElementNotFoundError(describe_empty(directory))
    if (name := find_foreign_file(directory)) is not None:
        raise ElementNotFoundError(
            f"the storage {directory} has no elements at all, but other files, {name!r} first: is it the "
            "right directory"
        )


def _nothing_like(pattern: str, commands: Commands) -> str:
    return (
        f"no source in the storage is {pattern}, is below it or matches it; "
        f"see them all with: {commands.list_all()}"
    )


def _suggest_above(storage: str, pattern: str, catalogue: Catalogue) -> str:
    from guerillabackup.restore.advice import suggest_above

    def has_source(name: str) -> bool:
        return next(catalogue.list_ids(ElementSelection(name)), None) is not None

    return suggest_above(os.path.abspath(storage), pattern, has_source)


def _read_uuid(text: str) -> list[bytes]:
    """What a text may stand for: hexadecimal digits may be base64 too."""
    import base64

    found = []
    for read in (bytes.fromhex, lambda each: base64.b64decode(each, validate=True)):
        try:
            found.append(read(text))
        except ValueError:
            continue
    if not found:
        raise click.BadParameter(f"{text!r} is neither base64 nor hexadecimal", param_hint="--uuid")
    return found
