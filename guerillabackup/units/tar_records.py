"""The records of GNU tar's listed-incremental index, one for each directory, read in pieces of bounded size.

An index is a header line, the time it is as of in two fields, and the records. A record is six fields and the
directory's entries, each ended by a zero byte, then two zero bytes more. It reads the file that it is given.
No I/O.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from guerillabackup.errors import StateError

BLOCK_SIZE = 1 << 20
MAX_HELD_SIZE = 4 << 20
"""Bytes of one directory's record that are held in memory; a longer one comes in parts."""
RECORD_END = b"\0\0\0"
_MAX_TIME_SIZE = 64
_HEAD = re.compile(rb"(?:[^\0]+\0){4}([0-9]+)\0([^\0]+)\0")
"""The six fields a record begins with; of them the inode and the name."""
_HEADS = re.compile(RECORD_END + rb"(?:[^\0]+\0){4}([0-9]+)\0([^\0]+)(?=\0)")
"""The same behind the end of the record before; the end of an empty one begins with the zero of its name."""


class BadIndexError(StateError):
    """No incremental backup can go on from this index."""


class Piece(NamedTuple):
    """Some whole records, or a part of a long one that is cut where an entry ends; `offset` in the file."""

    data: bytes
    offset: int
    begins: bool
    ends: bool


class IndexRecords:
    """What is in an index, read once from its beginning; everything raises BadIndexError where it is damaged.

    `is_known`: whether it has the format of tar 1.20 and later; nothing else can be asked of another one.
    """

    def __init__(self, source: BinaryIO, index_path: str) -> None:
        self._source = source
        self._index_path = index_path
        header = source.readline(BLOCK_SIZE)
        self.is_known = header.startswith(b"GNU tar-") and header.endswith(b"-2\n")
        self._offset = len(header)

    def read_time(self) -> int:
        """The time the index is as of, UTC nanoseconds; asked for before the pieces."""
        fields = b""
        while fields.count(b"\0") < 2:
            byte = self._source.read(1)
            fields += byte
            if not byte or len(fields) > _MAX_TIME_SIZE:
                raise self.bad()
        self._offset += len(fields)
        seconds, nanoseconds, _ = fields.split(b"\0")
        if not (seconds.isdigit() and nanoseconds.isdigit()):
            raise self.bad()
        return int(seconds) * 10**9 + int(nanoseconds)

    def pieces(self) -> Iterator[Piece]:
        """All records, in their order."""
        data, is_within = b"", False
        while block := self._source.read(BLOCK_SIZE):
            data += block
            if is_within and (end := data.find(RECORD_END)) >= 0:
                yield self._piece(data[: end + len(RECORD_END)], begins=False, ends=True)
                data, is_within = data[end + len(RECORD_END) :], False
            if not is_within and (end := data.rfind(RECORD_END)) >= 0:
                yield self._piece(data[: end + len(RECORD_END)], begins=True, ends=True)
                data = data[end + len(RECORD_END) :]
            if len(data) >= MAX_HELD_SIZE:
                # What may be a part of the record's end stays.
                cut = data.rfind(b"\0", 0, len(data) - len(RECORD_END)) + 1
                yield self._piece(data[:cut], begins=not is_within, ends=False)
                data, is_within = data[cut:], True
        if data or is_within:
            raise self.bad()

    def head(self, data: bytes, start: int, end: int) -> tuple[bytes, bytes]:
        """Inode and name of the directory whose record starts there."""
        match = _HEAD.match(data, start, end)
        if match is None:
            raise self.bad()
        inode, name = match.groups()
        return inode, name

    def heads(self, piece: Piece) -> list[tuple[bytes, bytes]] | None:
        """The same of all records in a piece of whole ones, at once; None where one of them is damaged."""
        found: list[tuple[bytes, bytes]] = _HEADS.findall(RECORD_END + piece.data)
        return found if len(found) == piece.data.count(RECORD_END) else None

    def bad(self) -> BadIndexError:
        return BadIndexError(f"index {self._index_path} is cut off, or holds what is no directory")

    def _piece(self, data: bytes, *, begins: bool, ends: bool) -> Piece:
        piece = Piece(data, self._offset, begins, ends)
        self._offset += len(data)
        return piece
