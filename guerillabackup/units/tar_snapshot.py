"""Takes the directories that moved out of GNU tar's listed-incremental index, before tar goes on from it.

tar recognizes a moved directory by its inode, archives only what changed in it, and records the move. But
what it records is wrong where moves are nested or go in a circle, and its index stays wrong from then on: no
restore can tell. A directory that the index does not know is archived whole, and nothing has to be recorded.
Touches: os.
"""

import os
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from guerillabackup import osfile
from guerillabackup.errors import StateError

BLOCK_SIZE = 1 << 20
MAX_FIELD_SIZE = 1 << 20
"""Bytes of one field of an index; a name is much shorter."""
_HEAD_FIELDS = 6
_INODE, _NAME = 4, 5


class BadIndexError(StateError):
    """No incremental backup can go on from this index."""


def forget_moved_directories(index_path: str, root: str) -> int:
    """Rewrite an index so that it knows only directories that are where it says; how many others there were.

    `root` is the directory that its names are relative to. An index of another format than tar 1.20 and later
    write is left as it is. Raises BadIndexError when it is cut off, StorageError when it cannot be written;
    then it is unchanged, and `INDEX.tmp` may be left. Memory is bounded, however large a directory is.
    """
    temporary = f"{index_path}.tmp"
    with osfile.storage_errors(f"cannot rewrite index {index_path}"), open(index_path, "rb") as source:
        header = source.readline(BLOCK_SIZE)
        if not header.startswith(b"GNU tar-") or not header.endswith(b"-2\n"):
            return 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        with os.fdopen(descriptor, "wb", buffering=BLOCK_SIZE) as target:
            target.write(header)
            fields = _fields(iter(lambda: source.read(BLOCK_SIZE), b""), index_path)
            target.write(next(fields, b"") + b"\0" + next(fields, b"") + b"\0")
            forgotten = _copy_records(fields, target, os.fsencode(root), index_path)
        os.rename(temporary, index_path)
    return forgotten


def _copy_records(fields: Iterator[bytes], target: BinaryIO, root: bytes, index_path: str) -> int:
    """Copy each directory that is there: its head, and its entries up to two empty fields."""
    forgotten = 0
    while head := list(islice(fields, _HEAD_FIELDS)):
        is_kept = len(head) == _HEAD_FIELDS and _is_there(os.path.join(root, head[_NAME]), head[_INODE])
        forgotten += not is_kept
        if is_kept:
            target.write(b"\0".join(head) + b"\0")
        while entry := next(fields, b""):
            if is_kept:
                target.write(entry + b"\0")
        if len(head) < _HEAD_FIELDS or next(fields, None) != b"":
            raise BadIndexError(f"index {index_path} is cut off, or holds what is no directory")
        if is_kept:
            target.write(b"\0\0")
    return forgotten


def _is_there(path: bytes, inode: bytes) -> bool:
    try:
        return os.lstat(path).st_ino == int(inode)
    except (OSError, ValueError):
        return False


def _fields(blocks: Iterator[bytes], index_path: str) -> Iterator[bytes]:
    """What stands between zero bytes."""
    rest = b""
    for block in blocks:
        *complete, rest = (rest + block).split(b"\0")
        yield from complete
        if len(rest) > MAX_FIELD_SIZE:
            raise BadIndexError(f"index {index_path} has a field of more than {MAX_FIELD_SIZE} bytes")
    if rest:
        raise BadIndexError(f"index {index_path} is cut off")
