"""Which members a source has after its last element, from that element's archive alone. No I/O."""

from collections.abc import Callable, Iterator

from guerillabackup.restore.directory_record import DIRECTORY, UNCHANGED, normal_name
from guerillabackup.restore.interface import ListedMember
from guerillabackup.restore.tar_stream import MemberType, TarMember


class StateListing:
    """Turns the members of the last archive into those of the state, each once, as they come.

    A full holds them all. An incremental holds its directories, whose records list what is unchanged, and
    what changed: of the unchanged only the name is known.
    """

    def __init__(self, *, incremental: bool, is_wanted: Callable[[bytes], bool] = lambda name: True) -> None:
        self._incremental = incremental
        self._is_wanted = is_wanted
        self._announced: set[bytes] = set()

    def take(self, member: TarMember) -> Iterator[ListedMember]:
        """What one member of the archive tells; names are normal ones."""
        for found in self._find(member):
            if self._is_wanted(found.name):
                yield found

    def _find(self, member: TarMember) -> Iterator[ListedMember]:
        name = normal_name(member.name)
        if name in self._announced:
            self._announced.remove(name)
        else:
            size = member.size if member.type is MemberType.FILE else None
            yield ListedMember(name, member.type.value, size, member.mtime)
        if not self._incremental or member.record is None:
            return
        for code, entry in member.record.entries:
            below = entry if name == b"." else name + b"/" + entry
            if code == UNCHANGED:
                yield ListedMember(below, None, None, None)
            elif code == DIRECTORY:
                self._announced.add(below)
                yield ListedMember(below, MemberType.DIRECTORY.value, None, None)
