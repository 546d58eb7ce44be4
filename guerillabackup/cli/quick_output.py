"""Writes many short lines that come quickly, without a flush for each. Touches: time, stdout."""

import time

from guerillabackup.cli.common import write_text

MAX_LINES = 1000
MAX_DELAY = 0.05
"""Seconds that a line waits for the next one's arrival; for what takes longer to come this is no place."""


class QuickOutput:
    """Collects texts and writes them together; `flush` at the end."""

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._texts: list[str] = []
        self._written = 0.0

    def write(self, text: str) -> None:
        """Take a text; raises OutputError and BrokenPipeError."""
        self._texts.append(text)
        if len(self._texts) >= MAX_LINES or time.monotonic() - self._written > MAX_DELAY:
            self.flush()

    def flush(self) -> None:
        """Write what was taken; raises OutputError and BrokenPipeError."""
        texts, self._texts = self._texts, []
        if texts:
            write_text("".join(texts), self._consequence, end="")
        self._written = time.monotonic()
