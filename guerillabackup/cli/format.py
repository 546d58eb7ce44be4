"""How values look to a reader: sizes, rates, spans, times, tables. No I/O."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: float) -> str:
    """Bytes with three digits or so and a binary unit: `999 B`, `1.5 GiB`."""
    value = float(size)
    for unit in _UNITS:
        if abs(value) < 1023.5 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B" or abs(value) >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"


def human_rate(bytes_per_second: float) -> str:
    """`12.3 MiB/s`."""
    return f"{human_size(bytes_per_second)}/s"


def human_span(seconds: float) -> str:
    """A length of time by its two largest units: `45 s`, `3 min 20 s`, `2 d 4 h`."""
    rest = max(0, round(seconds))
    parts: list[tuple[int, str]] = []
    for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts or name == "s":
            parts.append((count, name))
    return " ".join(f"{count} {name}" for count, name in parts[:2] if count or len(parts) == 1)


def human_time(seconds: float) -> str:
    """UTC seconds as `2026-11-20 11:18:06Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def printable(text: str) -> str:
    """A text of unknown origin on one line, harmless for a terminal: what does not print is escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def plain(value: object) -> str:
    """A value of a record as a reader wants it: yes and no, `-` for nothing, lists joined."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)}={plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(item) for item in value) or "-"
    return printable(str(value))


def align(rows: Iterable[Sequence[str]], most: int | None = None) -> list[str]:
    """Rows of cells as lines with the columns below one another; the last column is as long as it is.

    A cell of more than `most` characters moves what follows in its own line only.
    """
    table = [tuple(row) for row in rows]
    count = max((len(row) for row in table), default=0)
    widths = [max((len(row[i]) for row in table if len(row) > i), default=0) for i in range(count)]
    if most is not None:
        widths = [min(width, most) for width in widths]
    return align_wide(table, widths)


def fit(rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """The same in lines of so many columns: cells of the widest columns go on in the next line.

    They are parted at spaces only, so that a name can be copied: one that is longer makes its line longer.
    """
    table = [tuple(row) for row in rows]
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    least = [max(len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    room = width - 2 * (len(widths) - 1)
    while sum(widths) > room and widths != least:
        widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        widths[widest] -= 1
    lines: list[str] = []
    for row in table:
        cells = [_wrap(cell, widths[i]) for i, cell in enumerate(row)]
        lines += align_wide(zip_longest(*cells, fillvalue=""), widths)
    return lines


def align_wide(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Rows of cells as lines with columns of these widths."""
    return ["  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows]


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]


def count_elements(count: int) -> str:
    """`1 element`, `2 elements`."""
    return count_of(count, "element")


def count_of(count: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
