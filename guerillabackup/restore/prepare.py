"""What is done to a directory before tar unpacks an incremental into it: renames, and making way.

tar would follow links that earlier elements left; here none is followed. And what GNU tar records is not
always what happened: renames nested in one another come in an order that cannot be replayed, and a circle of
them comes again in later incrementals. So what is unchanged according to the archive has to be found on disk,
and a rename is done only where that speaks for it; what stays in doubt is told. Touches: os, secrets.
"""

import contextlib
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from guerillabackup.errors import IntegrityError, StorageError
from guerillabackup.osfile import storage_errors
from guerillabackup.restore.below import exists, is_directory, last_step, list_all, open_parent, remove
from guerillabackup.restore.directory_record import TEMPORARY, Rename, group_renames
from guerillabackup.restore.member_patterns import show

_PASSING_PREFIX = b".guerillabackup-"
MAX_COMPARED = 64
"""Renames of one incremental that are compared with one another at a time."""


def apply_renames(
    root_fd: int, renames: Sequence[Rename], unchanged: Mapping[bytes, Collection[bytes]]
) -> list[str]:
    """Rename directories as an incremental says; what a renamed directory takes the place of goes.

    `unchanged` are the names that the archive leaves out, by directory. Hands back a text for each rename
    that was not possible or that could mean two directories. A link on the way is never followed.
    """
    pending = group_renames(renames)
    circle = _free_name(root_fd) if pending else b""
    doubts: list[str] = []
    while pending:
        possible = [group for group in pending if _is_there(root_fd, group[0].source)]
        if not possible:
            break
        ready = [group for group in possible if not _destroys(group, possible)] or possible
        group, weight = _choose(root_fd, ready, unchanged)
        pending.remove(group)
        if weight.misses_when_done > weight.misses_when_not:
            continue
        if weight.misses_when_done == weight.misses_when_not and weight.names > 0:
            doubts.append(f"whether directory {show(group[0].source)} was renamed cannot be told for sure")
        for rename in group:
            if not _rename(root_fd, rename.source or circle, rename.target or circle):
                doubts.append(f"directory {show(rename.source)} cannot be renamed to {show(rename.target)}")
    doubts += [
        f"directory {show(group[0].source)} is not there to be renamed to {show(group[0].target)}"
        for group in pending
    ]
    return doubts


def make_way(root_fd: int, directories: Iterable[bytes]) -> None:
    """Remove what is not a directory where an archive has one; a link there would lead tar out."""
    for name in sorted(directories):
        if name == b".":
            continue
        with (
            _in_target(f"unpack {show(name)}"),
            contextlib.suppress(FileNotFoundError),
            open_parent(root_fd, name) as parent_fd,
        ):
            if not is_directory(parent_fd, last_step(name)):
                os.unlink(last_step(name), dir_fd=parent_fd)


def check_plain(root_fd: int, directories: Iterable[bytes]) -> None:
    """Raises IntegrityError when one of these paths leads over anything but directories, as far as it is."""
    for name in sorted(directories):
        with (
            _in_target(f"unpack into {show(name)}"),
            contextlib.suppress(FileNotFoundError),
            open_parent(root_fd, name + b"/."),
        ):
            pass


def _rename(root_fd: int, source: bytes, target: bytes) -> bool:
    """Move one directory, by a place outside of both: one may be inside of the other."""
    if target.startswith(source + b"/"):
        return False
    with _in_target(f"rename {show(source)} to {show(target)}"):
        with open_parent(root_fd, source) as source_fd:
            if not exists(source_fd, last_step(source)):
                return False
            passing = _free_name(root_fd)
            os.rename(last_step(source), passing, src_dir_fd=source_fd, dst_dir_fd=root_fd)
        with open_parent(root_fd, target, make=True) as target_fd:
            remove(target_fd, last_step(target))
            os.rename(passing, last_step(target), src_dir_fd=root_fd, dst_dir_fd=target_fd)
    return True


def _free_name(root_fd: int) -> bytes:
    """A name that nothing has; what is restored may hold any name that is fixed."""
    while True:
        name = _PASSING_PREFIX + secrets.token_hex(16).encode("ascii")
        if not exists(root_fd, name):
            return name


class _Weight(NamedTuple):
    """How many of the unchanged names would not be found after a rename, or without it, of how many."""

    misses_when_done: int
    misses_when_not: int
    names: int


def _choose(
    root_fd: int, groups: Sequence[list[Rename]], unchanged: Mapping[bytes, Collection[bytes]]
) -> tuple[list[Rename], _Weight]:
    """The first of the groups for which the most speaks; among very many just the first."""
    weighed = [(group, _weigh(root_fd, group, unchanged)) for group in groups[:MAX_COMPARED]]
    return min(weighed, key=lambda each: each[1].misses_when_done)


def _weigh(root_fd: int, group: Sequence[Rename], unchanged: Mapping[bytes, Collection[bytes]]) -> _Weight:
    origin = {
        rename.target: (rename.source if rename.source != TEMPORARY else group[0].source)
        for rename in group
        if rename.target != TEMPORARY
    }
    sources = [rename.source for rename in group if rename.source != TEMPORARY]
    done = undone = names = 0
    for directory, wanted in unchanged.items():
        target = _above(directory, origin)
        if target is None and _above(directory, sources) is None:
            continue
        names += len(wanted)
        undone += len(set(wanted) - _names_in(root_fd, directory))
        if target is None:
            done += len(wanted)
        else:
            done += len(set(wanted) - _names_in(root_fd, origin[target] + directory[len(target) :]))
    return _Weight(done, undone, names)


def _above(name: bytes, directories: Iterable[bytes]) -> bytes | None:
    """The longest of the directories that the name is or is below."""
    found = [each for each in directories if name == each or name.startswith(each + b"/")]
    return max(found, key=len, default=None)


def _names_in(root_fd: int, directory: bytes) -> set[bytes]:
    try:
        with open_parent(root_fd, directory + b"/.") as descriptor:
            return set(list_all(descriptor))
    except OSError:
        return set()


def _destroys(group: Sequence[Rename], groups: Sequence[Sequence[Rename]]) -> bool:
    """Whether it would take the place of what another group has still to move away."""
    sources = [other[0].source for other in groups if other is not group]
    targets = [rename.target for rename in group if rename.target]
    return any(
        source == target or source.startswith(target + b"/") for source in sources for target in targets
    )


def _is_there(root_fd: int, name: bytes) -> bool:
    """Whether a directory can be reached by this name without following a link."""
    with _in_target(f"rename {show(name)}"):
        try:
            with open_parent(root_fd, name) as parent_fd:
                return is_directory(parent_fd, last_step(name))
        except (FileNotFoundError, NotADirectoryError):
            return False


@contextlib.contextmanager
def _in_target(action: str) -> Iterator[None]:
    """A link or a file where a directory has to be is the archive's fault."""
    try:
        with storage_errors(f"cannot {action}"):
            yield
    except StorageError as error:
        if isinstance(error.__cause__, NotADirectoryError):
            raise IntegrityError(
                f"an element would {action} through something that is no directory"
            ) from error
        raise
