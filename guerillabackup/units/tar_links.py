"""Files with names in directories that moved and names elsewhere, which an incremental backup would part.

A directory that moved is archived whole, the other names of its files are not, being older than the backup
before. After a restore these are files of their own. Touches: os.
"""

import os
import stat
from collections.abc import Iterable

from guerillabackup.errors import GuerillaBackupError


class SplitLinksError(GuerillaBackupError):
    """An incremental backup was made that would be restored with several files in the place of one."""


def check_links(root: str, directories: Iterable[bytes], since: float) -> None:
    """Raise SplitLinksError where a file in one of the directories has a name in none of them.

    `directories` are all that moved, each named from `root` on; what is below one of them has to be named by
    itself. A file that was changed at `since`, UTC seconds, or later does not count: tar archives all its
    names. What cannot be looked at does not count either; tar tells of it.
    """
    missing: dict[tuple[int, int], tuple[int, bytes]] = {}
    for directory in directories:
        path = os.path.join(os.fsencode(root), directory)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    _count(missing, entry, since)
        except OSError:
            continue
    for _, name in missing.values():
        raise SplitLinksError(
            f"{os.fsdecode(name)} is in a directory that moved, and has another name elsewhere; they would be"
            " two files after a restore"
        )


def _count(
    missing: dict[tuple[int, int], tuple[int, bytes]], entry: os.DirEntry[bytes], since: float
) -> None:
    """Note how many names of a file are still to be found."""
    if entry.is_dir(follow_symlinks=False):
        return
    status = entry.stat(follow_symlinks=False)
    if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode) or status.st_ctime >= since:
        return
    key = status.st_dev, status.st_ino
    left = missing.get(key, (status.st_nlink, b""))[0] - 1
    if left > 0:
        missing[key] = left, entry.path
    else:
        missing.pop(key, None)
