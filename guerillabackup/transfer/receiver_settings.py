"""What a receiver policy is told: which elements it takes, and how much of what it refuses is kept.

`SETTINGS` is the one table of the names in TransferReceiverSettings. No I/O.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError

SETTINGS_KEY = "TransferReceiverSettings"
INIT_ARGS_KEY = "TransferReceiverPolicyInitArgs"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Ages are seconds since the Timestamp; None: any."""

    sources: tuple[str, ...] = ("*",)
    """Patterns of whole source URLs, as fnmatch has them; what a peer may send limits them as well."""
    backup_type: BackupType | None = None
    min_age: float | None = None
    max_age: float | None = None
    handling_has: frozenset[str] = frozenset()
    """At least one of these is in the element's HandlingPolicy; empty: no condition."""
    handling_lacks: frozenset[str] = frozenset()
    """None of these is."""
    max_element_size: int | None = None
    """Bytes. A larger element ends its connection, for a stream cannot be stopped, and is then left alone."""
    allow_without_checksum: bool = False
    """Take elements whose metadata has no checksum of their data too."""
    query_sources: tuple[str, ...] = ()
    """Ask a peer that is known to be ours for these sources only."""
    query_since: float | None = None
    """Ask such a peer only for what is no older."""
    max_quarantine_size: int = 1 << 30
    """Bytes of refused elements that are kept as evidence, for each agent."""
    max_quarantine_entries: int = 1000
    """Refused elements of which something is kept, for each agent."""

    @classmethod
    def from_configuration(
        cls, init_args: Sequence[Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> "ReceiverSettings":
        """From TransferReceiverPolicyInitArgs, which has none, and TransferReceiverSettings.

        ConfigError tells all problems at once.
        """
        if init_args:
            raise ConfigError(
                f"{INIT_ARGS_KEY} has {len(init_args)} arguments: ReceiverStoreDataTransferPolicy takes "
                f"none; its settings are in {SETTINGS_KEY}"
            )
        if settings is not None and not isinstance(settings, Mapping):
            raise ConfigError(f"{SETTINGS_KEY} is a {type(settings).__name__}, not a dict of settings")
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, value in (settings or {}).items():
            if name not in SETTINGS:
                problems.append(f"{SETTINGS_KEY} has {name!r}, which is none of {', '.join(SETTINGS)}")
                continue
            field, parse = SETTINGS[name]
            try:
                values[field] = parse(value)
            except ValueError as error:
                problems.append(f"{SETTINGS_KEY} has {name} {value!r}, not {error}")
        if problems:
            raise ConfigError(*problems)
        return cls(**values)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError("a list of texts with at least one")


def _backup_type(value: Any) -> BackupType | None:
    try:
        return None if value is None else BackupType(value)
    except ValueError:
        raise ValueError("'full', 'inc' or None") from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError("seconds from 0 on, or None")
    return float(value)


def _amount(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number from 0 on")
    return value


def _size(value: Any) -> int | None:
    return None if value is None else _amount(value)


SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "Sources": ("sources", _texts),
        "BackupType": ("backup_type", _backup_type),
        "MinAge": ("min_age", _seconds),
        "MaxAge": ("max_age", _seconds),
        "HandlingPolicyHas": ("handling_has", lambda value: frozenset(_texts(value))),
        "HandlingPolicyLacks": ("handling_lacks", lambda value: frozenset(_texts(value))),
        "MaxElementSize": ("max_element_size", _size),
        "AllowWithoutChecksum": ("allow_without_checksum", _flag),
        "QuerySources": ("query_sources", _texts),
        "QuerySince": ("query_since", _seconds),
        "MaxQuarantineSize": ("max_quarantine_size", _amount),
        "MaxQuarantineEntries": ("max_quarantine_entries", _amount),
    }
)
"""Name in the configuration -> the field it is, and what makes its value (ValueError: what it should be)."""

DEFAULT_SETTINGS = ReceiverSettings()
