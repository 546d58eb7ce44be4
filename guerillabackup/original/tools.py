"""What the original's module Utils offers: JSON with comments, and spans of time as text. No I/O."""

import json
import re
from typing import Any

from guerillabackup.errors import ConfigError

SECONDS = {"m": 30 * 86400, "w": 7 * 86400, "d": 86400, "H": 3600, "M": 60, "s": 1}


def jsonLoadWithComments(fileName: str) -> Any:
    """The value of a JSON file in which lines that begin with `#` are comments."""
    with open(fileName, encoding="utf-8") as stream:
        return json.loads("".join("\n" if line.startswith("#") else line for line in stream))


def parseTimeDef(timeStr: str) -> int:
    """Seconds of a text such as `6d20H`: m 30 days, w, d, H, M, s; a number alone is seconds."""
    parts = re.findall(r"([0-9]+)([mwdHMs]?)", timeStr)
    units = [unit or "s" for _, unit in parts]
    is_whole = timeStr and "".join(number + unit for number, unit in parts) == timeStr
    if not is_whole or len(set(units)) != len(units):
        raise ConfigError(
            f"{timeStr!r} is no span of time such as 6d20H, with each of m w d H M s once at most"
        )
    return sum(int(number) * SECONDS[unit] for (number, _), unit in zip(parts, units, strict=True))
