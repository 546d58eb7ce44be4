"""How what a peer causes gets into the log: by a limit that all of its connections share. No I/O."""

import logging
from typing import Protocol


class PeerLines(Protocol):
    """The lines that one peer causes, by topic: a word of ours."""

    def say(
        self,
        log: logging.Logger,
        level: int,
        text: str,
        topic: str,
        *,
        repeats: bool = False,
        loosely: bool = False,
    ) -> None:
        """Write a line, or hold it back and count it.

        `repeats`: the same text again is news. `loosely`: one that differs in numbers or bytes is it too.
        """

    def over(self, text: str, topic: str) -> None:
        """What the topic told is over, which this text says."""


class EveryLine:
    """Holds nothing back: for single connections, which somebody looks at."""

    def say(
        self,
        log: logging.Logger,
        level: int,
        text: str,
        topic: str,
        *,
        repeats: bool = False,
        loosely: bool = False,
    ) -> None:
        """Write the line."""
        log.log(level, "%s", text)

    def over(self, text: str, topic: str) -> None:
        """Nothing was held back."""
