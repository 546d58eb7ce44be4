"""What a configuration key is, and what checks its value. No I/O."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

MAX_SHOWN_VALUE = 80
"""Characters of a wrong value that a message shows."""


class NoDefault:
    """The type of NO_DEFAULT."""

    def __repr__(self) -> str:
        return "no default"


NO_DEFAULT: Final = NoDefault()

Checker = Callable[[Any], Sequence[str]]
"""Hands back what is wrong with a value, to be read behind the key's name; nothing when it is right."""


class Key(NamedTuple):
    """One configuration key.

    `example` is the text behind `NAME = ` in a line that could be added; `needed_by` says what does not start
    without the key, empty where nothing does.
    """

    name: str
    meaning: str
    check: Checker
    example: str
    default: Any = NO_DEFAULT
    needed_by: str = ""

    @property
    def line(self) -> str:
        """A line that sets it."""
        return f"{self.name} = {self.example}"


def show_value(value: object) -> str:
    """A value for a message: short, whatever it is and whatever its own repr does."""
    try:
        text = repr(value)
    except Exception:  # a value's own code may raise anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN_VALUE else f"{text[: MAX_SHOWN_VALUE - 1]}…"


def expect(what: str, is_right: Callable[[Any], bool]) -> Checker:
    """A checker with one condition: its message is `is VALUE, not WHAT`."""

    def check(value: Any) -> Sequence[str]:
        return () if is_right(value) else (f"is {show_value(value)}, not {what}",)

    return check


def optional(check: Checker) -> Checker:
    """A checker that lets None pass too."""
    return lambda value: () if value is None else check(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and value.isprintable()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable()


def _is_element(value: Any) -> bool:
    # By its method: elements written for the original are no subclasses of ours.
    names = ("get_execution_instance", "getExecutionInstance")
    return not isinstance(value, type) and any(hasattr(value, name) for name in names)


def _is_condition(value: Any) -> bool:
    # By its method: conditions written for the original are no subclasses of ours.
    return not isinstance(value, type) and callable(getattr(value, "evaluate", None))


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether it is a number, no flag, within the two."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_mode(needed: int, allowed: int) -> Callable[[Any], bool]:
    """Whether a value is a file mode with all of the one's bits and none that the other lacks."""

    def is_right(value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value & needed == needed and value & ~allowed == 0

    return is_right


def _is_account(value: Any) -> bool:
    return _is_text(value) or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1
    )


def check_trusted_keys(value: Any) -> Sequence[str]:
    """GeneralTrustedSigningKeys: what a pattern or a fingerprint of it does wrong."""
    if not isinstance(value, dict):
        return (f"is {show_value(value)}, not a dict of source pattern: list of fingerprints",)
    problems = []
    for pattern, fingerprints in value.items():
        where = f"has for {show_value(pattern)}"
        if not isinstance(pattern, str):
            problems.append(f"has the pattern {show_value(pattern)}, not a text")
        else:
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                problems.append(f"has the pattern {show_value(pattern)}, not a regular expression: {error}")
        if not isinstance(fingerprints, list | tuple):
            problems.append(f"{where} {show_value(fingerprints)}, not a list of fingerprints")
            continue
        problems += [
            f"{where} {show_value(item)}, not a fingerprint of 40 hexadecimal digits"
            for item in fingerprints
            if not isinstance(item, str) or re.fullmatch("[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", item) is None
        ]
    return problems


PATH = expect("an absolute path", _is_path)
FLAG = expect("True or False", lambda value: isinstance(value, bool))
TEXT = expect("a text of 1 to 512 printable characters", _is_text)
ELEMENT = expect("a pipeline element (an instance, not a class)", _is_element)
CLASS = expect("a class", lambda value: isinstance(value, type))
LIST = expect("a list", lambda value: isinstance(value, list | tuple))
CONDITION = expect("a condition (an object with evaluate)", _is_condition)
ACCOUNT = expect("a name or a number of 0 to 4294967294", _is_account)
