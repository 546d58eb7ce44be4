"""What GNU tar writes into each directory of an incremental archive, and what it means for names. No I/O.

A directory record (tar calls it dumpdir) lists the directory: `Y` a member in this archive, `N` one unchanged
since, `D` a directory. The first directory's record also says which directories were renamed: `R` from, `T`
to, both whole paths; an empty path is the temporary place that `X` opens for renames in a circle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.member_patterns import show

TEMPORARY = b""
"""Stands for the temporary place in a rename; no path is empty."""
IN_ARCHIVE, UNCHANGED, DIRECTORY = b"Y", b"N", b"D"
_ENTRY_CODES = (IN_ARCHIVE, UNCHANGED, DIRECTORY)


@dataclass(frozen=True, slots=True)
class Rename:
    """One directory moved: normal names; TEMPORARY on one side for a step of a circle."""

    source: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class DirectoryRecord:
    """A directory's entries as (code, name), and renames in the order they have to be done."""

    entries: tuple[tuple[bytes, bytes], ...]
    renames: tuple[Rename, ...]
    has_rename_records: bool

    @classmethod
    def parse(cls, data: bytes) -> "DirectoryRecord":
        """Raises IntegrityError for what tar would not have written."""
        entries: list[tuple[bytes, bytes]] = []
        renames: list[Rename] = []
        source: bytes | None = None
        special = False
        for record in data.split(b"\0"):
            if not record:
                continue
            code, text = record[:1], record[1:]
            if code in _ENTRY_CODES:
                if not text or b"/" in text or text in (b".", b".."):
                    raise IntegrityError(f"directory record of an archive lists the name {show(text)}")
                entries.append((code, text))
                continue
            special = True
            if code == b"R" and source is None:
                source = _rename_path(text)
            elif code == b"T" and source is not None:
                renames.append(Rename(source, _rename_path(text)))
                source = None
            elif code != b"X" or source is not None:
                raise IntegrityError(f"directory record of an archive has {show(record)} where it cannot be")
        if source is not None:
            raise IntegrityError("directory record of an archive ends within a rename")
        return cls(tuple(entries), tuple(renames), special)

    def serialize_entries(self) -> bytes:
        """The record without its renames, as it stands in an archive."""
        return b"".join(code + name + b"\0" for code, name in self.entries) + b"\0"


def group_renames(renames: Iterable[Rename]) -> list[list[Rename]]:
    """The renames that belong together: each alone, or all of a circle; raises IntegrityError."""
    groups: list[list[Rename]] = []
    is_open = False
    for rename in renames:
        if is_open:
            groups[-1].append(rename)
        else:
            groups.append([rename])
        if (rename.target == TEMPORARY) == is_open and TEMPORARY in (rename.source, rename.target):
            raise IntegrityError("an archive renames directories in circles within one another")
        is_open = rename.target == TEMPORARY or (is_open and rename.source != TEMPORARY)
    if is_open or any(group[0].source == TEMPORARY for group in groups):
        raise IntegrityError("an archive renames directories in a circle that is not closed")
    return groups


def normal_name(name: bytes) -> bytes:
    """A member's path below the target: no leading `/` or `./`, no trailing or double slash; `.` for itself.

    Raises IntegrityError when it leads up.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise IntegrityError(f"an archive holds the name {show(name)}, which leads out of it")
    return b"/".join(parts) or b"."


def rename_forward(name: bytes, renames: Iterable[Rename]) -> bytes | None:
    """What a normal name is called after renames; None when a renamed directory took its place."""
    temporary: bytes | None = None
    for rename in renames:
        if rename.source == TEMPORARY:
            if temporary is not None:
                name, temporary = rename.target + temporary, None
                continue
        elif (below := _path_below(name, rename.source)) is not None and temporary is None:
            if rename.target == TEMPORARY:
                temporary = below
            else:
                name = rename.target + below
            continue
        if temporary is None and rename.target != TEMPORARY and _path_below(name, rename.target) is not None:
            return None
    return name if temporary is None else None


class FinalNames:
    """What members of each element of a chain are called when all of it was applied.

    `renames` holds those of each element, the first one's included (they are done before its members come).
    """

    def __init__(self, renames: Sequence[Sequence[Rename]]) -> None:
        self._renames = [(index, each) for index, each in enumerate(renames) if each]

    def of(self, index: int, name: bytes) -> bytes | None:
        """For a normal name in element `index`; None when nothing of it is left."""
        current: bytes | None = name
        for later, renames in self._renames:
            if later > index and current is not None:
                current = rename_forward(current, renames)
        return current


def _path_below(name: bytes, directory: bytes) -> bytes | None:
    """The rest of the name after a directory that it is or is below: empty, or from the slash on."""
    if name == directory:
        return b""
    if name.startswith(directory) and name[len(directory) : len(directory) + 1] == b"/":
        return name[len(directory) :]
    return None


def _rename_path(text: bytes) -> bytes:
    if not text:
        return TEMPORARY
    name = normal_name(text)
    if name == b".":
        raise IntegrityError("an archive renames the directory it is unpacked to")
    return name
