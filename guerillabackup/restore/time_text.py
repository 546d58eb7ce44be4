"""The moment a user means by a text: a day, a time, seconds since 1970, the digits of an element. No I/O.

What names no zone is local time, as a user reads it off a clock; an element's digits are UTC, as ours are.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from guerillabackup.element import MAX_TIMESTAMP
from guerillabackup.errors import ConfigError

_FORMS = (
    "YYYY-MM-DD (the {} of that day), "
    "'YYYY-MM-DD HH:MM[:SS]' (the beginning of that minute) with or without Z or +HH:MM, "
    "YYYYmmddHHMMSS, @SECONDS"
)
EXPECTED = _FORMS.format("end")
EXPECTED_FIRST = _FORMS.format("beginning")
"""What `parse_time` takes, and what `parse_first_moment` does."""

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(:\d{2}(?:\.\d{1,6})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)


def parse_time(text: str) -> float:
    """UTC seconds of the moment that the text means: a day is meant to its end, HH:MM is HH:MM:00.

    What is wanted as of 14:00 must not have what came after it. Raises ConfigError.
    """
    return _parse(text, _last_moment, EXPECTED)


def parse_first_moment(text: str) -> float:
    """Likewise, but a day is meant from its beginning."""
    return _parse(text, _first_moment, EXPECTED_FIRST)


def _parse(
    text: str, moment: Callable[[str, str | None, str | None, str | None], float], expected: str
) -> float:
    stripped = text.strip()
    if match := re.fullmatch(r"@(\d{1,12})(?:\.\d{1,9})?", stripped, re.ASCII):
        seconds = float(stripped[1:])
        if int(match[1]) > MAX_TIMESTAMP:
            raise ConfigError(f"time {text!r} is after the year 9999")
        return seconds
    try:
        if re.fullmatch(r"\d{14}", stripped, re.ASCII):
            return datetime.strptime(stripped, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        if match := _TIME.fullmatch(stripped):
            return moment(*match.groups())
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"time {text!r} does not exist: expected a time of the calendar, of the years 1 to 9999, and of a"
            " zone less than 24 hours from UTC"
        ) from error
    raise ConfigError(f"time {text!r} is not understood: expected {expected}")


def describe_time(seconds: float) -> str:
    """A moment as local time, as UTC where that differs, and as the number, which `parse_time` takes too."""
    whole = int(seconds)
    try:
        utc = datetime.fromtimestamp(whole, UTC)
        local = utc.astimezone()
    except (ValueError, OverflowError, OSError):
        return f"@{whole}"
    text = f"{utc:%Y-%m-%d %H:%M:%S}Z"
    if not local.utcoffset():
        return f"{text} (@{whole})"
    return f"{local:%Y-%m-%d %H:%M:%S %z} ({text}, @{whole})"


def _first_moment(day: str, minute: str | None, second: str | None, zone: str | None) -> float:
    if minute is None:
        return datetime.fromisoformat(day).astimezone().timestamp()
    return _last_moment(day, minute, second, zone)


def _last_moment(day: str, minute: str | None, second: str | None, zone: str | None) -> float:
    if minute is None:
        following = datetime.fromisoformat(day) + timedelta(days=1)
        return following.astimezone().timestamp() - 1
    time = datetime.fromisoformat(f"{day} {minute}{second or ':00'}")
    if zone is None:
        return time.astimezone().timestamp()
    return datetime.fromisoformat(f"{time.isoformat()}{'+00:00' if zone == 'Z' else zone}").timestamp()
