"""Lines of the log that somebody else causes, as a peer does, so few that they fill no disk.

The first lines of a topic are written; what says the same again, and what is beyond the topic's budget, is
counted. The count follows at most once in five minutes, and when the matter is over.

Touches: threading, time.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PAUSE_SECONDS = 300.0
"""Until what was held back is counted in a line; and in which a topic's budget grows by one line."""
BUDGET = 50
"""Lines of a topic, at first and after a long time without any."""
REPEATING_SECONDS = 60.0
"""In which the budget grows by one line where the same text again is news, as that a peer connected."""
MAX_KINDS = 256
"""Texts of a topic that are remembered."""
MAX_TEXT = 3000
"""Characters of a line."""

_VARYING = re.compile(r"\b[0-9a-fA-F]{8,}\b|\d+|\bb'(?:[^'\\]|\\.)*'|\bb\"[^\"]*\"")
"""What differs between two texts that say the same."""


@dataclass(slots=True)
class _Topic:
    log: logging.Logger
    level: int
    left: float
    since: float
    """When `left` was counted."""
    held_since: float = 0.0
    kinds: set[int] = field(default_factory=set)
    said: int = 0
    held: int = 0
    last: str = ""
    """Of those held back."""


class LogLimit:
    """The lines that one peer causes, by topic; safe to use from any thread.

    A topic is a word of ours, never what the peer says.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards the topics
        self._topics: dict[str, _Topic] = {}

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
        """Write a line, unless it or enough of its topic was written.

        `repeats`: the same text again is news. `loosely`: one that differs in numbers or bytes is it too.
        """
        now = self._clock()
        with self._lock:
            lines = self._tell_held(now)
            found = self._topics.get(topic)
            if found is None:
                found = self._topics[topic] = _Topic(log, level, BUDGET, now)
            found.log, found.level = log, max(level, found.level)
            kind = hash(_VARYING.sub("#", text) if loosely else text)
            is_news = repeats or kind not in found.kinds
            if is_news and _spend(found, now, REPEATING_SECONDS if repeats else PAUSE_SECONDS):
                if len(found.kinds) >= MAX_KINDS:
                    found.kinds.clear()
                found.kinds.add(kind)
                found.said += 1
                lines.append((log, level, text))
            else:
                if not found.held:
                    found.held_since = now
                found.held += 1
                found.last = text
        _write(lines)

    def over(self, text: str, topic: str) -> None:
        """What a topic told is over: say so if lines were held back; the next one is written again."""
        found = self._topics.get(topic)
        if found is None or not (found.said or found.held):
            return
        now = self._clock()
        with self._lock:
            if found.said + found.held > 1:
                if not _spend(found, now, PAUSE_SECONDS):
                    return  # who goes on and ends again and again is counted all the same
                held = f" (lines held back: {found.held})" if found.held else ""
                line = (found.log, logging.INFO, f"{text}{held}")
            else:
                line = None
            found.kinds.clear()
            found.said = found.held = 0
        _write([line] if line is not None else [])

    @property
    def holds(self) -> bool:
        """Whether something is held back that was not counted in a line yet."""
        with self._lock:
            return any(topic.held for topic in self._topics.values())

    def tell(self) -> None:
        """Write what is due of what was held back; for who has nothing to say just now."""
        with self._lock:
            lines = self._tell_held(self._clock())
        _write(lines)

    def _tell_held(self, now: float) -> list[tuple[logging.Logger, int, str]]:
        lines = []
        for topic in self._topics.values():
            if topic.held and now - topic.held_since >= PAUSE_SECONDS:
                text = f"{topic.last[:MAX_TEXT]} (the last such line; held back: {topic.held})"
                lines.append((topic.log, topic.level, text))
                topic.held = 0
                topic.said += 1
        return lines


def _spend(topic: _Topic, now: float, seconds: float) -> bool:
    """Whether the budget has a line, which is taken then."""
    topic.left = min(float(BUDGET), topic.left + max(0.0, now - topic.since) / seconds)
    topic.since = now
    if topic.left < 1:
        return False
    topic.left -= 1
    return True


def _write(lines: list[tuple[logging.Logger, int, str]]) -> None:
    for log, level, text in lines:
        log.log(level, "%s", text[:MAX_TEXT])
