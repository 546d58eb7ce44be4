"""Whether what was restored has every member that the last element lists.

Joins the records of an archive with the directories that it was unpacked to.
"""

from guerillabackup.restore.below import list_kinds, open_parent
from guerillabackup.restore.directory_record import UNCHANGED, normal_name
from guerillabackup.restore.tar_member import TarMember

MAX_REMEMBERED = 10_000


class StateCheck:
    """Compares the records of an archive's directories with the directories that it was unpacked to.

    `missing` holds the normal names that are listed and not there, the first ten thousand of them. `stale` is
    as many directories with something in them of which the archive has no more than the name: they could not
    be read when it was made, and are as older archives have them.
    """

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self.missing: set[bytes] = set()
        self.stale: set[bytes] = set()

    def take(self, member: TarMember) -> None:
        """The next member of the archive."""
        if member.record is None or len(self.missing) >= MAX_REMEMBERED:
            return
        directory = normal_name(member.name)
        present = self._list(directory)
        for code, name in member.record.entries:
            whole = name if directory == b"." else directory + b"/" + name
            if name not in present:
                self.missing.add(whole)
            elif code == UNCHANGED and present[name] and self._is_stale(whole):
                self.stale.add(whole)

    def _is_stale(self, directory: bytes) -> bool:
        """Of a directory that it can read, tar has a record; without one, what is there is older."""
        return len(self.stale) < MAX_REMEMBERED and bool(self._list(directory))

    def _list(self, directory: bytes) -> dict[bytes, bool]:
        """The names in a directory, and whether each is one."""
        try:
            with open_parent(self._root_fd, directory + b"/.") as descriptor:
                return list_kinds(descriptor)
        except OSError:
            return {}
