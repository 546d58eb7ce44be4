"""What an operator may say about receiving: the keys of the policy's settings, and their values. No I/O.

`SETTINGS` is their one table. They stand as a dict in TransferReceiverPolicyInitArgs; without it, as with a
configuration written for the original, everything an accepted peer offers is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError

MAX_SECONDS = 100 * 366 * 86400


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """What is taken, and how much of what is not is kept."""

    accepted_sources: tuple[str, ...] = ("*",)
    backup_types: frozenset[BackupType] = frozenset(BackupType)
    max_age: int | None = None
    min_age: int | None = None
    handling_policies: tuple[str, ...] = ()
    max_element_size: int | None = None
    allow_without_checksum: bool = False
    query_sources: tuple[str, ...] = ()
    query_since: int | None = None
    max_quarantine_size: int = 1 << 30
    max_quarantine_entries: int = 1000
    bytes_per_second: int | None = None


DEFAULT_SETTINGS = ReceiverSettings()


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: the attribute it sets, its meaning, and how it is read; ValueError says what it must be."""

    attribute: str
    meaning: str
    read: Callable[[Any], Any]


def _patterns(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(one, str) and one for one in value)
    ):
        raise ValueError("a list of at least one text")
    return tuple(value)


def _types(value: Any) -> frozenset[BackupType]:
    if not isinstance(value, list | tuple) or not value or not set(value) <= {"full", "inc"}:
        raise ValueError("a list of 'full', 'inc' or both")
    return frozenset(BackupType(one) for one in value)


def _number(low: int, high: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(what)
        return value

    return read


def _optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


_seconds = _optional(_number(0, MAX_SECONDS, f"None or whole seconds from 0 to {MAX_SECONDS}"))
_bytes = _optional(_number(1, 1 << 60, "None or a whole number of at least 1"))
_amount = _number(0, 1 << 60, "a whole number of at least 0")

SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "AcceptedSources": Setting(
            "accepted_sources",
            "Patterns of whole source URLs to take, `*` going over slashes too; what the connector accepts "
            "of a peer limits it as well.",
            _patterns,
        ),
        "BackupTypes": Setting("backup_types", "Types to take, 'full' and 'inc'.", _types),
        "MaxAge": Setting("max_age", "Seconds since the Timestamp from which on it is too old.", _seconds),
        "MinAge": Setting("min_age", "Seconds since the Timestamp until which it is too young.", _seconds),
        "HandlingPolicies": Setting(
            "handling_policies",
            "Take only elements with one of these in their HandlingPolicy.",
            _patterns,
        ),
        "MaxElementSize": Setting(
            "max_element_size",
            "Bytes of the largest element to take. A larger one ends its connection, for a stream cannot be "
            "stopped, and is left alone for a while.",
            _bytes,
        ),
        "AllowWithoutChecksum": Setting(
            "allow_without_checksum", "Take elements whose metadata has no checksum of their data.", _flag
        ),
        "QuerySources": Setting(
            "query_sources",
            "Patterns of sources to ask a peer of this version for, so that it offers no others.",
            _patterns,
        ),
        "QuerySince": Setting(
            "query_since",
            "Ask a peer of this version only for what is no older than these seconds.",
            _seconds,
        ),
        "MaxQuarantineSize": Setting(
            "max_quarantine_size", "Bytes of refused elements kept as evidence, for each agent.", _amount
        ),
        "MaxQuarantineEntries": Setting(
            "max_quarantine_entries", "Refused elements of which something is kept, for each agent.", _amount
        ),
        "BytesPerSecond": Setting(
            "bytes_per_second", "Bytes a second that all connections of an agent take together.", _bytes
        ),
    }
)
"""Key in the configuration -> what it is."""


def parse_receiver_settings(values: Sequence[Any] | Mapping[str, Any] | None) -> ReceiverSettings:
    """The settings that TransferReceiverPolicyInitArgs holds; ConfigError names all problems.

    None, and a list without anything, as the original has them, mean no settings.
    """
    if values is None:
        return DEFAULT_SETTINGS
    if not isinstance(values, Mapping):
        if not isinstance(values, list | tuple) or len(values) > 1:
            raise ConfigError("ReceiverStoreDataTransferPolicy takes one argument, a dict of settings")
        return parse_receiver_settings(values[0]) if len(values) == 1 else DEFAULT_SETTINGS
    problems = []
    read: dict[str, Any] = {}
    for key, value in values.items():
        setting = SETTINGS.get(key)
        if setting is None:
            problems.append(f"receiver setting {key!r} is not known; there are {', '.join(SETTINGS)}")
            continue
        try:
            read[setting.attribute] = setting.read(value)
        except (ValueError, TypeError) as error:
            problems.append(f"receiver setting {key} is {value!r}, not {error}")
    if problems:
        raise ConfigError(*problems)
    return ReceiverSettings(**read)
