"""One source of a CommandBackupUnit: what its configuration says. No I/O."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.timing import MAX_SECONDS, Timing
from guerillabackup.units.settings import (
    SettingParsers,
    SourceList,
    parse_absolute_path,
    parse_command,
    parse_flag,
    parse_key,
    parse_policy,
    parse_settings,
    split_by_source,
)

CONFIG_KEY = "CommandBackupUnitConfigList"
MAX_EXIT_STATUS = 255
MAX_ENVIRONMENT_FILE_SIZE = 64 << 10
"""Bytes of a file with KEY=VALUE lines."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(r"PASSW|PASSPHRASE|PWD$|SECRET|TOKEN|PRIVATE_?KEY|API_?KEY", re.IGNORECASE)
_SECRET_ARGUMENT = re.compile(r"-{0,2}[A-Za-z_-]*(?:password|passwd|secret|token)=.+", re.IGNORECASE)

Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CommandSource:
    """What to run, when, and how; and what reads its output when it is restored."""

    source_url: SourceUrl
    command: tuple[str, ...]
    timing: Timing
    restore_command: tuple[str, ...] | None = None
    environment: Variables = ()
    environment_file: str | None = None
    credential_files: Variables = ()
    """Names of environment variables, and the private files that they are to name."""
    user: str | None = None
    group: str | None = None
    working_directory: str = "/"
    allowed_exit_statuses: tuple[int, ...] = (0,)
    minimum_size: int = 1
    time_limit: int | None = None
    ignores_messages: bool = False
    policy: str | None = None
    encryption_key: str | tuple[str, ...] | None = None


def parse_sources(value: object) -> list[CommandSource]:
    """All sources of a CommandBackupUnitConfigList; raises ConfigError with every problem."""
    return split_sources(value).check()


def split_sources(value: object) -> SourceList[CommandSource]:
    """The sources whose settings are right, and the others; raises ConfigError for no such dict."""
    return split_by_source(value, CONFIG_KEY, _parse_source)


def find_exposed_secrets(source: CommandSource) -> list[str]:
    """What looks like a secret where others can read it; the value itself is not told."""
    found = [
        f"Environment: {name} looks like a secret, and configurations are shown to people: put it into"
        " EnvironmentFile"
        for name, value in source.environment
        if _SECRET_NAME.search(name) and value and not value.startswith("/")
    ]
    for setting, argv in (("Command", source.command), ("RestoreCommand", source.restore_command or ())):
        found += [
            f"{setting}: argument {number} looks like a secret, and every user sees arguments: use"
            " EnvironmentFile or CredentialFiles"
            for number, argument in enumerate(argv)
            if _SECRET_ARGUMENT.fullmatch(argument)
        ]
    return found


def parse_environment_lines(data: bytes) -> Variables:
    """The variables of a file of KEY=VALUE lines; blank lines and those that begin with # are none.

    A value is all that follows the `=`, as it is. Raises ConfigError, which tells lines but no values.
    """
    problems: list[str] = []
    variables: dict[str, str] = {}
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape").removesuffix("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or _VARIABLE.fullmatch(name) is None:
            problems.append(f"line {number} is not KEY=VALUE, with a KEY of letters, digits and _")
        elif "\0" in value:
            problems.append(f"line {number} holds a NUL character")
        elif len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            problems.append(f"line {number} has its value in quotes: they would belong to it; leave them out")
        elif name in variables:
            problems.append(f"line {number} sets {name} again")
        else:
            variables[name] = value
    if problems:
        raise ConfigError(*problems)
    return tuple(variables.items())


def hide_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text without them: programs may repeat what they were told."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _parse_source(source_url: SourceUrl, settings: Mapping[Any, Any]) -> CommandSource:
    values, problems = parse_settings(settings, _SETTINGS)
    for name, example in _MANDATORY.items():
        if settings.get(name) is None:
            problems.append(f"{name} is not set; {example}")
    if problems:
        raise ConfigError(*problems)
    return CommandSource(source_url=source_url, **values)


def _variables(value: object) -> Variables:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r} is not a dict of names to texts")
    problems = []
    for name, text in value.items():
        if not isinstance(name, str) or _VARIABLE.fullmatch(name) is None:
            problems.append(f"{name!r} is no name of a variable: letters, digits and _")
        elif not isinstance(text, str) or "\0" in text:
            problems.append(f"{name} is not set to a text")
    if problems:
        raise ConfigError(*problems)
    return tuple(value.items())


def _credential_files(value: object) -> Variables:
    variables = _variables(value)
    problems = [f"{name}: {path!r} is not an absolute path" for name, path in variables if path[:1] != "/"]
    if problems:
        raise ConfigError(*problems)
    return variables


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{value!r} is not a name")
    return value


def _statuses(value: object) -> tuple[int, ...]:
    items: Sequence[object] = value if isinstance(value, list | tuple) else ()
    if not items or not all(_is_number(item, 0, MAX_EXIT_STATUS) for item in items):
        raise ConfigError(f"{value!r} is not a list of exit statuses, 0 to {MAX_EXIT_STATUS}, such as [0, 1]")
    return tuple(item for item in items if isinstance(item, int))


def _whole_number(minimum: int, maximum: int, what: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if not isinstance(value, int) or not _is_number(value, minimum, maximum):
            raise ConfigError(f"{value!r} is not a whole number of {what} from {minimum} to {maximum}")
        return value

    return parse


def _is_number(value: object, minimum: int, maximum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum


_MANDATORY: Mapping[str, str] = {
    "Command": "for example: 'Command': ['pg_dumpall']",
    "Timing": "daily: 'Timing': [72000, 100800, 86400, 0]",
}

_SETTINGS: SettingParsers = {
    "Command": ("command", parse_command),
    "RestoreCommand": ("restore_command", parse_command),
    "Timing": ("timing", Timing.parse),
    "Environment": ("environment", _variables),
    "EnvironmentFile": ("environment_file", parse_absolute_path),
    "CredentialFiles": ("credential_files", _credential_files),
    "User": ("user", _name),
    "Group": ("group", _name),
    "WorkingDirectory": ("working_directory", parse_absolute_path),
    "AllowedExitStatuses": ("allowed_exit_statuses", _statuses),
    "MinimumSize": ("minimum_size", _whole_number(0, 1 << 62, "bytes")),
    "TimeLimit": ("time_limit", _whole_number(1, MAX_SECONDS, "seconds")),
    "IgnoreMessages": ("ignores_messages", parse_flag),
    "Policy": ("policy", parse_policy),
    "EncryptionKey": ("encryption_key", parse_key),
}

SETTING_NAMES = tuple(_SETTINGS)
"""What a source's settings can be, to the letter."""
