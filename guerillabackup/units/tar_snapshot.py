"""Takes the directories that moved out of GNU tar's listed-incremental index, before tar goes on from it.

tar recognizes a moved directory by its inode, archives only what changed in it, and records the move. But
what it records is wrong where moves are nested or go in a circle, and its index stays wrong from then on: no
restore can tell. A directory that the index does not know is archived whole, and nothing has to be recorded.
Which ones were, the index that tar leaves says. What tar could not read is taken out of that, too: it would
count as unchanged from then on. Touches: os.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from guerillabackup import osfile
from guerillabackup.units.tar_records import BLOCK_SIZE, RECORD_END, IndexRecords, Piece

_HEAD_FIELDS = 6
_ARCHIVED, _LEFT_OUT = b"\0Y", b"\0N"
"""How the entries begin that tar archived, and those that were older than the backup before."""


class WholeDirectory(NamedTuple):
    """A directory that was archived whole: its name relative to the root, its entries that were.

    They are None where there are too many to be held in memory.
    """

    name: bytes
    entries: list[bytes] | None


def forget_moved_directories(index_path: str, root: str) -> int | None:
    """Rewrite an index so that it knows only directories that are where it says; the time it is as of.

    That is in UTC nanoseconds. `root` is the directory that its names are relative to. An index of another
    format than tar 1.20 and later write is left as it is, and its time is None. Raises BadIndexError when it
    is cut off, StorageError when it cannot be written; then it is unchanged, and `INDEX.tmp` may be left.
    Memory is bounded, however large a directory is.
    """
    try:
        root_descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # tar says what is wrong with it
    try:
        return _forget(index_path, root_descriptor)
    finally:
        os.close(root_descriptor)


def forget_names(index_path: str, names: Collection[bytes] | None) -> None:
    """Rewrite an index so that it does not know what has these names, nor what is below them; None: nothing.

    Then that is new to it, and archived whatever its times are. Raises BadIndexError, StorageError; then the
    index is unchanged, and `INDEX.tmp` may be left.
    """
    entries: dict[bytes, set[bytes]] = {}
    for name in names or ():
        parent, _, last = name.rpartition(b"/")
        entries.setdefault(parent, set()).add(last)
    with osfile.storage_errors(f"cannot rewrite index {index_path}"), open(index_path, "rb") as source:
        records = IndexRecords(source, index_path)
        if not records.is_known:
            return
        records.read_time()
        dropped = _Ranges()
        directory = b""
        for part in _parts(records):
            if part.begins:
                _, directory = records.head(part.data, 0, len(part.data))
            if names is None or _is_below(directory, names):
                dropped.add(part.offset, part.offset + len(part.data))
            elif directory in entries:
                _drop_entries(part, entries[directory], dropped)
        if dropped:
            _rewrite(index_path, source.fileno(), dropped)


def find_whole_directories(index_path: str) -> Iterator[WholeDirectory]:
    """The directories in an index of whose entries tar archived some, and left out none as unchanged.

    All that are new to it are among them, since of those everything is archived; the others are those where
    everything was changed. Raises BadIndexError, StorageError.
    """
    with osfile.storage_errors(f"cannot read index {index_path}"), open(index_path, "rb") as source:
        records = IndexRecords(source, index_path)
        if records.is_known:
            records.read_time()
            name: bytes | None = None
            for piece in records.pieces():
                if piece.begins and piece.ends:
                    yield from _whole_ones(records, piece.data)
                    continue
                # A part of a long record, which has its name in the first one.
                if piece.begins:
                    _, name = records.head(piece.data, 0, len(piece.data))
                if _LEFT_OUT in piece.data or piece.data.startswith(_LEFT_OUT[1:]):
                    name = None
                if piece.ends and name is not None:
                    yield WholeDirectory(name, None)


def _parts(records: IndexRecords) -> Iterator[Piece]:
    """The records one by one, each as a piece of its own; long ones in parts."""
    for piece in records.pieces():
        if not (piece.begins and piece.ends):
            yield piece
            continue
        start = 0
        while (end := piece.data.find(RECORD_END, start)) >= 0:
            end += len(RECORD_END)
            yield Piece(piece.data[start:end], piece.offset + start, begins=True, ends=True)
            start = end


def _is_below(name: bytes, names: Collection[bytes]) -> bool:
    """Whether it is one of the names, or below one."""
    while name not in names:
        name, slash, _ = name.rpartition(b"/")
        if not slash:
            return False
    return True


def _drop_entries(part: Piece, entries: Collection[bytes], dropped: "_Ranges") -> None:
    """Note where the record has these entries, each behind a letter and ended by a zero byte."""
    offset = part.offset
    for number, field in enumerate(part.data.split(b"\0")):
        end = offset + len(field) + 1
        if (number >= _HEAD_FIELDS or not part.begins) and field[1:] in entries:
            dropped.add(offset, end)
        offset = end


def _whole_ones(records: IndexRecords, data: bytes) -> Iterator[WholeDirectory]:
    start, find = 0, data.find
    while (end := find(RECORD_END, start)) >= 0:
        if find(_LEFT_OUT, start, end) < 0 and find(_ARCHIVED, start, end) >= 0:
            _, name = records.head(data, start, end)
            entries = data[start:end].split(b"\0")[_HEAD_FIELDS:]
            yield WholeDirectory(name, [entry[1:] for entry in entries if entry.startswith(_ARCHIVED[1:])])
        start = end + len(RECORD_END)


def _forget(index_path: str, root_descriptor: int) -> int | None:
    with osfile.storage_errors(f"cannot rewrite index {index_path}"), open(index_path, "rb") as source:
        records = IndexRecords(source, index_path)
        if not records.is_known:
            return None
        time = records.read_time()
        dropped = _Ranges()
        is_dropped = False
        for piece in records.pieces():
            if not (piece.begins and piece.ends):
                if piece.begins:
                    is_dropped = not _is_there(*records.head(piece.data, 0, len(piece.data)), root_descriptor)
                if is_dropped:
                    dropped.add(piece.offset, piece.offset + len(piece.data))
                continue
            if not _are_all_there(records.heads(piece), root_descriptor):
                _drop_moved(records, piece, root_descriptor, dropped)
        if dropped:
            _rewrite(index_path, source.fileno(), dropped)
    return time


def _are_all_there(heads: list[tuple[bytes, bytes]] | None, root_descriptor: int) -> bool:
    """Whether no directory moved, which is seldom; False too where that cannot be said at once."""
    if heads is None:
        return False
    stat = os.stat
    try:
        for inode, name in heads:
            if stat(name, dir_fd=root_descriptor, follow_symlinks=False).st_ino != int(inode):
                return False
    except (OSError, ValueError):
        return False
    return True


def _drop_moved(records: IndexRecords, piece: Piece, root_descriptor: int, dropped: "_Ranges") -> None:
    start, data = 0, piece.data
    while (end := data.find(RECORD_END, start)) >= 0:
        inode, name = records.head(data, start, end + 1)
        end += len(RECORD_END)
        if not _is_there(inode, name, root_descriptor):
            dropped.add(piece.offset + start, piece.offset + end)
        start = end


def _is_there(inode: bytes, name: bytes, root_descriptor: int) -> bool:
    try:
        return os.stat(name, dir_fd=root_descriptor, follow_symlinks=False).st_ino == int(inode)
    except (OSError, ValueError):
        return False


class _Ranges:
    """Parts of a file, in their order: two numbers each, and one where the next begins as the last ends."""

    def __init__(self) -> None:
        self._bounds: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __iter__(self) -> Iterator[int]:
        return iter(self._bounds)

    def add(self, start: int, end: int) -> None:
        """One more, behind all others."""
        # Seldom is there any, and the module takes longer to import than all the rest of this.
        from array import array

        if not isinstance(self._bounds, array):
            self._bounds = array("Q")
        if self._bounds and self._bounds[-1] == start:
            self._bounds[-1] = end
        else:
            self._bounds.extend((start, end))


def _rewrite(index_path: str, source: int, dropped: "_Ranges") -> None:
    """Copy what is between the ranges to a new file, which takes the index's place."""
    temporary = f"{index_path}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    with os.fdopen(descriptor, "wb", buffering=BLOCK_SIZE) as target:
        bounds = [0, *dropped, os.fstat(source).st_size]
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            while start < end and (block := os.pread(source, min(BLOCK_SIZE, end - start), start)):
                target.write(block)
                start += len(block)
    os.rename(temporary, index_path)
