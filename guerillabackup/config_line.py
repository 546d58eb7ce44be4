"""What a plain line of a configuration file says, also when the file as a whole cannot be used.

For the one value that finds a running service, which goes on with the configuration of before. It joins the
reading of a trusted file with a look at its lines.
"""

import ast
import re

from guerillabackup.config_file import read_trusted_file
from guerillabackup.errors import ConfigError


def find_plain_text(path: str, name: str) -> str | None:
    """The text of the last line `NAME = 'text'` of a file.

    None where there is none, or where others could write the file, or it cannot be read.
    """
    try:
        lines = read_trusted_file(path).splitlines()
    except ConfigError:
        return None
    assignment = re.compile(rf"{re.escape(name)}\s*=(?!=)(.*)")
    found: str | None = None
    for line in lines:
        match = assignment.match(line)
        if match is not None:
            found = _parse_text(match[1])
    return found


def _parse_text(expression: str) -> str | None:
    try:
        value = ast.literal_eval(expression.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, str) else None
