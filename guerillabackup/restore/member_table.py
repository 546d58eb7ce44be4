"""The members of a state in the order of their tree, kept in a temporary database of SQLite's.

It is in memory as far as that is given, then in a file without a name, which is gone with the process: a
source may have more members than fit into memory. Touches: sqlite3.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Self

from guerillabackup.errors import StorageError, StorageFullError
from guerillabackup.restore.interface import ListedMember

_ROOT = b"."
CACHE_KIB = 16 << 10
_SETUP = f"""
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -{CACHE_KIB};
CREATE TABLE member (name BLOB PRIMARY KEY, type TEXT, size INTEGER, mtime INTEGER) WITHOUT ROWID;
BEGIN;
"""
_ADD = """
INSERT INTO member (name, type, size, mtime) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
type = coalesce(excluded.type, type), size = coalesce(excluded.size, size),
mtime = coalesce(excluded.mtime, mtime)
"""
_COMPLETE = "UPDATE member SET type = ?, size = ?, mtime = ? WHERE name = ? AND mtime IS NULL"


class MemberTable:
    """Members by name; a context manager. Raises StorageFullError, StorageError."""

    def __init__(self) -> None:
        with _storage_errors():
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(_SETUP)

    def add(self, member: ListedMember) -> None:
        """A member of the state; what is known of it already is replaced by what this one knows."""
        with _storage_errors():
            self._database.execute(_ADD, (_key(member.name), member.type, member.size, member.mtime))

    def count_incomplete(self) -> int:
        """How many members there are of which only the name is known."""
        with _storage_errors():
            found = self._database.execute("SELECT count(*) FROM member WHERE mtime IS NULL").fetchone()
        return int(found[0])

    def complete(self, member: ListedMember) -> bool:
        """Whether that is what was lacking about a member of this name."""
        values = (member.type, member.size, member.mtime, _key(member.name))
        with _storage_errors():
            return self._database.execute(_COMPLETE, values).rowcount > 0

    def __iter__(self) -> Iterator[ListedMember]:
        with _storage_errors():
            for key, *rest in self._database.execute("SELECT * FROM member ORDER BY name"):
                yield ListedMember(_name(key), *rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._database.close()


def _key(name: bytes) -> bytes:
    """So that names sort as the tree: what is in a directory right after it, before `directory-2`."""
    return b"" if name == _ROOT else name.replace(b"/", b"\0")


def _name(key: bytes) -> bytes:
    return key.replace(b"\0", b"/") or _ROOT


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        kind = StorageFullError if "full" in str(error) else StorageError
        raise kind(f"cannot keep the list of members in a temporary file (see TMPDIR): {error}") from error
