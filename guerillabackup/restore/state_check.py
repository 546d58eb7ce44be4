"""Whether what was restored has every member that the last element lists.

Joins the records of an archive with the directories that it was unpacked to.
"""

from guerillabackup.restore.below import list_all, open_parent
from guerillabackup.restore.directory_record import normal_name
from guerillabackup.restore.tar_stream import TarMember

MAX_REMEMBERED = 10_000


class StateCheck:
    """Compares the records of an archive's directories with the directories that it was unpacked to.

    `missing` holds the normal names that are listed and not there, the first ten thousand of them.
    """

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self.missing: set[bytes] = set()

    def take(self, member: TarMember) -> None:
        """The next member of the archive."""
        if member.record is None or len(self.missing) >= MAX_REMEMBERED:
            return
        directory = normal_name(member.name)
        present = self._list(directory)
        for _, name in member.record.entries:
            if name not in present:
                self.missing.add(name if directory == b"." else directory + b"/" + name)

    def _list(self, directory: bytes) -> set[bytes]:
        try:
            with open_parent(self._root_fd, directory + b"/.") as descriptor:
                return set(list_all(descriptor))
        except OSError:
            return set()
