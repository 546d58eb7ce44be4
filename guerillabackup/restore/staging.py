"""Directories that restores unpack into before they merge: whether one is in use, and how to be rid of it.

A restore holds a lock on its own from before anything is in it, and so do the programs that it starts, until
the last of them is gone. Nothing is removed here. Touches: fcntl, os.
"""

import fcntl
import os
import shlex
from collections.abc import Sequence

from guerillabackup import osfile

STAGING_PREFIX = ".guerillabackup-restore-"
MAX_NAMED = 5


def hold(descriptor: int) -> None:
    """Say that the open directory is in use, for as long as the descriptor is open."""
    try:
        # Waits for no longer than who looks at it needs.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks: others are told that it cannot be known


def tell_of_others(target_fd: int, target: str, names: Sequence[bytes]) -> list[str]:
    """What there is to say about what other restores have, or left, in a directory of these names."""
    found = sorted(os.fsdecode(name) for name in names if name.startswith(os.fsencode(STAGING_PREFIX)))
    texts = [_tell(target_fd, name, os.path.join(target, name)) for name in found[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        texts.append(f"{len(found) - MAX_NAMED} more of the kind are in {target}")
    return texts


def _tell(target_fd: int, name: str, path: str) -> str:
    try:
        descriptor = os.open(name, osfile.DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=target_fd)
    except OSError as error:
        return _tell_doubt(path, error)
    try:
        # Who has just made it waits for this before anything is put into it.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        is_empty = not os.listdir(descriptor)
    except BlockingIOError:
        return f"a restore that runs now uses {path}: leave it alone"
    except OSError as error:
        return _tell_doubt(path, error)
    finally:
        os.close(descriptor)
    if not path.isprintable():
        return f"an interrupted restore left {path}, and nothing on this host uses it"
    command = f"{'rmdir' if is_empty else 'rm -rf'} -- {shlex.quote(path)}"
    return (
        f"an interrupted restore left {path}, and nothing on this host uses it; all that is in it is in the "
        f"storage too: remove it with: {command}"
    )


def _tell_doubt(path: str, error: OSError) -> str:
    return (
        f"a restore left {path}, or uses it now, which cannot be told ({error.strerror}): remove it when no "
        "restore into this directory runs"
    )
