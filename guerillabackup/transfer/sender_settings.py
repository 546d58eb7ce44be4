"""What a sender policy is told: which elements it offers, in what order, and what becomes of them after.

`SETTINGS` is the one table of the names in TransferSenderSettings. No I/O.
"""

import enum
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

SETTINGS_KEY = "TransferSenderSettings"
INIT_ARGS_KEY = "TransferSenderPolicyInitArgs"


class SenderOrder(enum.Enum):
    """What comes first; a predecessor comes before its successors in any case."""

    OLDEST = "oldest"
    """By arrival in the spool."""
    PRIORITY = "priority"
    """By the element's attribute `priority`, the larger number first; then by arrival."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """Ages are seconds, of the content (Timestamp) or since arrival in the spool; None: any."""

    mark_as_done_only: bool = False
    """Keep what was transferred, marked, instead of deleting it."""
    mark_counts_for_all: bool = True
    """Whether an element that one agent has is offered to no other agent either."""
    order: SenderOrder = SenderOrder.OLDEST
    sources: tuple[str, ...] = ("*",)
    """Patterns of whole source URLs, as fnmatch has them."""
    backup_type: BackupType | None = None
    min_age: float | None = None
    max_age: float | None = None
    min_arrival_age: float | None = None
    max_arrival_age: float | None = None
    handling_has: frozenset[str] = frozenset()
    """At least one of these is in the element's HandlingPolicy; empty: no condition."""
    handling_lacks: frozenset[str] = frozenset()
    """None of these is."""

    @classmethod
    def from_configuration(
        cls, init_args: Sequence[Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> "SenderSettings":
        """From TransferSenderPolicyInitArgs ([markAsDoneOnly]) and TransferSenderSettings.

        ConfigError tells all problems at once.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        if init_args:
            values["mark_as_done_only"] = _positional(init_args, problems)
        values |= read_settings(SETTINGS_KEY, SETTINGS, settings, problems)
        if init_args and init_args[0] is True and values["mark_as_done_only"] is not True:
            problems.append(f"{INIT_ARGS_KEY} says to mark only, and MarkAsDoneOnly in {SETTINGS_KEY} not to")
        if problems:
            raise ConfigError(*problems)
        return cls(**values)


def _positional(init_args: Sequence[Any], problems: list[str]) -> bool:
    """The one argument that the original's policy takes."""
    if len(init_args) > 1 or not isinstance(init_args[0], bool):
        problems.append(f"{INIT_ARGS_KEY} is {list(init_args)!r}, not [True] or [False]: mark as done only")
    return bool(init_args[0])


def _order(value: Any) -> SenderOrder:
    try:
        return SenderOrder(value)
    except ValueError:
        raise ValueError(" or ".join(repr(each.value) for each in SenderOrder)) from None


SETTINGS: SettingTable = MappingProxyType(
    {
        "MarkAsDoneOnly": ("mark_as_done_only", flag),
        "MarkCountsForAll": ("mark_counts_for_all", flag),
        "Order": ("order", _order),
        "Sources": ("sources", texts),
        "BackupType": ("backup_type", backup_type),
        "MinAge": ("min_age", seconds),
        "MaxAge": ("max_age", seconds),
        "MinArrivalAge": ("min_arrival_age", seconds),
        "MaxArrivalAge": ("max_arrival_age", seconds),
        "HandlingPolicyHas": ("handling_has", text_set),
        "HandlingPolicyLacks": ("handling_lacks", text_set),
    }
)
