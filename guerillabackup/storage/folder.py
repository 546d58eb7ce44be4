"""The folders that new elements are written into: opened, made durably, shared by the handles of a batch.

Touches: hashlib, os.
"""

import hashlib
import os
from collections.abc import Sequence

from guerillabackup import osfile
from guerillabackup.errors import StorageError, StorageReplacedError
from guerillabackup.osfile import Ownership, storage_errors

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MAX_REMEMBERED = 4096
MAX_TRIES = 10
"""How often a folder is made again that somebody removes, empty as it is, at the same moment."""


class RootDirectory:
    """A storage's open directory. After `close`, using it is an error: never somebody else's descriptor."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = osfile.open_directory(path)
        # While it is open, no other directory gets its number.
        self._identity = os.fstat(self._descriptor)
        self.place_id = _make_place_id(self._identity)
        """The same for all who open the directory by whatever path, and for no other one on any host."""

    @property
    def descriptor(self) -> int:
        """The descriptor; raises StorageError after `close`."""
        if self._descriptor < 0:
            raise StorageError(f"the storage in {self.path} is closed")
        return self._descriptor

    def check_in_place(self) -> None:
        """Raise StorageReplacedError unless the path leads here still: one system call."""
        with storage_errors(f"cannot look at {self.path}"):
            try:
                is_here = os.path.samestat(os.stat(self.path), self._identity)
            except (FileNotFoundError, NotADirectoryError):
                is_here = False
        if not is_here:
            raise StorageReplacedError(
                f"{self.path} is another directory than when it was opened: was something mounted there, "
                "or is it not mounted any more"
            )

    def close(self) -> None:
        """Let go of it; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Folder:
    """An open folder with as many users as `share` was called, and one: the last to `release` it closes it.

    Used by one thread at a time, like the handles and the batch that share it.
    """

    def __init__(self, descriptor: int, *, is_ready: bool = True) -> None:
        self.descriptor = descriptor
        self.is_ready = is_ready
        """Whether it is the folder that was asked for, its name durable; else names are not given in it."""
        self._users = 1

    def share(self) -> "Folder":
        """The same folder for one more user."""
        self._users += 1
        return self

    def release(self) -> None:
        """End one use."""
        self._users -= 1
        if self._users == 0:
            os.close(self.descriptor)

    def is_removed(self) -> bool:
        """Whether somebody removed it since it was opened, which only an empty folder allows."""
        return os.fstat(self.descriptor).st_nlink == 0


class SourceFolders:
    """Opens folders of sources, which are made when they are not there.

    The first time in the life of this object every name on the way is synced, also of folders that were
    there: another process may have made them, and ended before it synced them.
    """

    def __init__(self, root: RootDirectory, ownership: Ownership) -> None:
        self._root = root
        self._ownership = ownership
        self._synced: set[tuple[str, ...]] = set()

    def open_nearest(self, components: Sequence[str]) -> Folder:
        """The folder if it is there, else the nearest one above it, with one user. Raises OSError.

        Nothing is made: what is given up after all leaves no trace. What is written here without a name can
        be given one in the folder, for what `open` makes is in the same file system.
        """
        key = tuple(components)
        if key in self._synced:
            try:
                return Folder(osfile.open_directory_below(self._root.descriptor, key))
            except FileNotFoundError:
                self._synced.discard(key)
        return Folder(osfile.open_nearest_below(self._root.descriptor, key), is_ready=False)

    def open(self, components: Sequence[str]) -> Folder:
        """An open folder with one user, which is made where it is missing. Raises OSError."""
        key = tuple(components)
        if key in self._synced:
            try:
                return Folder(osfile.open_directory_below(self._root.descriptor, key))
            except FileNotFoundError:
                self._synced.discard(key)
        folder = Folder(self._make(key))
        if len(self._synced) >= MAX_REMEMBERED:
            self._synced.clear()
        self._synced.add(key)
        return folder

    def _make(self, components: tuple[str, ...]) -> int:
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                return osfile.make_directory_below(
                    self._root.descriptor, components, self._ownership, sync_all=True
                )
            except FileNotFoundError:
                if tries_left == 0:
                    raise
        raise AssertionError("the last try returns or raises")


def _make_place_id(status: os.stat_result) -> str:
    """A digest; "" where it cannot be told from directories of other hosts."""
    try:
        with open(BOOT_ID, "rb") as file:
            boot_id = file.read(64)
    except OSError:
        return ""
    text = b"%s %d %d" % (boot_id.strip(), status.st_dev, status.st_ino)
    return hashlib.blake2b(text, digest_size=16).hexdigest()
