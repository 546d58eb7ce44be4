"""An element's data on its way to a peer, and how far it is. Touches: os."""

import os
from typing import BinaryIO

from guerillabackup.errors import StorageError


class OutgoingStream:
    """An element's data on its way to the peer."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.offset = 0
        self.part_left = 0
        self.is_ended = False
        try:
            self.descriptor = file.fileno()
            self.size = os.fstat(self.descriptor).st_size
        except BaseException:
            file.close()
            raise

    def read_all(self) -> bytes:
        """All of it, of a small one; raises StorageError."""
        data = os.pread(self.descriptor, self.size, 0)
        if len(data) < self.size:
            raise self.cut(len(data))
        return data

    def cut(self, size: int) -> StorageError:
        """What is wrong when there is no more of it than that."""
        return StorageError(f"the element's data ends after {size} of {self.size} bytes: it was changed")
