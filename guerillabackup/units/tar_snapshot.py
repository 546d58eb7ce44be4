"""Takes the directories that moved out of GNU tar's listed-incremental index, before tar goes on from it.

tar recognizes a moved directory by its inode, archives only what changed in it, and records the move. But
what it records is wrong where moves are nested or go in a circle, and its index stays wrong from then on: no
restore can tell. A directory that the index does not know is archived whole, and nothing has to be recorded.
Touches: os.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from guerillabackup import osfile
from guerillabackup.errors import StateError

BLOCK_SIZE = 1 << 20
MAX_HELD_SIZE = 4 << 20
"""Bytes of one directory's record that are held in memory; of a longer one only the head is looked at."""
_RECORD_END = b"\0\0\0"
_HEAD = re.compile(rb"(?:[^\0]+\0){4}([^\0]+)\0([^\0]+)\0")
"""The six fields a record begins with; of them the inode and the name."""


class BadIndexError(StateError):
    """No incremental backup can go on from this index."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What an index does not know any more: inodes of directories, and the time it is as of, UTC seconds."""

    inodes: frozenset[int] = frozenset()
    since: float = 0


def forget_moved_directories(index_path: str, root: str) -> Forgotten:
    """Rewrite an index so that it knows only directories that are where it says; which others there were.

    `root` is the directory that its names are relative to. An index of another format than tar 1.20 and later
    write is left as it is. Raises BadIndexError when it is cut off, StorageError when it cannot be written;
    then it is unchanged, and `INDEX.tmp` may be left. Memory is bounded, however large a directory is.
    """
    try:
        root_descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return Forgotten()  # tar says what is wrong with it
    try:
        return _forget(index_path, root_descriptor)
    finally:
        os.close(root_descriptor)


def find_directories(index_path: str, inodes: frozenset[int]) -> list[bytes]:
    """The names of the directories with these inodes in an index, relative to its root.

    Raises BadIndexError, StorageError.
    """
    found: list[bytes] = []

    def note(name: bytes, inode: bytes) -> bool:
        if int(inode) in inodes:
            found.append(name)
        return True

    if not inodes:
        return found
    with osfile.storage_errors(f"cannot read index {index_path}"), open(index_path, "rb") as source:
        if _has_records(source.readline(BLOCK_SIZE)):
            with open(os.devnull, "wb", buffering=BLOCK_SIZE) as nowhere:
                _IndexCopy(source, nowhere, note, index_path).run()
    return found


def _has_records(header: bytes) -> bool:
    return header.startswith(b"GNU tar-") and header.endswith(b"-2\n")


def _forget(index_path: str, root_descriptor: int) -> Forgotten:
    temporary = f"{index_path}.tmp"
    inodes: set[int] = set()

    def is_there(name: bytes, inode: bytes) -> bool:
        try:
            status = os.stat(name, dir_fd=root_descriptor, follow_symlinks=False)
        except (OSError, ValueError):
            is_kept = False
        else:
            is_kept = status.st_ino == int(inode)
        if not is_kept:
            inodes.add(int(inode))
        return is_kept

    with osfile.storage_errors(f"cannot rewrite index {index_path}"), open(index_path, "rb") as source:
        header = source.readline(BLOCK_SIZE)
        if not _has_records(header):
            return Forgotten()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        with os.fdopen(descriptor, "wb", buffering=BLOCK_SIZE) as target:
            target.write(header)
            since = _IndexCopy(source, target, is_there, index_path).run()
        os.rename(temporary, index_path)
    return Forgotten(frozenset(inodes), since)


class _IndexCopy:
    """Copies the records of an index behind its header, those that are kept by the name and the inode.

    A record is six fields and the directory's entries, each ended by a zero byte, then two zero bytes more.
    Whole records are found in what is in memory; of one that is too long for that only the head is.
    """

    def __init__(
        self, source: BinaryIO, target: BinaryIO, keeps: Callable[[bytes, bytes], bool], index_path: str
    ) -> None:
        self._source = source
        self._target = target
        self._keeps = keeps
        self._index_path = index_path
        self._data = b""
        self._start = 0

    def run(self) -> float:
        """The time the index is as of, UTC seconds; raises BadIndexError."""
        time = self._copy_time()
        while self._start < len(self._data) or self._read_more():
            end = self._data.find(_RECORD_END, self._start)
            if end >= 0:
                end += len(_RECORD_END)
                is_kept = self._is_kept(end)
                if is_kept:
                    self._target.write(self._data[self._start : end])
                self._start = end
            elif len(self._data) - self._start < MAX_HELD_SIZE:
                if not self._read_more():
                    raise self._bad()
                continue
            else:
                is_kept = self._is_kept(len(self._data))
                self._copy_long_record(is_kept=is_kept)
        return time

    def _copy_time(self) -> float:
        """The two fields in front of the records."""
        end = -1
        for _ in range(2):
            while (end_of_field := self._data.find(b"\0", end + 1)) < 0:
                if not self._read_more():
                    raise self._bad()
            end = end_of_field
        self._target.write(self._data[: end + 1])
        self._start = end + 1
        seconds, nanoseconds = self._data[:end].split(b"\0")
        if not (seconds.isdigit() and nanoseconds.isdigit()):
            raise self._bad()
        return int(seconds) + int(nanoseconds) / 10**9

    def _copy_long_record(self, *, is_kept: bool) -> None:
        """Copy, or pass over, a record block by block; its end may be in two of them."""
        while (end := self._data.find(_RECORD_END, self._start)) < 0:
            whole = len(self._data) - len(_RECORD_END)
            if is_kept:
                self._target.write(self._data[self._start : whole])
            self._start = whole
            if not self._read_more():
                raise self._bad()
        end += len(_RECORD_END)
        if is_kept:
            self._target.write(self._data[self._start : end])
        self._start = end

    def _is_kept(self, end: int) -> bool:
        """Whether the directory of the record from the start to `end` is where the index says."""
        head = _HEAD.match(self._data, self._start, end)
        if head is None:
            raise self._bad()
        inode, name = head.groups()
        if not inode.isdigit():
            raise self._bad()
        return self._keeps(name, inode)

    def _read_more(self) -> bool:
        block = self._source.read(BLOCK_SIZE)
        self._data = self._data[self._start :] + block
        self._start = 0
        return bool(block)

    def _bad(self) -> BadIndexError:
        return BadIndexError(f"index {self._index_path} is cut off, or holds what is no directory")
