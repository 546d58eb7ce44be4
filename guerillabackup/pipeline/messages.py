"""What a process says on its standard error, kept in bounded memory. No I/O."""

from collections import deque

MAX_LINE_BYTES = 4096
"""Of a longer line the beginning and the end stay: what is wrong with a long name stands after it."""
KEPT_LINES = 100
SHOWN_LINES = 3
SHOWN_CHARACTERS = 600
_HALF_BYTES = MAX_LINE_BYTES // 2


class MessageCollector:
    """Collects lines from bytes in whatever pieces they come: the first 100, the last 100, 4 KiB of each.

    What is left out of the middle of a longer line is named by a text in its place.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._tail = bytearray()
        self._line_size = 0
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._line_count = 0

    def feed(self, data: bytes) -> None:
        """Take bytes; takes any number of them, at any cut."""
        *complete, rest = data.split(b"\n")
        surplus = len(complete) - KEPT_LINES
        if self._line_count >= KEPT_LINES and surplus > 0:
            # A flood: what the end of it pushes out is only counted.
            self._line_count += surplus
            self._clear_line()
            del complete[:surplus]
        for part in complete:
            self._extend(part)
            self._end_line()
        self._extend(rest)

    def get_lines(self) -> list[str]:
        """The lines so far, one that is not complete yet too; a gap is named by a line in its place."""
        left_out = self._line_count - len(self._first) - len(self._last)
        gap = [f"({left_out} lines left out)"] if left_out > 0 else []
        unfinished = [self._line_text()] if self._line else []
        return [*self._first, *gap, *self._last, *unfinished]

    def _extend(self, part: bytes) -> None:
        room = _HALF_BYTES - len(self._line)
        self._line += part[:room]
        self._tail += part[max(room, 0, len(part) - _HALF_BYTES) :]
        del self._tail[:-_HALF_BYTES]
        self._line_size += len(part)

    def _end_line(self) -> None:
        kept = self._first if self._line_count < KEPT_LINES else self._last
        kept.append(self._line_text())
        self._line_count += 1
        self._clear_line()

    def _clear_line(self) -> None:
        self._line.clear()
        self._tail.clear()
        self._line_size = 0

    def _line_text(self) -> str:
        left_out = self._line_size - len(self._line) - len(self._tail)
        if left_out == 0:
            return _to_text(self._line + self._tail)
        return f"{_to_text(self._line)} ({left_out} bytes left out) {_to_text(self._tail)}"


def last_words(lines: list[str], program: str = "") -> str:
    """The end of what a process said, short enough for an error message; empty when it said nothing.

    Where the end has none of the lines that begin with the program's name, and there are such, it is theirs:
    what bzip2 says is wrong is followed by what it advises.
    """
    said = [line.strip() for line in lines if line.strip()]
    named = [line for line in said if program and line.startswith(f"{program}: ")]
    if named and not any(line in named for line in said[-SHOWN_LINES:]):
        said = named
    return "; ".join(said[-SHOWN_LINES:])[-SHOWN_CHARACTERS:]


def _to_text(line: bytes | bytearray) -> str:
    return line.rstrip(b"\r").decode("utf-8", "backslashreplace")
