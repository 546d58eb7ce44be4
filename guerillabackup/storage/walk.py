"""The folders of a storage one after the other, and the names in them. Touches: os.

Everything that goes through a storage goes this way: who takes names from elsewhere gets the same folders.
"""

import errno
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from guerillabackup import osfile
from guerillabackup.osfile import storage_errors
from guerillabackup.storage.naming import DATA, INFO, is_source_directory

NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""What says that a folder went away, or is none any more."""


class HasFolders(Protocol):
    """What is known of a folder: the names of those in it, sorted."""

    @property
    def folders(self) -> list[str]: ...


Known = TypeVar("Known", bound=HasFolders)


class FolderNames(NamedTuple):
    """The names in one folder, sorted; `others` are neither files nor folders."""

    files: list[str]
    folders: list[str]
    others: list[str]


def walk_folders(
    root_fd: int,
    base_directory: str,
    look: Callable[[tuple[str, ...], int], Known],
    start: tuple[str, ...] = (),
    *,
    deeper: bool = True,
) -> Iterator[tuple[tuple[str, ...], int, Known]]:
    """Each folder that can hold elements: components, a descriptor, what `look` says of it.

    What `look` finds in one folder is in memory at a time, besides the subfolder names on the way to it. The
    descriptor is valid until the next step. A folder that may not be read raises StorageError.
    """
    folders = [start]
    while folders:
        directory = folders.pop()
        with storage_errors(f"cannot list {'/'.join(directory) or base_directory}"):
            try:
                directory_fd = osfile.open_directory_below(root_fd, directory)
            except OSError as error:
                if error.errno in NO_FOLDER:
                    continue  # went away, or is not a folder any more
                raise
            try:
                known = look(directory, directory_fd)
            except BaseException:
                os.close(directory_fd)
                raise
        try:
            yield directory, directory_fd, known
        finally:
            os.close(directory_fd)
        if deeper:
            folders.extend(
                (*directory, name) for name in reversed(known.folders) if is_source_directory(directory, name)
            )


def list_folder(directory_fd: int) -> FolderNames:
    """The names in an open folder; raises OSError."""
    # A descriptor of its own: scandir moves its offset, which other threads share.
    listing = FolderNames([], [], [])
    own = os.open(".", osfile.DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        with os.scandir(own) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    listing.files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    listing.folders.append(entry.name)
                else:
                    listing.others.append(entry.name)
    finally:
        os.close(own)
    for names in (listing.files, listing.folders, listing.others):
        names.sort()
    return listing


def info_names(listing: FolderNames) -> Iterator[str]:
    """The names that end like metadata and have data beside them, sorted; an element's or not."""
    names = frozenset(listing.files)
    for name in listing.files:
        if name.endswith(f".{INFO}") and f"{name.removesuffix(INFO)}{DATA}" in names:
            yield name
