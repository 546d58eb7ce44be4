"""Files that have their bytes before they have their name, and names that are free. Touches: os, secrets."""

import contextlib
import os
import secrets
from collections.abc import Sequence

from guerillabackup import osfile
from guerillabackup.element import MAX_SERIAL, BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.osfile import Ownership
from guerillabackup.storage.folder import MAX_TRIES, RootDirectory
from guerillabackup.storage.naming import DATA, PARTIAL_DIRECTORY

MAX_REMEMBERED = 1024


class NewFile:
    """A file that has its bytes but not yet its name.

    Unnamed where the file system can do that, otherwise, or when it is not wanted, named in `.partial/`.
    Raises OSError.
    """

    def __init__(
        self, root: RootDirectory, directory_fd: int, ownership: Ownership, *, unnamed: bool = True
    ) -> None:
        self._root = root
        self._partial_name = ""
        descriptor = osfile.open_unnamed(directory_fd, ownership.file_mode) if unnamed else None
        if descriptor is None:
            self._partial_name = f"new-{os.getpid()}-{secrets.token_hex(8)}"
            descriptor = _create_partial(root.descriptor, self._partial_name, ownership)
        self.descriptor: int = descriptor
        try:
            osfile.apply_ownership(descriptor, ownership.file_mode, ownership)
        except BaseException:
            self.close()
            raise

    def link(self, directory_fd: int, name: str) -> None:
        """Give it a name; FileExistsError when that is taken."""
        if not self._partial_name:
            osfile.link_unnamed(self.descriptor, directory_fd, name)
            return
        partial_fd = osfile.open_directory_below(self._root.descriptor, (PARTIAL_DIRECTORY,))
        try:
            os.link(
                self._partial_name,
                name,
                src_dir_fd=partial_fd,
                dst_dir_fd=directory_fd,
                follow_symlinks=False,
            )
        finally:
            # An error here would say of a file that has its name that it has none.
            with contextlib.suppress(OSError):
                os.close(partial_fd)

    def has_name(self, directory_fd: int, name: str) -> bool:
        """Whether that name is this file, and not somebody else's of the same name. Raises OSError."""
        found = osfile.stat_file(directory_fd, name)
        return found is not None and os.path.samestat(found, os.fstat(self.descriptor))

    def close(self) -> None:
        """Let go of it: without a name by now, it is gone. Never raises; may be called twice."""
        if self._partial_name:
            with contextlib.suppress(OSError, StorageError):
                _remove_partial(self._root.descriptor, self._partial_name)
            self._partial_name = ""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)


class FreeNames:
    """Finds free names for elements of one second without trying all taken ones each time."""

    def __init__(self) -> None:
        self._last: dict[tuple[SourceUrl, str, str], int] = {}

    def link(
        self,
        data: NewFile,
        directory_fd: int,
        source_url: SourceUrl,
        metainfo: BackupElementMetainfo,
        other_suffixes: Sequence[str],
    ) -> ElementId:
        """Link `.data` under the first name of which no file exists; FileExistsError never leaves here."""
        first = ElementId.label(source_url, metainfo.timestamp, metainfo.backup_type)
        key = (source_url, first.digits, first.backup_type.value)
        serial = self._last.get(key)
        if serial is None:
            if _link_if_free(data, directory_fd, first, other_suffixes):
                return first
            serial = -1
        for number in range(serial + 1, MAX_SERIAL):
            candidate = ElementId(source_url, first.digits, number, first.backup_type)
            if _link_if_free(data, directory_fd, candidate, other_suffixes):
                if len(self._last) >= MAX_REMEMBERED:
                    self._last.clear()
                self._last[key] = number
                return candidate
        raise StorageError(f"no free name for an element of {source_url} at {first.digits}")


def _link_if_free(
    data: NewFile, directory_fd: int, element_id: ElementId, other_suffixes: Sequence[str]
) -> bool:
    """Link `.data`, unless it or another file of that element's name exists."""
    stem = element_id.file_stem
    if any(osfile.stat_file(directory_fd, f"{stem}.{suffix}") for suffix in other_suffixes):
        return False
    try:
        data.link(directory_fd, f"{stem}.{DATA}")
    except FileExistsError:
        return False
    return True


def _create_partial(root_fd: int, name: str, ownership: Ownership) -> int:
    """A new file in `.partial/`, which is made; whoever finds that folder empty may remove it meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            partial_fd = osfile.make_directory_below(root_fd, (PARTIAL_DIRECTORY,), ownership)
            try:
                return os.open(name, flags, ownership.file_mode, dir_fd=partial_fd)
            finally:
                os.close(partial_fd)
        except FileNotFoundError:
            if tries_left == 0:
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(PARTIAL_DIRECTORY, dir_fd=root_fd)
            raise
    raise AssertionError("the last try returns or raises")


def _remove_partial(root_fd: int, name: str) -> None:
    partial_fd = osfile.open_directory_below(root_fd, (PARTIAL_DIRECTORY,))
    try:
        osfile.remove_file(partial_fd, name)
    finally:
        os.close(partial_fd)
    os.rmdir(PARTIAL_DIRECTORY, dir_fd=root_fd)
