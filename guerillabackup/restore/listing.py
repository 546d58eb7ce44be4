"""Which members a source has after its last element.

Joins what the archives of a chain hold with the table that collects it.
"""

from collections.abc import Callable, Iterator, Sequence

from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.decode import ElementDecoder
from guerillabackup.restore.directory_record import DIRECTORY, UNCHANGED, FinalNames, Rename, normal_name
from guerillabackup.restore.interface import Content, ListedMember
from guerillabackup.restore.left_out import LeftOut
from guerillabackup.restore.member_patterns import ListedNames, MemberPatterns, explain_unmatched
from guerillabackup.restore.member_table import MemberTable
from guerillabackup.restore.tar_member import MemberType, TarMember
from guerillabackup.storage.interface import StorageBackupDataElementInterface


class StateListing:
    """Lists the members of the state that a chain of archives leads to, each with what it is like there."""

    def __init__(
        self,
        decoder: ElementDecoder,
        elements: Sequence[StorageBackupDataElementInterface],
        contents: Sequence[Content],
        patterns: MemberPatterns,
    ) -> None:
        """Raises IntegrityError for an element that is no archive."""
        for element, content in zip(elements, contents, strict=True):
            if not content.is_archive:
                raise IntegrityError(f"element {element.get_element_id()} of the chain is not an archive")
        self._decoder = decoder
        self._elements = elements
        self._contents = contents
        self._patterns = patterns
        self._listed = ListedNames(patterns)

    def members(self) -> Iterator[ListedMember]:
        """The members that are wanted, sorted as a tree; names are normal ones.

        Raises what prevents reading the archives.
        After the last one: ElementNotFoundError when there are patterns that matched none.
        """
        unmatched = set(range(len(self._patterns.texts)))
        for member in self._list_full() if len(self._elements) == 1 else self._list_chain():
            if unmatched:
                unmatched.difference_update(self._patterns.matching(member.name))
            yield member
        if unmatched:
            raise ElementNotFoundError(
                explain_unmatched(self._patterns, unmatched, self._listed.positions, "member of this state")
            )

    def _list_full(self) -> Iterator[ListedMember]:
        """What is in the only archive."""
        with MemberTable() as table:

            def take(member: TarMember) -> None:
                self._look_at_record(member)
                if self._patterns.match(name := normal_name(member.name)):
                    table.add(_describe(name, member))

            self._scan(0, take)
            yield from table

    def _look_at_record(self, member: TarMember) -> None:
        if self._patterns and member.record is not None:
            for _, entry in member.record.entries:
                self._listed.add(normal_name(member.name + b"/" + entry))

    def _list_chain(self) -> Iterator[ListedMember]:
        """What the last archive holds and names; of what it only names the rest is in those before it.

        What one of those left out is not what older ones have: nothing more is known of it.
        """
        with MemberTable() as table:
            last = len(self._elements) - 1
            renames: list[list[Rename]] = [[] for _ in self._elements]
            self._scan(last, self._collector(table, renames[last]))
            lacking = table.count_incomplete()
            unknown: set[bytes | None] = set()

            def complete(index: int) -> None:
                names = FinalNames([[] if each <= index else renames[each] for each in range(last + 1)])
                left_out = LeftOut()

                def take(member: TarMember) -> None:
                    nonlocal lacking
                    if index > 0:  # nothing is older than the full, which lists most
                        left_out.take(member)
                    if member.record is not None:
                        renames[index].extend(member.record.renames)
                    final = names.of(index, normal_name(member.name))
                    if final is not None and final not in unknown and self._patterns.match(final):
                        lacking -= table.complete(_describe(final, member))

                self._scan(index, take)
                unknown.update(names.of(index, name) for name in left_out.names)

            for index in range(last - 1, -1, -1):
                if lacking > 0:
                    complete(index)
            yield from table

    def _collector(self, table: MemberTable, renames: list[Rename]) -> Callable[[TarMember], None]:
        """Takes the last archive: its directories' records list what is in them, also what is unchanged."""

        def add(member: ListedMember) -> None:
            if self._patterns.match(member.name):
                table.add(member)

        def take(member: TarMember) -> None:
            name = normal_name(member.name)
            add(_describe(name, member))
            if member.record is None:
                return
            renames.extend(member.record.renames)
            for code, entry in member.record.entries:
                below = entry if name == b"." else name + b"/" + entry
                if code == UNCHANGED:
                    add(ListedMember(below, None, None, None))
                elif code == DIRECTORY:
                    add(ListedMember(below, MemberType.DIRECTORY.value, None, None))

        return take

    def _scan(self, index: int, take: Callable[[TarMember], None]) -> None:
        self._decoder.scan(self._elements[index], self._contents[index], take)


def _describe(name: bytes, member: TarMember) -> ListedMember:
    size = member.size if member.type is MemberType.FILE else None
    return ListedMember(name, member.type.value, size, member.mtime)
