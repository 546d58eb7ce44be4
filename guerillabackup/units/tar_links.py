"""Files with names in directories that are archived whole and names elsewhere, which a restore would part.

Of a directory that moved, or that came from outside of the source, everything is archived; the other names of
its files are not, being older than the backup before. After a restore these are files of their own.
Touches: os.
"""

import os
import stat
from collections.abc import Callable, Iterable

from guerillabackup.errors import GuerillaBackupError
from guerillabackup.units.tar_snapshot import WholeDirectory

MAX_HELD_FILES = 100_000
"""How many files are held in memory while their other names are looked for."""

_Missing = dict[tuple[int, int], tuple[int, bytes]]
"""Of each file how many names are still to be found, and one of those that were."""


class SplitLinksError(GuerillaBackupError):
    """An incremental backup was made that would be restored with several files in the place of one."""


class _TooManyError(Exception):
    """More files than are to be held at once."""


def check_links(root: str, find_whole: Callable[[], Iterable[WholeDirectory]], since: int) -> None:
    """Raise SplitLinksError where a file that was archived in one of the directories has a name in none.

    `find_whole` hands out all directories that were archived whole, each named from `root` on; what is below
    one of them has to be named by itself. A file that was changed at `since`, UTC nanoseconds, or later does
    not count: tar archives all its names. What cannot be looked at does not count either; tar tells of it.
    Memory is bounded: where there are too many files, only some are looked at each time.
    """
    shares = [(1, 0)]
    while shares:
        count, share = shares.pop()
        try:
            missing = _find_missing(root, find_whole(), since, count, share)
        except _TooManyError:
            shares += [(2 * count, share), (2 * count, share + count)]
            continue
        for _, name in missing.values():
            raise SplitLinksError(
                f"{os.fsdecode(name)} is in a directory that moved or is new, and has another name elsewhere;"
                " they would be two files after a restore"
            )


def _find_missing(
    root: str, directories: Iterable[WholeDirectory], since: int, count: int, share: int
) -> _Missing:
    """The files that names are missing of; of all files only that share, of so many, by the inode."""
    missing: _Missing = {}
    for directory in directories:
        path = os.path.join(os.fsencode(root), directory.name)
        try:
            names = os.listdir(path) if directory.entries is None else directory.entries
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in names:
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError:
                    continue
                if status.st_nlink > 1 and status.st_ino % count == share and _is_old_file(status, since):
                    _count(missing, status, os.path.join(path, name))
                    if len(missing) > MAX_HELD_FILES:
                        raise _TooManyError
        finally:
            os.close(descriptor)
    return missing


def _is_old_file(status: os.stat_result, since: int) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_ctime_ns < since and status.st_mtime_ns < since


def _count(missing: _Missing, status: os.stat_result, path: bytes) -> None:
    """Note how many names of a file are still to be found."""
    key = status.st_dev, status.st_ino
    left = missing.get(key, (status.st_nlink, b""))[0] - 1
    if left > 0:
        missing[key] = left, path
    else:
        missing.pop(key, None)
