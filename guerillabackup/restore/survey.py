"""What has to be known of the archives of a chain before the first of them is unpacked. No I/O.

tar keeps the members of one archive inside the target, but not those of the next one: a link that an earlier
element left behind would lead it out. `ArchiveSurvey` finds what has to be looked at on disk before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guerillabackup.errors import IntegrityError
from guerillabackup.restore.directory_record import (
    DIRECTORY,
    UNCHANGED,
    DirectoryRecord,
    FinalNames,
    Rename,
    group_renames,
    normal_name,
)
from guerillabackup.restore.member_patterns import ListedNames, MemberPatterns, explain_unmatched, show
from guerillabackup.restore.tar_member import MemberType, TarMember

_MAY_LEAD_ELSEWHERE = (MemberType.SYMBOLIC_LINK, MemberType.HARD_LINK)
"""A hard link to a symbolic link is one too, and that may have come with any earlier element."""


@dataclass(slots=True)
class ArchiveSurvey:
    """Collects, member by member, what one incremental archive will do to the directories it is unpacked to.

    `roots` are directories that the record of their parent does not call so, or whose parent is not in the
    archive: something else may be in their place. `outside` are the directories that members are put
    into and that are not in the archive themselves. `unchanged` holds, for each directory that renames
    concern, the names in it that are not in the archive because they are as they were.
    """

    renames: list[Rename] = field(default_factory=list)
    roots: set[bytes] = field(default_factory=set)
    outside: set[bytes] = field(default_factory=set)
    unchanged: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    _directories: set[bytes] = field(default_factory=set)
    _announced: set[bytes] = field(default_factory=set)
    _links: set[bytes] = field(default_factory=set)

    def take(self, member: TarMember) -> None:
        """The next member; raises IntegrityError for one that leads out of the target."""
        name = normal_name(member.name)
        self._enter(_parent(name))
        if member.type is MemberType.HARD_LINK:
            self._enter(_parent(normal_name(member.link_target)))
        if member.type is MemberType.DIRECTORY:
            if name not in self._announced:
                self.roots.add(name)
            self._announced.discard(name)
            self._directories.add(name)
            if member.record is not None:
                self.renames += member.record.renames
                prefix = b"" if name == b"." else name + b"/"
                self._announced.update(
                    prefix + entry for code, entry in member.record.entries if code == DIRECTORY
                )
                self._remember_unchanged(name, member.record)
        elif member.type in _MAY_LEAD_ELSEWHERE:
            self._links.add(name)

    def end(self) -> None:
        """All members were taken; raises IntegrityError when a link of the archive is used as a directory."""
        group_renames(self.renames)
        for name in self.outside | self._directories:
            while name != b".":
                if name in self._links:
                    raise IntegrityError(f"an archive holds {show(name)} as a link and as a directory")
                name = _parent(name)
        self._directories.clear()
        self._announced.clear()
        self._links.clear()

    def _remember_unchanged(self, name: bytes, record: DirectoryRecord) -> None:
        # tar writes the renames into the record of the first directory, before all they concern.
        paths = (path for rename in self.renames for path in (rename.source, rename.target) if path)
        if any(name == path or name.startswith(path + b"/") for path in paths):
            self.unchanged[name] = frozenset(entry for code, entry in record.entries if code == UNCHANGED)

    def _enter(self, directory: bytes) -> None:
        if directory not in self._directories and directory != b".":
            self.outside.add(directory)


class Selection:
    """Which members of each element of a chain are wanted, by what they are called at its end.

    Directories always are, so that deletions and renames are replayed; what a wanted hard link refers to is
    too. `take` sees all members of all elements first, `is_wanted` decides in the second pass.
    """

    def __init__(self, patterns: MemberPatterns, renames: Sequence[Sequence[Rename]]) -> None:
        self.patterns = patterns
        self._names = FinalNames(renames)
        self._linked: list[set[bytes]] = [set() for _ in renames]
        self._unmatched = set(range(len(patterns.texts)))
        self._listed = ListedNames(patterns)

    def take(self, index: int, member: TarMember) -> None:
        """A member of element `index`, in the first pass."""
        final = self._final_name(index, member.name)
        if final is None:
            return
        if self._unmatched:
            self._unmatched -= set(self.patterns.matching(final))
            self._look_at_record(index, member)
        if member.type is MemberType.HARD_LINK and self.patterns.match(final):
            self._linked[index].add(normal_name(member.link_target))

    @property
    def problem(self) -> str | None:
        """What to say of patterns that matched no member of any element; None when there are none."""
        if not self._unmatched:
            return None
        return explain_unmatched(self.patterns, self._unmatched, self._listed.positions)

    def _look_at_record(self, index: int, member: TarMember) -> None:
        for _, entry in () if member.record is None else member.record.entries:
            final = self._final_name(index, member.name + b"/" + entry)
            if final is not None:
                self._listed.add(final)

    def is_wanted(self, index: int) -> Callable[[TarMember], bool]:
        """The decision for the members of element `index`, in the second pass."""
        linked = self._linked[index]

        def decide(member: TarMember) -> bool:
            if member.type is MemberType.DIRECTORY:
                return True
            final = self._final_name(index, member.name)
            if final is not None and self.patterns.match(final):
                return True
            return bool(linked) and normal_name(member.name) in linked

        return decide

    def _final_name(self, index: int, name: bytes) -> bytes | None:
        return self._names.of(index, normal_name(name))


def _parent(name: bytes) -> bytes:
    return name.rpartition(b"/")[0] or b"."
