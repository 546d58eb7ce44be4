"""The maps of sparse members: whether they describe exactly the content that follows. No I/O.

GNU tar reads on for as long as a map says, whatever size the member has. Of a map that does not add up, what
we take for content would be a header for tar, and the member it begins would be seen by nobody.
"""

import re

from guerillabackup.restore.tar_header import BLOCK_SIZE

MAX_ENTRIES = 1 << 22
MAX_MAP_SIZE = 128 << 20
MAX_DIGITS = 19

_FIELD = re.compile(rb"[0-7]{1,11}[ \0]?|\x80.{11}", re.DOTALL)
_ENTRY_SIZE = 24
_HEADER_MAP = slice(386, 482)
_HEADER_FLAG, _BLOCK_FLAG = 482, 504


class PaxSparseMap:
    """The map of format 1.0: decimal numbers on lines of their own, how many regions, then offset and length
    of each, in whole blocks at the beginning of a member of `size` bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: list[bytes] = []
        self._rest = b""
        self._numbers: list[int] = []
        self.is_right = True

    @property
    def text(self) -> bytes:
        """All blocks of the map."""
        return b"".join(self._blocks)

    @property
    def is_complete(self) -> bool:
        """Whether all that it announces is there."""
        return bool(self._numbers) and len(self._numbers) == 1 + 2 * self._numbers[0]

    def add(self, block: bytes) -> None:
        """Take the next block; `is_right` tells whether it can be one of such a map."""
        self._blocks.append(block)
        text, start = self._rest + block, 0
        while self.is_right and not self.is_complete and (end := text.find(b"\n", start)) >= 0:
            self._take(text[start:end])
            start = end + 1
        self._rest = text[start:]
        if self.is_complete:
            self.is_right = self.is_right and self._adds_up()
        elif len(self._rest) > MAX_DIGITS or len(self._blocks) * BLOCK_SIZE >= min(self._size, MAX_MAP_SIZE):
            self.is_right = False

    def _take(self, line: bytes) -> None:
        self.is_right = line.isdigit() and len(line) <= MAX_DIGITS
        self._numbers.append(int(line) if self.is_right else 0)
        self.is_right = self.is_right and self._numbers[0] <= MAX_ENTRIES

    def _adds_up(self) -> bool:
        return _fit(self._numbers[2::2], self._size - len(self._blocks) * BLOCK_SIZE)


def is_old_map_continued(header: bytes) -> bool | None:
    """Whether another block of the map follows what there is of an old GNU header; None: tar differs."""
    is_first = len(header) == BLOCK_SIZE
    flag = header[_HEADER_FLAG] if is_first else header[len(header) - BLOCK_SIZE + _BLOCK_FLAG]
    if flag not in (0, 1):
        return None
    if flag == 1:
        entries = _entries(header[_HEADER_MAP] if is_first else header[-BLOCK_SIZE:][:_BLOCK_FLAG])
        # tar stops at the first empty entry, and takes no block after it for one of the map.
        if any(entry[12:13] == b"\0" for entry in entries):
            return None
    return flag == 1


def check_old_map(header: bytes, size: int) -> bool:
    """Whether the map of a whole old GNU header is one of `size` bytes of content."""
    entries = _entries(header[_HEADER_MAP])
    for start in range(BLOCK_SIZE, len(header), BLOCK_SIZE):
        entries += _entries(header[start : start + _BLOCK_FLAG])
    lengths = []
    for entry in entries:
        if entry[12:13] == b"\0":
            break
        number = entry[12:24]
        if _FIELD.fullmatch(number) is None:
            return False
        lengths.append(int.from_bytes(number[1:]) if number[0] == 0x80 else int(number.rstrip(b" \0"), 8))
    return _fit(lengths, size)


def _entries(text: bytes) -> list[bytes]:
    return [text[start : start + _ENTRY_SIZE] for start in range(0, len(text), _ENTRY_SIZE)]


def _fit(lengths: list[int], size: int) -> bool:
    """Whether regions fill a content; tar begins each of them with a new block."""
    filled = [length for length in lengths if length > 0]
    return sum(filled) == size and all(length % BLOCK_SIZE == 0 for length in filled[:-1])
