"""Which problems of tar with single elements still matter when the whole chain is unpacked. No I/O.

After races in the source an archive may hold a name as two things, and tar stumbles over one of them; what a
later element wrote again, or removed, is right in the end.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import FinalNames, normal_name
from guerillabackup.restore.tar_member import TarMember

MAX_SURE_BYTES = 4000
"""A longer line of tar may have lost its middle, and the name with it."""
_CANNOT = ": Cannot "
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def named_member(problem: str) -> bytes | None:
    """The normal name of the member that a line of tar is about; None where that is not sure."""
    name, *rest = problem.split(_CANNOT)
    if len(rest) != 1 or not name or len(problem.encode("utf-8", "surrogateescape")) > MAX_SURE_BYTES:
        return None
    try:
        return normal_name(_ESCAPE.sub(_unescape, name.encode("utf-8", "surrogateescape")))
    except IntegrityError:
        return None


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes((int(code, 8) & 0xFF,)) if len(code) == 3 else _LETTERS.get(code, code)


@dataclass(slots=True)
class OpenProblems:
    """Lines of tar by element, and what later elements did about them.

    `add` all lines, then `take` the members of all later elements, then `is_settled` knows.
    """

    names: FinalNames
    texts: list[tuple[int, str]] = field(default_factory=list)
    _failed: dict[bytes, set[int]] = field(default_factory=dict)
    _written: dict[bytes, int] = field(default_factory=dict)

    def add(self, index: int, text: str) -> None:
        """A line of tar while it unpacked element `index`."""
        self.texts.append((index, text))
        final = self._final(index, named_member(text))
        if final is not None:
            self._failed.setdefault(final, set()).add(index)

    def take(self, index: int, member: TarMember) -> None:
        """A member of element `index`."""
        final = self._final(index, normal_name(member.name))
        if final in self._failed and index not in self._failed[final]:
            self._written[final] = max(index, self._written.get(final, 0))

    def is_settled(self, index: int, text: str, is_gone: Callable[[bytes], bool]) -> bool:
        """Whether the end lacks nothing by it; `is_gone` says that a name is rightly not there."""
        name = named_member(text)
        if name is None:
            return False
        final = self._final(index, name)
        return final is None or self._written.get(final, -1) > index or is_gone(final)

    def _final(self, index: int, name: bytes | None) -> bytes | None:
        return None if name is None else self.names.of(index, name)
