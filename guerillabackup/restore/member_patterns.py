"""Which members of an archive a user means: patterns on their paths. No I/O.

`*`, `?` and `[…]` stay within one step of a path, `**` goes over any number of them; a leading `./` or `/`
says nothing. A pattern that matches a directory takes everything below it. A backslash takes the meaning of
the character after it, and with three octal digits stands for a byte: every name can be written as a pattern.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from guerillabackup.errors import ConfigError

MAX_PATTERN_LENGTH = 1 << 16
_SPECIAL = "*?[\\"
_BYTE = re.compile(r"\\([0-3][0-7]{2})")


class MemberPatterns:
    """Patterns, any of which is enough; none at all match everything. Raises ConfigError for a bad one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.texts = tuple(patterns)
        self._expressions = [_compile(text) for text in self.texts]

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def match(self, name: bytes) -> bool:
        """Whether a member of this normal name is meant."""
        return not self._expressions or any(each.fullmatch(name) is not None for each in self._expressions)

    def matching(self, name: bytes) -> list[int]:
        """The positions of the patterns that match a normal name."""
        return [index for index, each in enumerate(self._expressions) if each.fullmatch(name) is not None]


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


def _quote_character(character: str) -> str:
    if character in _SPECIAL:
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _compile(text: str) -> re.Pattern[bytes]:
    if len(text) > MAX_PATTERN_LENGTH:
        raise ConfigError(f"pattern of {len(text)} characters, limit {MAX_PATTERN_LENGTH}")
    steps = [step for step in text.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise ConfigError(f"pattern {text!r} leads up, where no member is")
    if not steps:
        return re.compile(rb".*", re.DOTALL)
    pieces: list[bytes] = []
    for index, step in enumerate(steps):
        if step == "**":
            if not pieces or pieces[-1] != _ANY_STEPS:
                pieces.append(_ANY_STEPS if index < len(steps) - 1 else b".+")
        else:
            pieces.append(_translate_step(text, step) + (b"/" if index < len(steps) - 1 else b""))
    return re.compile(b"".join(pieces) + rb"(?:/.*)?", re.DOTALL)


_ANY_STEPS = b"(?:[^/]+/)*"


def _translate_step(text: str, step: str) -> bytes:
    """One step of a path as an expression that matches no slash."""
    result = b""
    position = 0
    while position < len(step):
        character = step[position]
        position += 1
        if character == "*":
            result += b"" if result.endswith(b"[^/]*") else b"[^/]*"
        elif character == "?":
            result += _ONE_CHARACTER
        elif character == "[":
            end = step.find("]", position + (2 if step[position : position + 1] in ("!", "^") else 1))
            if end < 0:
                result += rb"\["
                continue
            result += _translate_class(text, step[position:end])
            position = end + 1
        elif (byte := _BYTE.match(step, position - 1)) is not None:
            position = byte.end()
            result += _escape_byte(text, int(byte[1], 8))
        else:
            if character == "\\" and position < len(step):
                character = step[position]
                position += 1
            result += re.escape(_encode(text, character))
    return result


def _escape_byte(text: str, value: int) -> bytes:
    if value in b"\0/":
        raise ConfigError(f"pattern {text!r} has the byte \\{value:03o}, which no name has")
    return re.escape(bytes((value,)))


# A character of UTF-8, or a single byte that is none.
_ONE_CHARACTER = rb"(?:[\xc0-\xff][\x80-\xbf]+|[^/])"


def _translate_class(text: str, content: str) -> bytes:
    negated = content[:1] in ("!", "^")
    alternatives: list[bytes] = []
    characters = content[1:] if negated else content
    position = 0
    while position < len(characters):
        first = characters[position]
        if characters[position + 1 : position + 2] == "-" and position + 2 < len(characters):
            last = characters[position + 2]
            if not (first.isascii() and last.isascii() and first <= last):
                raise ConfigError(
                    f"pattern {text!r} has the range {first}-{last}, which is empty or not ASCII"
                )
            alternatives.append(b"[" + re.escape(first.encode()) + b"-" + re.escape(last.encode()) + b"]")
            position += 3
        else:
            alternatives.append(re.escape(_encode(text, first)))
            position += 1
    joined = b"(?:" + b"|".join(alternatives) + b")"
    return b"(?!" + joined + b")" + _ONE_CHARACTER if negated else b"(?!/)" + joined


def _encode(text: str, character: str) -> bytes:
    try:
        return character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ConfigError(f"pattern {text!r} is not a text of this system") from error
