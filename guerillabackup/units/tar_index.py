"""GNU tar's listed-incremental index files of a source, in its unit's state directory. Touches: os, shutil.

A run changes `PREFIX.index.next` and never `PREFIX.index`, whose place it takes only once the run's element
is stored. So a run that failed, or died, has changed nothing: what it left is overwritten by the next one.
Older ones are kept as `PREFIX.index.bz2.TIME`, TIME being their last change.
"""

import bz2
import os
import re
import shutil
import stat
from datetime import UTC, datetime

from guerillabackup import osfile
from guerillabackup.errors import StateError
from guerillabackup.generator.state import StateDirectory

COPY_BLOCK = 1 << 20
_HEAD_SIZE = 256
_TIME = re.compile(rb"GNU tar-[^\n]*-2\n([0-9]+)\0([0-9]+)\0")
"""An index of tar 1.20 and later begins with the time from which on files count as changed."""


def has_index(state: StateDirectory, prefix: str) -> bool:
    """Whether there is an index that an incremental backup can start from; an empty one is none."""
    try:
        status = os.stat(f"{prefix}.index", dir_fd=state.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def begin_index(state: StateDirectory, prefix: str, *, from_current: bool) -> str:
    """Make the next index, a copy of the current one or empty, and hand out its path for tar.

    Raises StateError also where the next one could not take the place of the current one: before there is an
    element whose index that would be.
    """
    name = f"{prefix}.index.next"
    _check_place(state, f"{prefix}.index")
    with state.writing(name):
        osfile.remove_file(state.descriptor, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=state.descriptor)
        try:
            if from_current:
                _copy(state, f"{prefix}.index", target)
        finally:
            os.close(target)
    return state.file_path(name)


def mark_of(state: StateDirectory, prefix: str, *, is_next: bool = False) -> str | None:
    """What tells the current index, or the next one, from all others of its source; None where there is none.

    Its size and its time, in nanoseconds, which tar makes anew for each: reading all of it would take longer.
    """
    name = f"{prefix}.index.next" if is_next else f"{prefix}.index"
    with osfile.storage_errors(f"cannot read index {state.file_path(name)}"):
        try:
            source = osfile.open_file(state.descriptor, name)
        except FileNotFoundError:
            return None
        try:
            size, beginning = os.fstat(source).st_size, os.read(source, _HEAD_SIZE)
        finally:
            os.close(source)
    head = _TIME.match(beginning)
    time = "" if head is None else b" %b.%b" % head.groups()
    return f"{size}{os.fsdecode(time)}"


def set_time_back(path: str, seconds: float) -> None:
    """Let what was changed in so many seconds before the index's time count as changed after it.

    An empty index, or one of another format, is left as it is. Not for the current index: a crash may leave
    any of the digits, or `PATH.tmp`.
    """
    if seconds <= 0:
        return
    with osfile.storage_errors(f"cannot set back the time of index {path}"), open(path, "r+b") as file:
        head = _TIME.match(file.read(_HEAD_SIZE))
        if head is None:
            return
        whole, rest = head.groups()
        time = max(0, int(whole) * 10**9 + int(rest) - round(seconds * 10**9))
        text = b"%0*d\0%0*d\0" % (len(whole), time // 10**9, len(rest), time % 10**9)
        file.seek(head.start(1))
        if head.start(1) + len(text) == head.end():
            file.write(text)
            return
        # The digits that are there have no place for the time.
        file.seek(head.end())
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(f"{path}.tmp", flags, 0o600), "wb") as target:
            target.write(head[0][: head.start(1)] + text)
            shutil.copyfileobj(file, target, COPY_BLOCK)
        os.rename(f"{path}.tmp", path)


def sync_index(state: StateDirectory, prefix: str) -> None:
    """The next index is on stable storage."""
    name = f"{prefix}.index.next"
    with state.writing(name):
        descriptor = osfile.open_file(state.descriptor, name)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(state.descriptor)


def promote_index(state: StateDirectory, prefix: str, keep: int) -> None:
    """The next index becomes the current one; the one before is kept compressed, the `keep` newest of them.

    Can be repeated: without a next index it only clears up. `keep` below zero keeps all.
    """
    current, following = f"{prefix}.index", f"{prefix}.index.next"
    with state.writing(current):
        try:
            os.stat(following, dir_fd=state.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if keep != 0 and has_index(state, prefix):
                _archive(state, prefix)
            os.rename(following, current, src_dir_fd=state.descriptor, dst_dir_fd=state.descriptor)
            os.fsync(state.descriptor)
        if keep >= 0:
            _prune(state, prefix, keep)


def drop_index(state: StateDirectory, prefix: str) -> None:
    """No incremental backup can follow any more: the index belongs to an older state of the source."""
    state.remove(f"{prefix}.index")


def discard_next_index(state: StateDirectory, prefix: str) -> None:
    """What a failed run left."""
    state.remove(f"{prefix}.index.next.tmp")
    state.remove(f"{prefix}.index.next")


def _check_place(state: StateDirectory, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=state.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise StateError(
            f"{state.file_path(name)} is a directory, and has to be an index: move it away; "
            "the next backup is then a full one"
        )


def _copy(state: StateDirectory, name: str, target: int) -> None:
    source = osfile.open_file(state.descriptor, name)
    try:
        while block := os.read(source, COPY_BLOCK):
            osfile.write_all(target, block)
    finally:
        os.close(source)


def _archive(state: StateDirectory, prefix: str) -> None:
    """Keep the current index, compressed; repeated after a crash it finds what it made."""
    name = f"{prefix}.index.new"
    osfile.remove_file(state.descriptor, name)
    source = osfile.open_file(state.descriptor, f"{prefix}.index")
    try:
        changed = os.fstat(source).st_mtime_ns
        _compress(state, source, name, changed)
    finally:
        os.close(source)
    seconds = changed // 10**9
    while not _link(state, name, f"{prefix}.index.bz2.{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%S}"):
        seconds += 1
    osfile.remove_file(state.descriptor, name)


def _compress(state: StateDirectory, source: int, name: str, changed: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o600, dir_fd=state.descriptor)
    try:
        compressor = bz2.BZ2Compressor()
        while block := os.read(source, COPY_BLOCK):
            osfile.write_all(target, compressor.compress(block))
        osfile.write_all(target, compressor.flush())
        os.utime(target, ns=(changed, changed))
        os.fsync(target)
    finally:
        os.close(target)


def _link(state: StateDirectory, name: str, kept: str) -> bool:
    """Give the archive its lasting name; not when another archive has it, but the same one may."""
    try:
        os.link(name, kept, src_dir_fd=state.descriptor, dst_dir_fd=state.descriptor, follow_symlinks=False)
    except FileExistsError:
        new, old = (os.stat(path, dir_fd=state.descriptor, follow_symlinks=False) for path in (name, kept))
        return (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    return True


def _prune(state: StateDirectory, prefix: str, keep: int) -> None:
    pattern = re.compile(re.escape(f"{prefix}.index.bz2.") + r"[0-9]{14}")
    kept = [name for name in osfile.list_names(state.descriptor) if pattern.fullmatch(name)]
    for name in kept[: max(0, len(kept) - keep)]:
        osfile.remove_file(state.descriptor, name)
