"""The kinds of arguments that are ours: each refuses what cannot be meant, and completes what there is.

The options that several commands have are here as well.

A typo is wrong usage, and the message has the form that is expected. Completion looks at no more than
MAX_SEEN elements and is silent whatever is wrong: a shell asks in the middle of a line. It joins click with
the configuration, the storage, the units and the keyrings, which are imported when they are asked for.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from guerillabackup.cli.common import CONFIG_DIRECTORY_VARIABLE
from guerillabackup.cli.paths import DIRECTORY, FILE
from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ConfigError, ElementIdError, SourceUrlError

MAX_SEEN = 20_000
"""Elements that are looked at for one completion."""
MAX_PROPOSED = 500
SOURCE_FORM = "a source is named like /myhost/system/root"
ELEMENT_FORM = (
    "an element is named like /myhost/system/20261120140000-root-full, as `element list` shows them"
)

_F = TypeVar("_F", bound=Callable[..., Any])

Names = Callable[[click.Context, str], Iterable[str]]
"""What there is, for a command line so far and the beginning of the name."""


class NameType(click.types.StringParamType):
    """A text that stands for something: what there is of it is proposed to the shell."""

    name = "text"

    def __init__(self, names: Names) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                found = (name for name in self._names(ctx, incomplete) if name.startswith(incomplete))
                return [CompletionItem(name) for name in islice(dict.fromkeys(found), MAX_PROPOSED)]
        except Exception:  # whatever is wrong with the host, the user is about to type, not to repair it
            return []


class SourceUrlType(NameType):
    """The name of a source; the command gets a SourceUrl."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, SourceUrl) else SourceUrl(value)
        except SourceUrlError as error:
            self.fail(f"{error}: {SOURCE_FORM}", param, ctx)


class ElementIdType(NameType):
    """The id of an element; the command gets an ElementId."""

    name = "element"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, ElementId) else ElementId.parse(value)
        except ElementIdError as error:
            self.fail(f"{error}: {ELEMENT_FORM}", param, ctx)


class SourceOrElementType(NameType):
    """The name of a source or the id of an element, which look alike; the command gets the text."""

    name = "source or element"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return str(SourceUrl(value))
        except SourceUrlError as error:
            self.fail(f"{error}: {SOURCE_FORM}, {ELEMENT_FORM}", param, ctx)


class RateType(click.types.StringParamType):
    """Bytes a second: a number, with k, M or G of so many times 1024; or `none`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from guerillabackup.transfer.control_messages import MAX_RATE

        text = str(value)
        if text == "none":
            return text
        unit = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1:].lower(), 0)
        digits = text[:-1] if unit else text
        number = (
            int(digits) * (unit or 1) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
        )
        if not 1 <= number <= MAX_RATE:
            raise click.UsageError(
                f"{text!r} is no number of 1 to {MAX_RATE} bytes a second (k, M and G after it are KiB, MiB "
                "and GiB), nor none"
            )
        return number


class TimeType(NameType):
    """A moment; the command gets UTC seconds. A day is meant to its end, or from its beginning."""

    name = "time"

    def __init__(self, *, from_beginning: bool = False) -> None:
        super().__init__(lambda context, incomplete: ())
        self._from_beginning = from_beginning

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from guerillabackup.restore.time_text import parse_first_moment, parse_time

        parse = parse_first_moment if self._from_beginning else parse_time
        try:
            return value if isinstance(value, float) else parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def list_sources(context: click.Context, incomplete: str) -> Iterator[str]:
    """The sources of the storage, without those that only list members of others."""
    seen = set()
    for element_id in _element_ids(context):
        source_url = element_id.source_url
        if source_url not in seen and not source_url.is_members:
            seen.add(source_url)
            yield str(source_url)


def list_element_ids(context: click.Context, incomplete: str) -> Iterator[str]:
    """The elements of the storage, the lists of members after all others."""
    members = []
    for element_id in _element_ids(context):
        if element_id.source_url.is_members:
            members.append(str(element_id))
        else:
            yield str(element_id)
    yield from members


def list_elements_to_restore(context: click.Context, incomplete: str) -> Iterator[str]:
    """The elements of the source that is named, or of all, without the lists of members."""
    # Where the option's own value is missing yet, click leaves the arguments before it unread.
    named = [str(context.params.get("source_url") or ""), *context.args]
    source_url = next((text for text in named if text.startswith("/")), None)
    for element_id in _element_ids(context):
        if not element_id.source_url.is_members and source_url in (None, str(element_id.source_url)):
            yield str(element_id)


def list_sources_and_element_ids(context: click.Context, incomplete: str) -> Iterator[str]:
    """The sources first."""
    yield from list_sources(context, incomplete)
    yield from list_element_ids(context, incomplete)


def list_unit_names(context: click.Context, incomplete: str) -> list[str]:
    """The units that are activated."""
    from guerillabackup.config import UNITS_DIRECTORY
    from guerillabackup.generator.loader import list_units

    listing = list_units(os.path.join(_config_directory(context), UNITS_DIRECTORY))
    return [unit.name for unit in listing.units]


def list_definition_names(context: click.Context, incomplete: str) -> list[str]:
    """The definition files of units that can be enabled."""
    from guerillabackup.config import UNITS_DIRECTORY
    from guerillabackup.generator.activation import find_definitions

    directory = os.path.join(_config_directory(context), UNITS_DIRECTORY)
    return [definition.name for definition in find_definitions(directory)]


def list_key_names(context: click.Context, incomplete: str) -> list[str]:
    """The names of the keys in the keyring that the command line is about."""
    from guerillabackup.config import KEYS_DIRECTORY
    from guerillabackup.signature import Keyring

    directory = context.params.get("private_keyring")
    with Keyring(directory or os.path.join(_config_directory(context), KEYS_DIRECTORY)) as keyring:
        return [name for key in keyring.list_keys() for name in key.names]


def list_configuration_keys(context: click.Context, incomplete: str) -> list[str]:
    """The keys that are known."""
    from guerillabackup.config_keys import KEYS

    return sorted(KEYS)


def list_peer_names(context: click.Context, incomplete: str) -> list[str]:
    """The peers that the configuration names."""
    from guerillabackup.config import load_configuration

    return sorted(load_configuration(_config_directory(context)).get("TransferPeers") or {})


def list_refused_entries(context: click.Context, incomplete: str) -> list[str]:
    """What is kept of refused elements, the latest first."""
    from guerillabackup.config import load_configuration
    from guerillabackup.transfer.evidence import list_evidence

    state = load_configuration(_config_directory(context))["GeneralPersistencyBaseDir"]
    return [each["key"] for each in list_evidence(state)]


def list_stdio_peer_names(context: click.Context, incomplete: str) -> list[str]:
    """Those of the peers that may come by `transfer stdio`."""
    from guerillabackup.config import load_configuration

    peers = load_configuration(_config_directory(context)).get("TransferPeers") or {}
    return sorted(name for name, settings in peers.items() if settings.get("Stdio"))


def _element_ids(context: click.Context) -> Iterator[ElementId]:
    from guerillabackup.config import load_configuration
    from guerillabackup.storage.registry import open_storage

    directory, state = context.params.get("storage"), None
    if directory is None:
        configuration = load_configuration(_config_directory(context))
        directory = configuration["DefaultFileSystemSinkBaseDir"]
        state = configuration.get("GeneralPersistencyBaseDir")
    with contextlib.closing(open_storage(directory, state_directory=state)) as storage:
        for element_id in islice(storage.list_ids(), MAX_SEEN):
            yield ElementId.parse(element_id)


def _config_directory(context: click.Context) -> str:
    given = context.params.get("config_dir") or os.environ.get(CONFIG_DIRECTORY_VARIABLE)
    return os.path.abspath(given or DEFAULT_CONFIG_DIRECTORY)


SOURCE = SourceUrlType(list_sources)
SOURCE_PATTERN = NameType(list_sources)
ELEMENT = ElementIdType(list_element_ids)
ELEMENT_TO_RESTORE = ElementIdType(list_elements_to_restore)
SOURCE_OR_ELEMENT = SourceOrElementType(list_sources_and_element_ids)
UNIT = NameType(list_unit_names)
DEFINITION = NameType(list_definition_names)
KEY = NameType(list_key_names)
PEER = NameType(list_peer_names)
REFUSED_ENTRY = NameType(list_refused_entries)
STDIO_PEER = NameType(list_stdio_peer_names)
CONFIGURATION_KEY = NameType(list_configuration_keys)
RATE = RateType()
TIME = TimeType()
FIRST_MOMENT = TimeType(from_beginning=True)

storage_option = click.option(
    "--storage", metavar="DIR", type=DIRECTORY, help="Another storage than DefaultFileSystemSinkBaseDir."
)
passphrase_file_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=FILE,
    help="File with the passphrase of the secret key in its first line; without it a terminal is asked.",
)


def private_keyring_option(text: str) -> Callable[[_F], _F]:
    """`--private-keyring DIR`, with what it is for in this command."""
    return click.option("--private-keyring", metavar="DIR", type=DIRECTORY, help=text)


def private_keyrings_option(text: str) -> Callable[[_F], _F]:
    """`--private-keyring DIR`, which may be given several times."""
    return click.option(
        "--private-keyring",
        "private_keyrings",
        metavar="DIR",
        type=DIRECTORY,
        multiple=True,
        help=f"{text} Repeatable: all of them are used together.",
    )


decrypting_keyring_option = private_keyrings_option(
    "Keyring with the keys that decrypt, for GeneralPrivateKeyringDir."
)
