"""Who causes lines of the log without end gets some, and a count."""

import logging

import pytest

from guerillabackup import log_limit
from guerillabackup.log_limit import BUDGET, MAX_TEXT, PAUSE_SECONDS, LogLimit

log = logging.getLogger("test")


class Lines:
    def __init__(self, caplog):
        self.now = 0.0
        self.limit = LogLimit(lambda: self.now)
        self._caplog = caplog
        caplog.set_level(logging.INFO)

    def say(self, text, topic="failed", **more):
        self.limit.say(log, logging.WARNING, text, topic, **more)

    def take(self):
        found = [(record.levelname, record.getMessage()) for record in self._caplog.records]
        self._caplog.clear()
        return found


@pytest.fixture
def lines(caplog):
    return Lines(caplog)


def test_the_same_again_is_counted_once_in_a_while_and_told_when_it_is_over(lines):
    for number in range(1000):
        lines.say(f"frame of {number} bytes, id {number:032x}", loosely=True)
        lines.now += 1
    lines.limit.over("all is well again", "failed")
    told = lines.take()
    assert [level for level, _ in told] == ["WARNING"] * 4 + ["INFO"]
    assert told[0][1] == f"frame of 0 bytes, id {0:032x}"
    assert told[1][1] == f"frame of 300 bytes, id {300:032x} (the last such line; held back: 300)"
    assert told[-1][1] == "all is well again (lines held back: 99)"
    lines.say("frame of 1 bytes")
    assert lines.take() == [("WARNING", "frame of 1 bytes")]


def test_what_happened_once_is_over_without_a_word(lines):
    lines.limit.over("all is well again", "failed")
    lines.say("once")
    lines.limit.over("all is well again", "failed")
    assert lines.take() == [("WARNING", "once")]


def test_what_is_held_back_is_told_without_another_line(lines):
    for _ in range(3):
        lines.say("again")
    lines.limit.tell()
    assert lines.limit.holds
    assert len(lines.take()) == 1
    lines.now = PAUSE_SECONDS
    lines.limit.tell()
    lines.limit.tell()
    assert lines.take() == [("WARNING", "again (the last such line; held back: 2)")]
    assert not lines.limit.holds


@pytest.mark.parametrize("ends_between", [True, False])
def test_who_finds_a_new_text_each_time_has_a_budget(lines, ends_between):
    seconds = 6 * 3600
    for _ in range(seconds):
        lines.say("".join(chr(97 + int(digit)) for digit in str(int(lines.now))))
        if ends_between:
            lines.say("again")
            lines.limit.over("all is well again", "failed")
        lines.now += 1
    assert len(lines.take()) <= BUDGET + 2 * seconds / PAUSE_SECONDS + 1


def test_what_is_news_each_time_is_written_as_long_as_it_is_rare(lines):
    for _ in range(500):
        lines.say("connected", "connected", repeats=True)
        lines.now += 60
    assert len(lines.take()) == 500
    for _ in range(500):
        lines.say("connected", "connected", repeats=True)
    assert len(lines.take()) == BUDGET


def test_topics_have_budgets_of_their_own_and_lines_an_end(lines):
    lines.say("a" * 5000)
    lines.say("a" * 5000, "other")
    assert [len(text) for _, text in lines.take()] == [MAX_TEXT] * 2


def test_what_is_remembered_is_bounded(lines, monkeypatch):
    monkeypatch.setattr(log_limit, "MAX_KINDS", 2)
    for text in ("a", "b", "c"):
        lines.say(text)
    lines.say("c")
    lines.say("a")
    assert [text for _, text in lines.take()] == ["a", "b", "c", "a"]
