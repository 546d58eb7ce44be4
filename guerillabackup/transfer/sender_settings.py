"""What a sender policy is told: which elements it offers, in what order, and what becomes of them after.

`SETTINGS` is the one table of the names in TransferSenderSettings. No I/O.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError

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
        if settings is not None and not isinstance(settings, Mapping):
            raise ConfigError(f"{SETTINGS_KEY} is a {type(settings).__name__}, not a dict of settings")
        for name, value in (settings or {}).items():
            if name not in SETTINGS:
                problems.append(f"{SETTINGS_KEY} has {name!r}, which is none of {', '.join(SETTINGS)}")
                continue
            field, parse = SETTINGS[name]
            try:
                values[field] = parse(value)
            except ValueError as error:
                problems.append(f"{SETTINGS_KEY} has {name} {value!r}, not {error}")
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


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _order(value: Any) -> SenderOrder:
    try:
        return SenderOrder(value)
    except ValueError:
        raise ValueError(" or ".join(repr(each.value) for each in SenderOrder)) from None


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError("a list of texts with at least one")


def _backup_type(value: Any) -> BackupType | None:
    try:
        return None if value is None else BackupType(value)
    except ValueError:
        raise ValueError("'full', 'inc' or None") from None


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError("seconds from 0 on, or None")
    return float(value)


SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "MarkAsDoneOnly": ("mark_as_done_only", _flag),
        "MarkCountsForAll": ("mark_counts_for_all", _flag),
        "Order": ("order", _order),
        "Sources": ("sources", _texts),
        "BackupType": ("backup_type", _backup_type),
        "MinAge": ("min_age", _seconds),
        "MaxAge": ("max_age", _seconds),
        "MinArrivalAge": ("min_arrival_age", _seconds),
        "MaxArrivalAge": ("max_arrival_age", _seconds),
        "HandlingPolicyHas": ("handling_has", lambda value: frozenset(_texts(value))),
        "HandlingPolicyLacks": ("handling_lacks", lambda value: frozenset(_texts(value))),
    }
)
"""Name in the configuration -> the field it is, and what makes its value (ValueError: what it should be)."""
