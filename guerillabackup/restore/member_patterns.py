"""Which members of an archive a user means: patterns on their paths. No I/O.

`*`, `?` and `[…]` stay within one step of a path, `**` goes over any number of them; a leading `./` or `/`
says nothing. A pattern that matches a directory takes everything below it. A backslash takes the meaning of
the character after it, and with three octal digits stands for a byte: every name can be written as a pattern.
"""

from collections.abc import Collection, Iterable, Sequence

from guerillabackup.errors import ConfigError
from guerillabackup.restore.path_pattern import PathPattern

MAX_PATTERN_LENGTH = 1 << 16
MAX_SHOWN = 200
"""Characters of a name that a message shows."""
_SPECIAL = "*?[\\"


class MemberPatterns:
    """Patterns, any of which is enough; none at all match everything. Raises ConfigError for a bad one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.texts = tuple(patterns)
        self._patterns = [_compile(text) for text in self.texts]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, name: bytes) -> bool:
        """Whether a member of this normal name is meant."""
        return not self._patterns or any(each.matches(name) for each in self._patterns)

    def matching(self, name: bytes) -> list[int]:
        """The positions of the patterns that match a normal name."""
        return [index for index, each in enumerate(self._patterns) if each.matches(name)]


class ListedNames:
    """Which patterns match names that directories list, whether those were archived or not."""

    def __init__(self, patterns: MemberPatterns) -> None:
        self._patterns = patterns
        self.positions: set[int] = set()

    def add(self, name: bytes) -> None:
        """A normal name that a directory lists."""
        self.positions.update(self._patterns.matching(name))


def explain_unmatched(
    patterns: MemberPatterns, unmatched: Iterable[int], listed: Collection[int], what: str = "member"
) -> str:
    """Why there is nothing for the patterns at these positions; at the others of `listed` there are names."""
    reasons: list[str] = []
    positions = sorted(unmatched)
    if plain := [patterns.texts[each] for each in positions if each not in listed]:
        reasons.append(f"no {what} matches {', '.join(map(repr, plain))}")
    reasons += [
        f"what matches {patterns.texts[each]!r} is listed, but was never archived: it was excluded, a "
        "socket, or gone while the backup ran"
        for each in positions
        if each in listed
    ]
    if any(text.startswith("/") for text in plain):
        reasons.append("names are relative to the Root of the source, as --list has them")
    if flat := next((text for text in plain if "/" not in text and text != "**"), None):
        reasons.append(f"'**/{flat}' is looked for in all directories, {flat!r} only in the first")
    return "; ".join(reasons)


def quote(name: bytes) -> str:
    """A name as the pattern that matches it, and what is below it, and nothing else.

    It prints on one line and harms no terminal: what does not print is there as bytes in octal digits.
    """
    return "".join(map(_quote_character, name.decode("utf-8", "surrogateescape")))


def show(name: bytes) -> str:
    """A name for a message: quoted, on one line, and without its middle where it is long."""
    text = quote(name)
    if len(text) > MAX_SHOWN:
        text = f"{text[: MAX_SHOWN // 2]}…{text[-MAX_SHOWN // 2 :]}"
    return f"'{text}'"


def _quote_character(character: str) -> str:
    if character in _SPECIAL:
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _compile(text: str) -> PathPattern:
    if len(text) > MAX_PATTERN_LENGTH:
        raise ConfigError(f"pattern of {len(text)} characters, limit {MAX_PATTERN_LENGTH}")
    return PathPattern(text)
