"""What a process says on its standard error, kept in bounded memory. No I/O."""

from collections import deque

MAX_LINE_BYTES = 4096
KEPT_LINES = 100
SHOWN_LINES = 3
SHOWN_CHARACTERS = 600


class MessageCollector:
    """Collects lines from bytes in whatever pieces they come: the first 100, the last 100, 4 KiB of each."""

    def __init__(self) -> None:
        self._line = bytearray()
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
            self._line.clear()
            del complete[:surplus]
        for part in complete:
            self._extend(part)
            self._end_line()
        self._extend(rest)

    def get_lines(self) -> list[str]:
        """The lines so far, one that is not complete yet too; a gap is named by a line in its place."""
        left_out = self._line_count - len(self._first) - len(self._last)
        gap = [f"({left_out} lines left out)"] if left_out > 0 else []
        unfinished = [_to_text(self._line)] if self._line else []
        return [*self._first, *gap, *self._last, *unfinished]

    def _extend(self, part: bytes) -> None:
        self._line += part[: MAX_LINE_BYTES - len(self._line)]

    def _end_line(self) -> None:
        kept = self._first if self._line_count < KEPT_LINES else self._last
        kept.append(_to_text(self._line))
        self._line_count += 1
        self._line.clear()


def last_words(lines: list[str]) -> str:
    """The end of what a process said, short enough for an error message; empty when it said nothing."""
    said = [line.strip() for line in lines if line.strip()]
    return "; ".join(said[-SHOWN_LINES:])[-SHOWN_CHARACTERS:]


def _to_text(line: bytes | bytearray) -> str:
    return line.rstrip(b"\r").decode("utf-8", "backslashreplace")
