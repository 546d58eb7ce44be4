"""Elements as files below one directory, as GuerillaBackup 0.5.0 lays them out. Touches: os, fcntl, time.

doc/Storage.txt has the table of all file states. Nothing is remembered between calls but names that save
work: what is on disk is the truth, and other processes change it at any time.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import (
    ElementLockedError,
    ElementNotFoundError,
    GuerillaBackupError,
    IntegrityError,
    MetainfoError,
    StorageError,
)
from guerillabackup.osfile import PRIVATE, Ownership, storage_errors
from guerillabackup.storage.batch import FileBatch, SyncChooser, close_together
from guerillabackup.storage.deletion import delete_together
from guerillabackup.storage.file_element import AttributeSuffixes, FileElement
from guerillabackup.storage.folder import RootDirectory, SourceFolders
from guerillabackup.storage.interface import (
    ALL_ELEMENTS,
    BatchInterface,
    ElementFacts,
    ElementFilter,
    ElementSelection,
    Leftover,
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.storage.naming import (
    DATA,
    INFO,
    PARTIAL_DIRECTORY,
    check_storable,
    file_name,
    is_source_directory,
    parse_file_name,
    relative_path,
)
from guerillabackup.storage.new_file import FreeNames
from guerillabackup.storage.sink import FileSinkHandle, SinkContext
from guerillabackup.storage.walk import NO_FOLDER, FolderNames, info_names, list_folder, walk_folders

if TYPE_CHECKING:
    from guerillabackup.storage.catalogue import Catalogue

HASH_BLOCK = 1 << 20
FEW_FILES = 100
"""In a folder that is read rather than looked up."""


class DefaultFileStorage(StorageInterface):
    """The storage below `base_directory`, which must exist; `close`, or a with statement, lets go of it.

    `unnamed_files` False writes new files under names in `.partial/`, as is done anyway where the file system
    has no unnamed ones. `catalogue` is the file of an index for listings, made as needed; None: no index.
    """

    def __init__(
        self,
        base_directory: str,
        ownership: Ownership = PRIVATE,
        *,
        unnamed_files: bool = True,
        catalogue: str | None = None,
    ) -> None:
        self.base_directory = base_directory
        self._catalogue_path = catalogue
        self._ownership = ownership
        self._root = RootDirectory(base_directory)
        self._suffixes = AttributeSuffixes()
        self._chooser = SyncChooser()
        self._context = SinkContext(
            self._root,
            ownership,
            SourceFolders(self._root, ownership),
            FreeNames(),
            self._suffixes.known,
            self._open_element,
            # Naming a file that has no name takes /proc.
            unnamed_files and os.path.isdir("/proc/self/fd"),
        )

    def close(self) -> None:
        """Release the directory; elements and handles of this storage are of no use after it."""
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def check_in_place(self) -> None:
        self._root.check_in_place()

    def get_place_id(self) -> str:
        return self._root.place_id

    def get_sink_handle(self, source_url: SourceUrl) -> SinkHandleInterface:
        check_storable(source_url)
        with storage_errors(f"cannot begin an element of {source_url}"):
            folder = self._context.folders.open_nearest(source_url.directory)
            return FileSinkHandle(self._context, source_url, folder)

    @contextmanager
    def open_batch(self) -> Iterator[BatchInterface]:
        batch = FileBatch(self._context, self._chooser)
        try:
            yield batch
            batch.commit()
        finally:
            batch.end()

    def close_together(
        self, closing: Sequence[tuple[SinkHandleInterface, BackupElementMetainfo]]
    ) -> list[StorageBackupDataElementInterface | GuerillaBackupError]:
        ours = [(handle, metainfo) for handle, metainfo in closing if isinstance(handle, FileSinkHandle)]
        # Alone, it is what `close` does.
        if len(closing) == 1 or len(ours) < len(closing):
            return super().close_together(closing)
        return close_together(ours, self._chooser)

    def get_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        element = self._open_element(element_id)
        element.check_present()
        return element

    def hold_backup_data_element(self, element_id: ElementId) -> StorageBackupDataElementInterface:
        element = self._open_element(element_id)
        element.hold()
        return element

    def sync_element(self, element: StorageBackupDataElementInterface) -> None:
        element_id = element.get_element_id()
        with storage_errors(f"cannot sync {element_id}"):
            # Opened so that names above it are synced too.
            folder = self._context.folders.open(element_id.source_url.directory)
            try:
                _own(element).sync_in(folder.descriptor)
            finally:
                folder.release()

    def get_backup_data_element_for_metadata(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        for element in self.query_backup_data_elements(source_url=source_url):
            with contextlib.suppress(ElementNotFoundError, MetainfoError):
                if element.get_metadata().is_same_element(metainfo):
                    return element
        return None

    def query_backup_data_elements(
        self, query: ElementFilter | None = None, source_url: SourceUrl | None = None
    ) -> Iterator[StorageBackupDataElementInterface]:
        for element_id in self._walk_ids(source_url):
            element = self._open_element(element_id)
            try:
                if query is not None and not query(element):
                    continue
            except (ElementNotFoundError, MetainfoError):
                continue
            yield element

    def list_ids(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[str]:
        return self._catalogue().list_ids(selection)

    def list_facts(self, selection: ElementSelection = ALL_ELEMENTS) -> Iterator[ElementFacts]:
        if selection.is_exact and self._has_few_files(selection):
            return super().list_facts(selection)
        return self._catalogue().list_facts(selection)

    def list_attributes(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        for directory, _, listing in self._walk():
            files = frozenset(listing.files)
            for name in listing.files:
                suffix = name[name.rfind(".") + 1 :]
                stem = name[: -len(suffix)]
                if suffix not in names or not (f"{stem}{INFO}" in files and f"{stem}{DATA}" in files):
                    continue
                file = parse_file_name(directory, name)
                if file is not None:
                    yield str(file.element_id), suffix

    def delete_elements(
        self, elements: Sequence[StorageBackupDataElementInterface]
    ) -> list[StorageError | None]:
        return delete_together(self._root, [_own(element) for element in elements])

    def complete(
        self, element_id: ElementId, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        check_storable(element_id.source_url)
        with storage_errors(f"cannot complete {element_id}"):
            try:
                directory_fd = osfile.open_directory_below(
                    self._root.descriptor, element_id.source_url.directory
                )
            except FileNotFoundError:
                return None
            try:
                if not self._complete_in(directory_fd, element_id, metainfo):
                    return None
            finally:
                os.close(directory_fd)
        return self._open_element(element_id)

    def find_leftovers(self, source_url: SourceUrl | None = None) -> Iterator[Leftover]:
        now = time.time()
        start = () if source_url is None else source_url.directory
        for directory, directory_fd, listing in self._walk(start, deeper=source_url is None):
            for name, what, ruined in _leftovers(directory, listing):
                if source_url is not None and not _is_of(source_url, directory, name):
                    continue
                with storage_errors(f"cannot look at {relative_path(directory, name)}"):
                    found = osfile.stat_file(directory_fd, name)
                    if ruined is not None and _is_whole(directory_fd, ruined):
                        continue  # stored while the folder was listed
                if found is not None:
                    yield Leftover(relative_path(directory, name), what, now - found.st_ctime, ruined)
        for name, changed in self._list_partial() if source_url is None else ():
            yield Leftover(relative_path((PARTIAL_DIRECTORY,), name), "not finished", now - changed)

    def _catalogue(self) -> "Catalogue":
        # Its database is of use to listings alone.
        from guerillabackup.storage.catalogue import Catalogue

        return Catalogue(self.base_directory, self._catalogue_path, lambda: self)

    def _open_element(self, element_id: ElementId) -> FileElement:
        return FileElement(self._root, element_id, self._ownership, self._suffixes)

    def _complete_in(self, directory_fd: int, element_id: ElementId, metainfo: BackupElementMetainfo) -> bool:
        """Link the missing `.info`; whether the element is there in the end. Raises OSError."""
        try:
            data_fd = osfile.open_file(directory_fd, file_name(element_id, DATA))
        except FileNotFoundError:
            return False
        try:
            # Whoever deletes leftovers, or takes back what was prepared, holds this lock alone.
            try:
                fcntl.flock(data_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ElementLockedError(f"the data of {element_id} is locked") from error
            there = osfile.stat_file(directory_fd, file_name(element_id, DATA))
            if there is None or not os.path.samestat(there, os.fstat(data_fd)):
                return False
            if osfile.stat_file(directory_fd, file_name(element_id, INFO)) is not None:
                return True
            if metainfo.checksum is not None and _digest(data_fd) != metainfo.checksum:
                raise IntegrityError(f"data of {element_id} is not what its checksum says")
            os.fsync(data_fd)
            self._link_info(directory_fd, file_name(element_id, INFO), metainfo)
            return True
        finally:
            os.close(data_fd)

    def _link_info(self, directory_fd: int, name: str, metainfo: BackupElementMetainfo) -> None:
        info = self._context.new_file(directory_fd)
        try:
            osfile.write_all(info.descriptor, metainfo.serialize())
            os.fsync(info.descriptor)
            with contextlib.suppress(FileExistsError):
                info.link(directory_fd, name)
        finally:
            info.close()
        os.fsync(directory_fd)

    def _list_partial(self) -> list[tuple[str, float]]:
        """Names in `.partial/` and when they changed; mostly there is no such folder."""
        with storage_errors(f"cannot list {PARTIAL_DIRECTORY}"):
            try:
                directory_fd = osfile.open_directory_below(self._root.descriptor, (PARTIAL_DIRECTORY,))
            except OSError as error:
                if error.errno in NO_FOLDER:
                    return []
                raise
            try:
                listing = list_folder(directory_fd)
                found = [
                    (name, osfile.stat_file(directory_fd, name))
                    for name in (*listing.files, *listing.folders, *listing.others)
                ]
            finally:
                os.close(directory_fd)
        return [(name, status.st_ctime) for name, status in found if status is not None]

    def _walk_ids(self, source_url: SourceUrl | None) -> Iterator[ElementId]:
        """Ids of what has data and info, folder by folder, sorted by file name in each."""
        start = () if source_url is None else source_url.directory
        for directory, _, listing in self._walk(start, deeper=source_url is None):
            for name in info_names(listing):
                file = parse_file_name(directory, name)
                if file is not None and source_url in (None, file.element_id.source_url):
                    yield file.element_id

    def _has_few_files(self, selection: ElementSelection) -> bool:
        """Whether the one folder of the source is read sooner than an index of it is opened."""
        (directory, _), *_ = selection.starts()
        return all(len(listing.files) <= FEW_FILES for _, _, listing in self._walk(directory, deeper=False))

    def _walk(
        self, start: tuple[str, ...] = (), *, deeper: bool = True
    ) -> Iterator[tuple[tuple[str, ...], int, FolderNames]]:
        return walk_folders(
            self._root.descriptor,
            self.base_directory,
            lambda directory, directory_fd: list_folder(directory_fd),
            start,
            deeper=deeper,
        )


def _own(element: StorageBackupDataElementInterface) -> FileElement:
    if not isinstance(element, FileElement):
        raise StorageError(f"element {element.get_element_id()} is not of this storage")
    return element


def _leftovers(
    directory: tuple[str, ...], listing: FolderNames
) -> Iterator[tuple[str, str, ElementId | None]]:
    """Names in a folder that belong to no complete element, what they are, and the element they ruin."""
    names = frozenset(listing.files)
    for name in listing.folders:
        is_partial = not directory and name == PARTIAL_DIRECTORY
        if (ruined := _ruined(directory, name, names)) is not None:
            yield name, "a folder where the metadata has to be", ruined
        elif not is_partial and not is_source_directory(directory, name):
            yield name, "not a folder of a source", None
    for name in listing.others:
        yield name, "neither a file nor a folder", _of_what(directory, name)
    for name in listing.files:
        file = parse_file_name(directory, name)
        if file is None:
            yield name, "not a file of an element", None
            continue
        has_data = file_name(file.element_id, DATA) in names
        has_info = file_name(file.element_id, INFO) in names
        if not (has_data and has_info):
            what = {DATA: "data without info", INFO: "info without data"}
            ruined = file.element_id if file.suffix == INFO else None
            yield name, what.get(file.suffix, f"{file.suffix} of no element"), ruined


def _ruined(directory: tuple[str, ...], name: str, names: frozenset[str]) -> ElementId | None:
    """The element whose metadata has to be under a name that something else has, its data being there."""
    file = parse_file_name(directory, name)
    if file is None or file.suffix != INFO or file_name(file.element_id, DATA) not in names:
        return None
    return file.element_id


def _of_what(directory: tuple[str, ...], name: str) -> ElementId | None:
    """The element that a link, pipe or device has the place of a file of: no crash makes one."""
    file = parse_file_name(directory, name)
    return file.element_id if file is not None and file.suffix in (DATA, INFO) else None


def _is_whole(directory_fd: int, element_id: ElementId) -> bool:
    """Whether data and metadata are there, as files. Raises OSError."""
    found = [osfile.stat_file(directory_fd, file_name(element_id, suffix)) for suffix in (DATA, INFO)]
    return all(status is not None and stat.S_ISREG(status.st_mode) for status in found)


def _is_of(source_url: SourceUrl, directory: tuple[str, ...], name: str) -> bool:
    """Whether a name is that of a file of an element of the source."""
    file = parse_file_name(directory, name)
    return file is not None and file.element_id.source_url == source_url


def _digest(descriptor: int) -> bytes:
    digest = hashlib.sha512()
    offset = 0
    while block := os.pread(descriptor, HASH_BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.digest()
