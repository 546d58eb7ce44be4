"""One entry of a LogfileBackupUnit's list: which files it takes, and which source each belongs to. No I/O."""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, SourceUrlError
from guerillabackup.units.logfile_names import OLD_SERIAL, SERIAL, LogFile, make_log_file
from guerillabackup.units.settings import parse_key, parse_policy

ENTRY_FORM = "(directory, file regex, source transformation, policy, encryption key)"
MAX_SHOWN = 120
"""Characters of an entry that a message shows."""


@dataclass(frozen=True, slots=True)
class LogInput:
    """Files of one directory whose names match.

    `named_source` is the source of every file; None: each file's name says it. `source_url` is that, or what
    stands for all sources of the entry in messages: the directory.
    """

    directory: str
    pattern: re.Pattern[str]
    source_url: SourceUrl
    named_source: SourceUrl | None = None
    policy: str | None = None
    encryption_key: str | tuple[str, ...] | None = None

    def match(self, name: str) -> LogFile | None:
        """What a name stands for; None when it is not matched. Raises SourceUrlError."""
        match = self.pattern.match(name)
        if match is None:
            return None
        url = self.named_source
        if url is None:
            url = join_url(self.directory, match.group(1) or "")
        return make_log_file(name, url, match.groupdict())


@dataclass(frozen=True, slots=True)
class InputList:
    """The entries of a unit, and for each that is wrong what is wrong, under the label to report it with."""

    inputs: tuple[LogInput, ...]
    refused: tuple[tuple[SourceUrl, ConfigError], ...]


def parse_inputs(value: object, fallback_label: SourceUrl) -> InputList:
    """A LogBackupUnitInputList: a mistake in an entry keeps no other from being used.

    Raises ConfigError when it is no list at all.
    """
    if not isinstance(value, list | tuple):
        raise ConfigError(
            "LogBackupUnitInputList is missing or not a list of tuples;"
            " start with: LogBackupUnitInputList = []"
        )
    inputs: list[LogInput] = []
    refused: list[tuple[SourceUrl, ConfigError]] = []
    for number, entry in enumerate(value, 1):
        try:
            inputs.append(_parse_entry(entry, fallback_label))
        except ConfigError as error:
            problems = [f"entry {number} of LogBackupUnitInputList: {problem}" for problem in error.problems]
            refused.append((_label_of(entry, fallback_label), ConfigError(*problems)))
    return InputList(tuple(inputs), tuple(refused))


def check_inputs(value: object) -> list[LogInput]:
    """The same, but every mistake is raised, in one ConfigError."""
    listed = parse_inputs(value, SourceUrl("/entry"))
    # Whoever checks a key names it.
    problems = [
        problem.replace(" of LogBackupUnitInputList", "", 1)
        for _, error in listed.refused
        for problem in error.problems
    ]
    if problems:
        raise ConfigError(*problems)
    return list(listed.inputs)


def join_url(directory: str, name: str) -> SourceUrl:
    """The source URL of a name in a directory; raises SourceUrlError."""
    url = SourceUrl(f"{directory.rstrip('/')}/{name}")
    if url.is_members:
        raise SourceUrlError(f"source {url}: names that end with .members are those of the lists of members")
    return url


def _parse_entry(entry: object, fallback_label: SourceUrl) -> LogInput:
    if not isinstance(entry, list | tuple) or len(entry) != 5:
        raise ConfigError(f"{_show(entry)} is not a tuple {ENTRY_FORM}")
    problems: list[str] = []

    def parsed(what: str, parse: Callable[..., Any], *values: Any) -> Any:
        try:
            return parse(*values)
        except ConfigError as error:
            problems.append(f"{what}: {error}")
            return None

    directory = parsed("directory", _directory, entry[0])
    pattern = parsed("file regex", _pattern, entry[1], entry[2] is None)
    url = None if directory is None else parsed("source transformation", _source_url, directory, entry[2])
    policy = None if entry[3] is None else parsed("policy", parse_policy, entry[3])
    key = None if entry[4] is None else parsed("encryption key", parse_key, entry[4])
    if problems:
        raise ConfigError(*problems)
    label = url or (fallback_label if directory == "/" else SourceUrl(directory))
    return LogInput(directory, pattern, label, url, policy, key)


def _label_of(entry: Any, fallback_label: SourceUrl) -> SourceUrl:
    """What to call an entry whose other parts are wrong."""
    try:
        return _parse_entry((entry[0], "()", entry[2], None, None), fallback_label).source_url
    except (ConfigError, TypeError, LookupError):
        return fallback_label


def _directory(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ConfigError(f"{_show(value)} is not an absolute path")
    return posixpath.normpath(value).replace("//", "/")


def _pattern(value: object, names_source: bool) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ConfigError(f"{_show(value)} is not a text")
    try:
        pattern = re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{_show(value)} is none: {error}") from error
    if names_source and pattern.groups == 0:
        raise ConfigError(
            f"{_show(value)} has no group, but its first group is to name the source:"
            " put parentheses round that part of the name, or give a source transformation"
        )
    if SERIAL in pattern.groupindex and OLD_SERIAL in pattern.groupindex:
        raise ConfigError(f"{_show(value)} has both groups {SERIAL} and {OLD_SERIAL}: which one is it?")
    return pattern


def _source_url(directory: str, transformation: object) -> SourceUrl | None:
    if transformation is None:
        try:
            join_url(directory, "name")
        except SourceUrlError as error:
            raise ConfigError(f"{error}: give a source transformation that begins with '/'") from error
        return None
    if not isinstance(transformation, str) or not transformation:
        raise ConfigError(f"{_show(transformation)} is neither None nor a text")
    try:
        return join_url("" if transformation.startswith("/") else directory, transformation.removeprefix("/"))
    except SourceUrlError as error:
        raise ConfigError(f"{_show(transformation)}: {error}") from error


def _show(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
