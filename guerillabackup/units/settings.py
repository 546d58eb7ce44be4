"""What settings of sources have in common in all units: their parsing, and what is wrong in them. No I/O."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, SourceUrlError

MAX_NAMED = 3
"""Sources that one message names."""

_POLICY = re.compile(r"[A-Za-z0-9 ./-]+")

SettingParsers = Mapping[str, tuple[str, Callable[[object], Any]]]
"""Name of each setting, to the letter: the field it is kept in, and what makes its value or ConfigError."""


class EncryptedSource(Protocol):
    """A source, as far as its name and its encryption go."""

    @property
    def source_url(self) -> SourceUrl: ...

    @property
    def encryption_key(self) -> str | tuple[str, ...] | None: ...


Source = TypeVar("Source", bound=EncryptedSource)


@dataclass(frozen=True, slots=True)
class SourceList(Generic[Source]):
    """The sources of a unit, and those whose settings are wrong, with what is wrong.

    `unnamed` is what is wrong with keys that name no source.
    """

    sources: tuple[Source, ...]
    refused: Mapping[SourceUrl, ConfigError]
    unnamed: ConfigError | None = None

    def check(self) -> list[Source]:
        """The sources, when none is refused; raises ConfigError with every problem."""
        errors = [*([] if self.unnamed is None else [self.unnamed]), *self.refused.values()]
        problems = [problem for error in errors for problem in error.problems]
        if problems:
            raise ConfigError(*problems)
        return list(self.sources)

    def list_urls(self) -> list[SourceUrl] | None:
        """For `list_sources`: refused ones too; None where there are only keys that name none."""
        urls = [source.source_url for source in self.sources] + list(self.refused)
        return None if self.unnamed is not None and not urls else urls

    def refusals(self, unit_name: str) -> dict[SourceUrl, ConfigError]:
        """Each error under what it is told of; what has no name of its own, under the unit's."""
        if self.unnamed is None:
            return dict(self.refused)
        label = f"/{unit_name}"
        taken = {url.text for url in self.list_urls() or ()}
        while label in taken:
            label += "-"
        return {SourceUrl(label): self.unnamed, **self.refused}


def split_by_source(
    value: object, key: str, parse: Callable[[SourceUrl, Mapping[Any, Any]], Source]
) -> SourceList[Source]:
    """The sources of a dict whose settings are right, and the others: a mistake in one keeps no other from
    being used, and neither does a key that names no source.

    `parse` makes one of a source's settings, or raises ConfigError, as this does for what is no dict.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{key} is missing or not a dict of source URL to settings; start with: {key} = {{}}"
        )
    sources: list[Source] = []
    refused: dict[SourceUrl, ConfigError] = {}
    urls, problems = parse_urls(value)
    for url in urls:
        try:
            if url.is_members:
                raise ConfigError("names that end with .members are those of the lists of members")
            settings = value[url.text]
            if not isinstance(settings, Mapping):
                raise ConfigError("its settings are not a dict")
            sources.append(parse(url, settings))
        except ConfigError as error:
            refused[url] = ConfigError(*(f"source {url}: {problem}" for problem in error.problems))
    return SourceList(tuple(sources), refused, ConfigError(*problems) if problems else None)


def parse_urls(value: Mapping[Any, Any]) -> tuple[list[SourceUrl], list[str]]:
    """The keys of a dict of sources, and what is wrong with each that is none."""
    urls: list[SourceUrl] = []
    problems: list[str] = []
    for key in value:
        try:
            urls.append(SourceUrl(key))
        except SourceUrlError as error:
            problems.append(str(error))
    return urls, problems


def parse_settings(settings: Mapping[Any, Any], parsers: SettingParsers) -> tuple[dict[str, Any], list[str]]:
    """The values of one source's settings by their fields, and every problem; None counts as not set."""
    problems = _unknown_settings(settings, parsers)
    values: dict[str, Any] = {}
    for name, (field, parse) in parsers.items():
        if settings.get(name) is None:
            continue
        try:
            values[field] = parse(settings[name])
        except ConfigError as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    return values, problems


def parse_texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{value!r} is not a list of texts, such as ['first', 'second']")
    if any("\0" in item for item in value):
        raise ConfigError(f"{value!r} holds a NUL character")
    return tuple(value)


def parse_command(value: object) -> tuple[str, ...]:
    """A program and its arguments."""
    texts = parse_texts(value)
    if not texts or not texts[0]:
        raise ConfigError(f"{value!r} names no program")
    return texts


def parse_absolute_path(value: object) -> str:
    """A path from the root on."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ConfigError(f"{value!r} is not an absolute path")
    return value


def parse_flag(value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is neither True nor False")
    return value


def parse_policy(value: object) -> str:
    """A text for HandlingPolicy."""
    if not isinstance(value, str) or _POLICY.fullmatch(value) is None:
        raise ConfigError(f"{value!r} is not a text of [A-Za-z0-9 ./-]")
    return value


def parse_key(value: object) -> str | tuple[str, ...]:
    """The name of a key, or a list of them."""
    if isinstance(value, str) and value:
        return value
    keys = parse_texts(value)
    if not keys or not all(keys):
        raise ConfigError(f"{value!r} has an empty key name")
    return keys


def find_unencrypted(sources: Sequence[EncryptedSource], configuration: Mapping[str, Any]) -> str | None:
    """Say which sources go into the storage unencrypted; None when none does."""
    if configuration.get("GeneralDefaultEncryptionElement") is not None:
        return None
    names = [source.source_url.text for source in sources if source.encryption_key is None]
    if not names:
        return None
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"elements of {', '.join(names[:MAX_NAMED])}{more} are not encrypted:"
        " GeneralDefaultEncryptionElement is not set"
    )


def _unknown_settings(settings: Mapping[Any, Any], parsers: SettingParsers) -> list[str]:
    problems = []
    for name in settings:
        if name not in parsers:
            near = difflib.get_close_matches(str(name), parsers, 1)
            hint = f"; is {near[0]} meant?" if near else f"; there are {', '.join(parsers)}"
            problems.append(f"unknown setting {name!r}{hint}")
    return problems
