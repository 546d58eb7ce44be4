"""What a receiver policy is told: which elements it takes, and how much of what it refuses is kept.

`SETTINGS` is the one table of the names in TransferReceiverSettings. No I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError
from guerillabackup.transfer.setting_values import (
    SettingTable,
    backup_type,
    flag,
    read_settings,
    seconds,
    text_set,
    texts,
)

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
        problems: list[str] = []
        values = read_settings(SETTINGS_KEY, SETTINGS, settings, problems)
        if problems:
            raise ConfigError(*problems)
        return cls(**values)


def _amount(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number from 0 on")
    return value


def _size(value: Any) -> int | None:
    return None if value is None else _amount(value)


SETTINGS: SettingTable = MappingProxyType(
    {
        "Sources": ("sources", texts),
        "BackupType": ("backup_type", backup_type),
        "MinAge": ("min_age", seconds),
        "MaxAge": ("max_age", seconds),
        "HandlingPolicyHas": ("handling_has", text_set),
        "HandlingPolicyLacks": ("handling_lacks", text_set),
        "MaxElementSize": ("max_element_size", _size),
        "AllowWithoutChecksum": ("allow_without_checksum", flag),
        "QuerySources": ("query_sources", texts),
        "QuerySince": ("query_since", seconds),
        "MaxQuarantineSize": ("max_quarantine_size", _amount),
        "MaxQuarantineEntries": ("max_quarantine_entries", _amount),
    }
)

DEFAULT_SETTINGS = ReceiverSettings()
