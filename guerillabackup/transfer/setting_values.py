"""What a dict of settings of a policy is read by, whichever side it is for. No I/O.

A parser hands back the value, or raises ValueError with what it should be.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError

SettingTable = Mapping[str, tuple[str, Callable[[Any], Any]]]
"""Name in the configuration -> the field it is, and what makes its value."""


def read_settings(key: str, table: SettingTable, settings: Any, problems: list[str]) -> dict[str, Any]:
    """The fields that the dict under `key` sets; each mistake in it is added to the problems.

    None sets nothing; what is no dict at all raises ConfigError.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"{key} is a {type(settings).__name__}, not a dict of settings")
    values: dict[str, Any] = {}
    for name, value in (settings or {}).items():
        if name not in table:
            problems.append(f"{key} has {name!r}, which is none of {', '.join(table)}")
            continue
        field, parse = table[name]
        try:
            values[field] = parse(value)
        except ValueError as error:
            problems.append(f"{key} has {name} {value!r}, not {error}")
    return values


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts, none of them empty."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError("a list of texts with at least one")


def text_set(value: Any) -> frozenset[str]:
    """The same, in no order."""
    return frozenset(texts(value))


def backup_type(value: Any) -> BackupType | None:
    """A type of elements, or None for both."""
    try:
        return None if value is None else BackupType(value)
    except ValueError:
        raise ValueError("'full', 'inc' or None") from None


def flag(value: Any) -> bool:
    """True or False, and no number."""
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def seconds(value: Any) -> float | None:
    """A span of time, or None for any."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError("seconds from 0 on, or None")
    return float(value)
