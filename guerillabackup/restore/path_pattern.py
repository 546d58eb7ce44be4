"""One pattern on the path of a member, matched in a time that grows with both lengths and no faster.

Regular expressions go back and try again: forty stars against one long name take them years. Here all places
that the part before can end at are kept at once, so that none is looked at twice for the same part. No I/O.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from guerillabackup.errors import ConfigError

_BYTE = re.compile(r"\\([0-3][0-7]{2})")
_SLASH = 0x2F


class PathPattern:
    """A pattern as `member_patterns` explains it; raises ConfigError for one that is none."""

    def __init__(self, text: str) -> None:
        steps = [step for step in text.split("/") if step not in ("", ".")]
        if ".." in steps:
            raise ConfigError(f"pattern {text!r} leads up, where no member is")
        self._takes_all = not steps
        self._parts = list(_join_bytes(_split(text, steps)))

    def matches(self, name: bytes) -> bool:
        """Whether it is this normal name, or one that it is below."""
        if self._takes_all:
            return True
        places: Sequence[int] = (0,)
        for part in self._parts:
            places = part.ends(name, places)
            if not places:
                return False
        size = len(name)
        return any(place == size or name[place] == _SLASH for place in places)


class _Part(Protocol):
    """What a pattern is made of."""

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        """Where it can end in the name when it begins at one of these places; both sorted, no place twice."""
        ...


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Exactly these."""

    text: bytes

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        text, size = self.text, len(self.text)
        return [start + size for start in starts if name.startswith(text, start)]


@dataclass(frozen=True, slots=True)
class _AnyInStep:
    """`*`: any number of bytes up to the next slash."""

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        found: list[int] = []
        for start in starts:
            if not found or start > found[-1]:
                slash = name.find(b"/", start)
                found += range(start, (len(name) if slash < 0 else slash) + 1)
        return found


@dataclass(frozen=True, slots=True)
class _AnySteps:
    """`**/`: any number of whole steps with the slash behind each."""

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        found: set[int] = set()
        for start in starts:
            while start not in found:
                found.add(start)
                slash = name.find(b"/", start)
                if slash > start:
                    start = slash + 1
        return sorted(found)


@dataclass(frozen=True, slots=True)
class _Rest:
    """`**` at the end: whatever there is, if there is something."""

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        return [len(name)] if starts[0] < len(name) else []


@dataclass(frozen=True, slots=True)
class _OneCharacter:
    """`?`, and `[!…]` with what it must not begin with: a character of UTF-8, or a single byte."""

    barred: "_OneOf | None" = None

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        found: set[int] = set()
        for start in starts:
            if self.barred is None or next(self.barred.ends_from(name, start), None) is None:
                found.update(_ends_of_character(name, start))
        return sorted(found)


@dataclass(frozen=True, slots=True)
class _OneOf:
    """`[…]`: ranges of bytes, first and last of each, and characters; never a slash."""

    ranges: tuple[tuple[int, int], ...]
    characters: tuple[bytes, ...]

    def ends(self, name: bytes, starts: Sequence[int]) -> Sequence[int]:
        return sorted(
            {
                end
                for start in starts
                if name[start : start + 1] != b"/"
                for end in self.ends_from(name, start)
            }
        )

    def ends_from(self, name: bytes, start: int) -> Iterator[int]:
        """The same for one beginning, a slash not excluded."""
        if start < len(name) and any(first <= name[start] <= last for first, last in self.ranges):
            yield start + 1
        yield from (start + len(each) for each in self.characters if name.startswith(each, start))


def _ends_of_character(name: bytes, start: int) -> Iterator[int]:
    if start < len(name) and name[start] != _SLASH:
        end = start + 1
        yield end
        while name[start] >= 0xC0 and end < len(name) and 0x80 <= name[end] < 0xC0:
            end += 1
            yield end


def _split(text: str, steps: Sequence[str]) -> Iterator[_Part]:
    """The parts of a pattern, byte by byte."""
    for index, step in enumerate(steps):
        is_last = index == len(steps) - 1
        if step != "**":
            yield from _split_step(text, step)
            if not is_last:
                yield _Bytes(b"/")
        elif is_last:
            yield _Rest()
        elif steps[index + 1] != "**":
            yield _AnySteps()


def _split_step(text: str, step: str) -> Iterator[_Part]:
    position = 0
    while position < len(step):
        character = step[position]
        position += 1
        if character == "*":
            if step[position : position + 1] != "*":
                yield _AnyInStep()
        elif character == "?":
            yield _OneCharacter()
        elif character == "[":
            end = step.find("]", position + (2 if step[position : position + 1] in ("!", "^") else 1))
            if end < 0:
                yield _Bytes(b"[")
                continue
            yield _parse_class(text, step[position:end])
            position = end + 1
        elif (byte := _BYTE.match(step, position - 1)) is not None:
            position = byte.end()
            yield _Bytes(_one_byte(text, int(byte[1], 8)))
        else:
            if character == "\\" and position < len(step):
                character = step[position]
                position += 1
            yield _Bytes(_encode(text, character))


def _join_bytes(parts: Iterable[_Part]) -> Iterator[_Part]:
    """The same with all bytes that follow one another in one part."""
    joined = b""
    for part in parts:
        if isinstance(part, _Bytes):
            joined += part.text
            continue
        if joined:
            yield _Bytes(joined)
            joined = b""
        yield part
    if joined:
        yield _Bytes(joined)


def _one_byte(text: str, value: int) -> bytes:
    if value in b"\0/":
        raise ConfigError(f"pattern {text!r} has the byte \\{value:03o}, which no name has")
    return bytes((value,))


def _parse_class(text: str, content: str) -> _Part:
    is_negated = content[:1] in ("!", "^")
    characters = content[1:] if is_negated else content
    ranges: list[tuple[int, int]] = []
    single: list[bytes] = []
    position = 0
    while position < len(characters):
        first = characters[position]
        if characters[position + 1 : position + 2] == "-" and position + 2 < len(characters):
            last = characters[position + 2]
            if not (first.isascii() and last.isascii() and first <= last):
                raise ConfigError(
                    f"pattern {text!r} has the range {first}-{last}, which is empty or not ASCII"
                )
            ranges.append((ord(first), ord(last)))
            position += 3
        else:
            single.append(_encode(text, first))
            position += 1
    one_of = _OneOf(tuple(ranges), tuple(single))
    return _OneCharacter(one_of) if is_negated else one_of


def _encode(text: str, character: str) -> bytes:
    try:
        return character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ConfigError(f"pattern {text!r} is not a text of this system") from error
