"""Listings of a storage, answered from an index where that is right, and from the storage where it is not.

The index says which names a folder had when its inode, mtime and ctime were what they are now, and what
each metadata file said when its own were. A folder or a file that was younger than two seconds when it was
read is read again: a change in the same tick of the clock would not show. Whatever the index lacks, the
element itself is asked, so every answer, and every error, is the storage's own. Touches: os, time.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from stat import S_ISREG

from guerillabackup import osfile
from guerillabackup.element import MAX_METAINFO_SIZE, BackupElementMetainfo, ElementId
from guerillabackup.errors import ElementNotFoundError, GuerillaBackupError
from guerillabackup.storage.catalogue_index import (
    ALL_COLUMNS,
    NAME,
    CatalogueIndex,
    EntryLost,
    FolderChange,
    FolderEntry,
    Row,
    Stamp,
    open_index,
)
from guerillabackup.storage.interface import (
    ALL_ELEMENTS,
    ElementFacts,
    ElementSelection,
    StorageInterface,
    describe_element,
)
from guerillabackup.storage.naming import DATA, PARTIAL_DIRECTORY, is_source_directory, parse_file_name
from guerillabackup.storage.walk import info_names, list_folder, walk_folders

YOUNG = 2_000_000_000
"""Nanoseconds."""
MAX_PENDING = 2000
"""Changed rows in memory before they are written."""

MAX_BINARY = 256
"""Bytes of a binary value that is kept in the index."""

_MASK = (1 << 63) - 1
_NOTHING = (None,) * (ALL_COLUMNS - NAME)
_FILE = 7
"""The first of the columns that say which file was read."""


@dataclass(slots=True)
class _Folder:
    """A folder on the way: its entry where that is up to date, else the names of its elements."""

    directory: tuple[str, ...]
    descriptor: int
    stamp: Stamp | None
    folders: list[str]
    entry: FolderEntry | None
    names: list[str] | None


class Catalogue:
    """The listings of one storage; each opens and closes what it needs, so any thread may ask.

    `path` is the index's file, None: there is none. `open_storage` hands out the storage itself, for what the
    index does not know; it is called when that is needed, and what it hands out is not closed here.
    """

    def __init__(
        self,
        base_directory: str,
        path: str | None,
        open_storage: Callable[[], StorageInterface],
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.base_directory = base_directory
        self._path = path
        self._open_storage = open_storage
        self._now = now

    def list_ids(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[str]:
        """See StorageInterface.list_ids."""
        if selection.asks_metadata:
            yield from (facts.element_id for facts in self.list_facts(selection))
            return
        with ExitStack() as stack:
            for reader, sources in self._folders(selection, stack):
                for rows in reader.rows(NAME):
                    for row in rows:
                        stem = row[0][:-5]
                        if sources.source_of(stem) is not None:
                            yield sources.prefix + stem
                reader.write()

    def find_facts(self, element_id: str) -> ElementFacts | None:
        """What is so of one element, as the storage itself says; None when it is gone."""
        return _ask(self._open_storage(), element_id)

    def list_facts(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[ElementFacts]:
        """See StorageInterface.list_facts."""
        with ExitStack() as stack:
            for reader, sources in self._folders(selection, stack):
                for rows in reader.rows(ALL_COLUMNS):
                    for row in rows:
                        stem = row[0][:-5]
                        source = sources.source_of(stem)
                        if source is None:
                            continue
                        facts = reader.facts(row, sources.prefix + stem, source)
                        if facts is not None and selection.takes(facts):
                            yield facts
                reader.write()

    def _folders(
        self, selection: ElementSelection, stack: ExitStack
    ) -> Iterator[tuple["_FolderReader", "_Sources"]]:
        root_fd = osfile.open_directory(self.base_directory)
        stack.callback(os.close, root_fd)
        index = None if self._path is None else open_index(self._path, os.path.realpath(self.base_directory))
        if index is not None:
            stack.callback(index.close)

        def look(directory: tuple[str, ...], descriptor: int) -> _Folder:
            return _look(directory, descriptor, index, self._now())

        for start, deeper in selection.starts():
            if start[:1] == (PARTIAL_DIRECTORY,):
                continue
            for found in walk_folders(root_fd, self.base_directory, look, start, deeper=deeper):
                folder = found[2]
                reader = _FolderReader(folder, index, self._open_storage, self._now)
                yield reader, _Sources(folder.directory, selection)


class _Sources:
    """Which sources of a folder are meant."""

    def __init__(self, directory: tuple[str, ...], selection: ElementSelection) -> None:
        self.prefix = "".join(f"/{name}" for name in directory) + "/"
        self._selection = selection
        self._known: dict[str, str | None] = {}

    def source_of(self, stem: str) -> str | None:
        """The source of an element's files, None when it is not meant; the name is known to be right."""
        name = stem[stem.index("-") + 1 : stem.rindex("-")]
        try:
            return self._known[name]
        except KeyError:
            source = self.prefix + name
            meant = source if self._selection.takes_source(source) else None
            self._known[name] = meant
            return meant


class _FolderReader:
    """Hands out the rows of one folder, and brings the index up to date with what was found."""

    def __init__(
        self,
        folder: _Folder,
        index: CatalogueIndex | None,
        open_storage: Callable[[], StorageInterface],
        now: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._index = index
        self._open_storage = open_storage
        self._now = now
        self._path = "/".join(folder.directory)
        self._changed: list[Row] = []
        self._removed: list[str] = []
        self._edition = None if folder.entry is None else folder.entry.edition
        self._is_begun = False
        self._is_lost = False

    def rows(self, columns: int) -> Iterator[list[Row]]:
        """The rows in pages: at least the columns that were asked for, None for what is not known."""
        last = ""
        if self._folder.names is None:
            assert self._index is not None
            assert self._folder.entry is not None
            try:
                for rows in self._index.pages(self._folder.entry, columns):
                    yield rows
                    last = rows[-1][0]
                return
            except EntryLost:
                self._start_again()
        for rows in self._merged(columns):
            # What was handed out from the index before it was lost was right.
            left = [row for row in rows if row[0] > last] if last else rows
            if left:
                yield left

    def facts(self, row: Row, element_id: str, source_url: str) -> ElementFacts | None:
        """What is so of an element; None when it is gone."""
        name = row[0]
        descriptor = self._folder.descriptor
        now = self._now()
        try:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            data = os.stat(name[:-4] + DATA, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return self._ask(element_id)
        if not (S_ISREG(info.st_mode) and S_ISREG(data.st_mode)):
            return self._ask(element_id)
        if row[_FILE:] != _file_stamp(info):
            fresh = self._read(name, info, now)
            if fresh is None:
                return self._ask(element_id)
            row = fresh
        facts = (element_id, source_url, *row[1:6], bool(row[6]), info.st_ctime, data.st_size, None)
        return ElementFacts._make(facts)

    def write(self) -> None:
        """Tell the index what was found; the last thing that is done with a folder."""
        if self._index is None:
            return
        if self._is_lost:
            self._index.drop(self._path, self._edition)
            return
        folder, entry = self._folder, self._folder.entry
        is_known = entry is not None and (entry.stamp, entry.folders) == (folder.stamp, folder.folders)
        if not is_known or self._changed or self._removed or self._is_begun:
            self._flush(is_last=True)

    def _start_again(self) -> None:
        """The names from the folder itself, and nothing more from the index."""
        self._is_lost = True
        self._folder.names = _look(self._folder.directory, self._folder.descriptor, None, self._now()).names

    def _merged(self, columns: int) -> Iterator[list[Row]]:
        """The names of the folder, each with what the index has about it."""
        assert self._folder.names is not None
        known = self._known(columns)
        old = next(known, None)
        page: list[Row] = []
        for name in self._folder.names:
            while old is not None and old[0] < name:
                self._removed.append(old[0])
                old = next(known, None)
            if old is not None and old[0] == name:
                page.append(old)
                old = next(known, None)
            elif parse_file_name(self._folder.directory, name) is not None:
                page.append((name, *_NOTHING))
                self._put(page[-1])
            if len(page) >= MAX_PENDING:
                yield page
                page = []
        while old is not None:
            self._removed.append(old[0])
            old = next(known, None)
        yield page

    def _known(self, columns: int) -> Iterator[Row]:
        """The rows that the index has of a folder that changed; they end early where they are not intact."""
        if self._index is None or self._folder.entry is None or self._is_lost:
            return
        try:
            for rows in self._index.pages(self._folder.entry, columns):
                yield from rows
        except EntryLost:
            self._is_lost = True

    def _read(self, name: str, info: os.stat_result, now: int) -> Row | None:
        """The row that an element's metadata makes; None where it cannot be read."""
        try:
            content = osfile.read_file(self._folder.descriptor, name, MAX_METAINFO_SIZE)
            metainfo = BackupElementMetainfo.unserialize(content)
        except (OSError, GuerillaBackupError):
            return None
        row = (
            name,
            metainfo.backup_type.value,
            metainfo.timestamp,
            metainfo.data_uuid,
            metainfo.predecessor,
            metainfo.checksum,
            int(metainfo.metadata_signature is not None),
            *_file_stamp(info),
        )
        is_small = all(len(value) <= MAX_BINARY for value in row[3:6] if value is not None)
        if is_small and now - max(info.st_mtime_ns, info.st_ctime_ns) >= YOUNG:
            self._put(row)
        return row

    def _ask(self, element_id: str) -> ElementFacts | None:
        return _ask(self._open_storage(), element_id)

    def _put(self, row: Row) -> None:
        if self._index is None or not self._index.is_writable or self._is_lost:
            return
        self._changed.append(row)
        if len(self._changed) >= MAX_PENDING:
            self._flush(is_last=False)
            self._is_begun = True

    def _flush(self, *, is_last: bool) -> None:
        assert self._index is not None
        folder = self._folder
        before = [] if folder.entry is None else folder.entry.folders
        gone = sorted(set(before).difference(folder.folders))
        change = FolderChange(
            self._path,
            self._edition,
            folder.stamp,
            folder.folders,
            ["/".join((*folder.directory, name)) for name in gone] if is_last else [],
            self._removed,
            self._changed,
            is_last,
        )
        self._index.write(change)
        self._edition = change.edition
        self._removed, self._changed = [], []


def _ask(storage: StorageInterface, element_id: str) -> ElementFacts | None:
    try:
        return describe_element(storage.get_backup_data_element(ElementId.parse(element_id)))
    except ElementNotFoundError:
        return None


def _look(directory: tuple[str, ...], descriptor: int, index: CatalogueIndex | None, now: int) -> _Folder:
    """What is known of an open folder without reading it, or what reading it tells. Raises OSError."""
    status = os.fstat(descriptor)
    stamp = (status.st_ino & _MASK, status.st_mtime_ns & _MASK, status.st_ctime_ns & _MASK)
    entry = None if index is None else index.find("/".join(directory))
    if entry is not None and entry.stamp == stamp:
        return _Folder(directory, descriptor, stamp, entry.folders, entry, None)
    listing = list_folder(descriptor)
    is_young = now - max(status.st_mtime_ns, status.st_ctime_ns) < YOUNG
    folders = [name for name in listing.folders if is_source_directory(directory, name)]
    names = list(info_names(listing))
    return _Folder(directory, descriptor, None if is_young else stamp, folders, entry, names)


def _file_stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return (
        status.st_ino & _MASK,
        status.st_size & _MASK,
        status.st_mtime_ns & _MASK,
        status.st_ctime_ns & _MASK,
    )
