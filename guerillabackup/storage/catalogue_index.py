"""The SQLite file of a catalogue: what was seen in a storage's folders, and whether that is still intact.

Every row is checked by a sum that its folder keeps, so that whatever happens to the file (a power loss, a bad
block) shows as an entry that is not there, and the folder itself is read. Nothing is therefore synced.
One object is used by one thread. Touches: fcntl, os, sqlite3, time.
"""

import contextlib
import fcntl
import logging
import marshal
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guerillabackup.errors import StorageError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x47424361
PAGE_ROWS = 1000
"""Rows that are read, checked and held at a time."""
MAX_WAIT = 0.25
"""Seconds to wait for other processes, once; then the storage is walked."""
NAME = 1
ALL_COLUMNS = 11

_COLUMNS = "name, type, timestamp, data_uuid, predecessor, checksum, is_signed, inode, size, mtime, ctime"
_SCHEMA = f"""
CREATE TABLE storage (path TEXT);
CREATE TABLE folder (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE, inode INTEGER, mtime INTEGER, ctime INTEGER, folders TEXT,
    row_count INTEGER, name_sums BLOB, row_sums BLOB, edition INTEGER, own_sum INTEGER
);
CREATE TABLE element (folder INTEGER, {_COLUMNS}, PRIMARY KEY (folder, name)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
# Several processes write at once: not WAL, which SQLite before 3.51.3 can damage then.
_PRAGMAS = "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF"
_DAMAGED = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG}
_ERRORS = (sqlite3.Error, ValueError, OverflowError, MemoryError)
"""What a damaged file makes of a query."""

_logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
"""The columns of one element: the name of its metadata file, and all or nothing of what follows."""
Stamp = tuple[int, int, int]
"""Inode, mtime and ctime in nanoseconds."""


class EntryLost(StorageError):
    """An entry, or what is left of it, is not there, not intact, or was changed by another process."""


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """What the index has about a folder; no stamp: it may have changed since, look again."""

    key: int
    path: str
    stamp: Stamp | None
    folders: list[str]
    row_count: int
    name_sums: bytes
    row_sums: bytes
    edition: int

    @property
    def page_count(self) -> int:
        """In how many pieces its rows are read."""
        return len(self.row_sums) // 4


class CatalogueIndex:
    """An open catalogue; `close` it. Methods raise nothing but EntryLost."""

    def __init__(self, path: str, connection: sqlite3.Connection, lock_fd: int, is_writable: bool) -> None:
        self._path = path
        self._connection = connection
        self._lock_fd = lock_fd
        self.is_usable = True
        self.is_writable = is_writable
        self._is_damaged = False
        self._is_doubtful = False

    def close(self) -> None:
        """Let go of it; a damaged file is removed, unless others have it open, and made anew next time."""
        if self._is_doubtful and not self._is_damaged:
            self._is_damaged = not self._is_sound()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        with contextlib.suppress(OSError):
            if self._is_damaged and _lock_alone(self._lock_fd):
                _remove(self._path)
        os.close(self._lock_fd)

    def find(self, path: str) -> FolderEntry | None:
        """The entry of a folder, checked."""
        with contextlib.suppress(EntryLost):
            rows = self._read("SELECT * FROM folder WHERE path = ?", (path,))
            if rows:
                return self._entry(rows[0])
        return None

    def pages(self, entry: FolderEntry, columns: int = ALL_COLUMNS) -> Iterator[list[Row]]:
        """The rows of a folder sorted by name, checked page by page; EntryLost from where they are not.

        `columns`: NAME, or ALL_COLUMNS. Between two pages nothing is locked.
        """
        names = _COLUMNS if columns == ALL_COLUMNS else "name"
        sums = entry.row_sums if columns == ALL_COLUMNS else entry.name_sums
        query = f"SELECT {names} FROM element WHERE folder = ? AND name > ? ORDER BY name LIMIT ?"
        last: Any = ""
        for number in range(entry.page_count):
            rows = self._read(query, (entry.key, last, PAGE_ROWS))
            if sums[4 * number : 4 * number + 4] != _sum_of(rows):
                self._is_doubtful = True
                raise EntryLost
            last = rows[-1][0]
            yield rows

    def write(self, change: "FolderChange") -> None:
        """Bring an entry up to date; does nothing where another process was quicker, or none may write."""
        if not (self.is_usable and self.is_writable):
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._apply(change)
        except EntryLost:
            _logger.debug("the catalogue's entry of %s was changed by another process", change.path)
        except _ERRORS as error:
            self._note(error)
            self.is_writable = False

    def drop(self, path: str, edition: int | None) -> None:
        """Forget an entry that turned out not to be intact, unless another process has replaced it."""
        if not (self.is_usable and self.is_writable):
            return
        key = "SELECT id FROM folder WHERE path = ? AND edition IS ?"
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute(f"DELETE FROM element WHERE folder = ({key})", (path, edition))
                self._connection.execute(f"DELETE FROM folder WHERE id = ({key})", (path, edition))
        except _ERRORS as error:
            self._note(error)
            self.is_writable = False

    def _apply(self, change: "FolderChange") -> None:
        key, edition = self._claim(change)
        run = self._connection.execute
        many = self._connection.executemany
        for path in change.gone_below:
            range_ = (path, f"{path}/", f"{path}0")
            where = "path = ? OR path > ? AND path < ?"
            run(f"DELETE FROM element WHERE folder IN (SELECT id FROM folder WHERE {where})", range_)
            run(f"DELETE FROM folder WHERE {where}", range_)
        many("DELETE FROM element WHERE folder = ? AND name = ?", ((key, name) for name in change.removed))
        marks = ", ".join("?" * (ALL_COLUMNS + 1))
        many(f"INSERT OR REPLACE INTO element VALUES ({marks})", ((key, *row) for row in change.rows))
        if not change.is_last:
            return
        count, name_sums, row_sums = self._add_up(key)
        values = (*(change.stamp or (None,) * 3), "/".join(change.folders), count, name_sums, row_sums)
        row = (key, change.path, *values, edition)
        run("INSERT OR REPLACE INTO folder VALUES (?,?,?,?,?,?,?,?,?,?,?)", (*row, _own_sum(row)))

    def _claim(self, change: "FolderChange") -> tuple[int, int]:
        """The key of the folder and its new edition; EntryLost when it is not as `change` has seen it."""
        run = self._connection.execute
        found = run("SELECT id, edition FROM folder WHERE path = ?", (change.path,)).fetchone()
        if change.edition is not None:
            if found is None or found[1] != change.edition:
                raise EntryLost
            key = found[0]
        elif found is not None:
            key = found[0]
            run("DELETE FROM element WHERE folder = ?", (key,))
        else:
            key = run("INSERT INTO folder (path) VALUES (?)", (change.path,)).lastrowid
        edition = int.from_bytes(os.urandom(7), "big")
        change.edition = edition
        if not change.is_last:
            # No sum: nobody takes it for an entry before the last part of the change.
            run("UPDATE folder SET edition = ?, own_sum = NULL WHERE id = ?", (edition, key))
        return key, edition

    def _add_up(self, key: int) -> tuple[int, bytes, bytes]:
        """Count of a folder's rows, and the sums of their pages."""
        cursor = self._connection.execute(
            f"SELECT {_COLUMNS} FROM element WHERE folder = ? ORDER BY name", (key,)
        )
        count, name_sums, row_sums = 0, [], []
        while rows := cursor.fetchmany(PAGE_ROWS):
            count += len(rows)
            name_sums.append(_sum_of([row[:NAME] for row in rows]))
            row_sums.append(_sum_of(rows))
        return count, b"".join(name_sums), b"".join(row_sums)

    def _entry(self, row: Row) -> FolderEntry | None:
        key, path, inode, mtime, ctime, folders, count, name_sums, row_sums, edition, own_sum = row
        if own_sum is None or own_sum != _own_sum(row[:-1]):
            self._is_doubtful = self._is_doubtful or own_sum is not None
            return None
        stamp = None if inode is None else (inode, mtime, ctime)
        names = folders.split("/") if folders else []
        return FolderEntry(key, path, stamp, names, count, name_sums, row_sums, edition)

    def _read(self, query: str, values: Sequence[object]) -> list[Row]:
        if not self.is_usable:
            raise EntryLost
        try:
            return self._connection.execute(query, values).fetchall()
        except _ERRORS as error:
            self._note(error)
            self.is_usable = False
            raise EntryLost from error

    def _note(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        self._is_damaged = self._is_damaged or code in _DAMAGED
        _logger.debug("the catalogue %s is of no use now: %s", self._path, error)

    def _is_sound(self) -> bool:
        try:
            return bool(self._connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
        except _ERRORS as error:
            return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


@dataclass(slots=True)
class FolderChange:
    """A part of what is to be changed of a folder's entry; the last part makes it count.

    `edition` is that of the entry it changes, None: there is none, or it is worthless.
    """

    path: str
    edition: int | None
    stamp: Stamp | None
    folders: list[str]
    gone_below: list[str]
    """Paths of folders that are no more."""
    removed: list[str]
    rows: list[Row]
    is_last: bool


def open_index(path: str, storage_path: str) -> CatalogueIndex | None:
    """The catalogue in a file, made anew where it is missing, damaged, of another version or storage.

    None where it can be neither used nor made: then the answer comes from the storage alone. Its folder is
    made, and has to belong to the running user alone.
    """
    try:
        lock_fd = _open_lock(path)
    except OSError as error:
        _logger.debug("no catalogue %s: %s", path, error)
        return None
    if lock_fd is None:
        return None
    try:
        if not _lock_shared(lock_fd):
            raise TimeoutError("another process is making it anew")
        index = _open(path, storage_path, lock_fd)
        if index is None and _lock_alone(lock_fd):
            index = _open(path, storage_path, lock_fd)  # somebody may have been quicker
            if index is None:
                _make(path, storage_path)
                index = _open(path, storage_path, lock_fd)
            fcntl.flock(lock_fd, fcntl.LOCK_SH)
    except (OSError, *_ERRORS) as error:
        _logger.debug("no catalogue %s: %s", path, error)
        index = None
    if index is None:
        os.close(lock_fd)
    return index


def _open_lock(path: str) -> int | None:
    """The file whose lock says who has the catalogue open; None where the folder is not ours alone."""
    directory = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        _logger.debug("no catalogue: %s belongs to another user, or others may write there", directory)
        return None
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError:
        return os.open(f"{path}.lock", os.O_RDONLY | flags)


def _open(path: str, storage_path: str, lock_fd: int) -> CatalogueIndex | None:
    """An index of that storage, if the file is one."""
    is_writable = os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)
    if not os.path.lexists(path):
        return None
    uri = f"file:{_quoted(path)}?mode={'rw' if is_writable else 'ro'}"
    # A listing may be left to another thread, or closed there: by one at a time, which is all SQLite needs.
    connection = sqlite3.connect(
        uri, uri=True, timeout=MAX_WAIT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.executescript(_PRAGMAS)
        found = [
            connection.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT path FROM storage")
        ]
        if found == [APPLICATION_ID, SCHEMA_VERSION, storage_path]:
            return CatalogueIndex(path, connection, lock_fd, is_writable)
    except (*_ERRORS, TypeError) as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGED:
            return None
        raise
    connection.close()
    return None


def _make(path: str, storage_path: str) -> None:
    """A new, empty catalogue; the caller has the lock alone."""
    _remove(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True)) as connection:
        connection.executescript(f"{_PRAGMAS}; BEGIN; {_SCHEMA}")
        connection.execute("INSERT INTO storage VALUES (?)", (storage_path,))
        connection.commit()


def _quoted(path: str) -> str:
    """A path as it stands in a URI."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _remove(path: str) -> None:
    for name in (path, f"{path}-journal", f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _lock_shared(lock_fd: int) -> bool:
    deadline = time.monotonic() + MAX_WAIT
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)


def _lock_alone(lock_fd: int) -> bool:
    """Whether nobody else has the catalogue open, and nobody will as long as this lock is held."""
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sum_of(rows: list[Row]) -> bytes:
    # Version 2 writes equal values in one way; later ones depend on who else refers to them.
    return zlib.crc32(marshal.dumps(rows, 2)).to_bytes(4, "big")


def _own_sum(row: Row) -> int:
    return zlib.crc32(marshal.dumps(row, 2))
