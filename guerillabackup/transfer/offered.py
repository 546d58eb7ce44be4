"""One element while it is offered to a peer, and how many may be offered together. Touches: os."""

import os
from collections.abc import Sequence
from typing import BinaryIO

from guerillabackup import osfile
from guerillabackup.errors import StorageError
from guerillabackup.osfile import storage_errors
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.transfer.interface import ElementOffer, TransferOutcome
from guerillabackup.transfer.messages import encode_grouped

SMALL_ELEMENT = 1 << 16
"""Bytes of an element up to which it is offered together with others; a larger one is offered alone."""
MAX_GROUP_DATA = 1 << 18
"""Bytes of data of elements that are offered together: they are in memory."""
MAX_GROUP_TEXT = 1 << 18
"""Bytes of what describes them, in one message."""


class Offered:
    """An offered element. Its data is open, or read, from the start: nobody deletes it before it is sent."""

    def __init__(self, element: StorageBackupDataElementInterface) -> None:
        self.element = element
        self.size = 0
        self.description = b""
        """As an item of a group."""
        self.was_described = False
        self.was_asked_for = False
        self.was_sent = False
        self._stream: BinaryIO | None = None
        self._content: bytes | None = None

    def hold(self) -> None:
        """Open its data; raises StorageError."""
        self._stream = self.element.get_data_stream()
        self.size = self._stream.seek(0, 2)
        self._stream.seek(0)

    def hold_in_group(self) -> None:
        """Get ready what a group needs; raises StorageError, and MetainfoError for what cannot be sent."""
        if not self.description:
            source_url, metainfo = self.element.get_source_url(), self.element.get_metadata()
            self.description = encode_grouped(ElementOffer(source_url, metainfo, size=self.size))
        if self.size <= SMALL_ELEMENT and self._content is None:
            with self.open_stream() as stream, storage_errors("cannot read its data"):
                content = stream.read(self.size) or b""
            if len(content) < self.size:
                raise StorageError(f"its data ends after {len(content)} of {self.size} bytes")
            self._content = content

    @property
    def is_small(self) -> bool:
        """Whether it may be offered together with others."""
        return self._content is not None

    @property
    def content(self) -> bytes:
        """Its data, of a small one in a group."""
        assert self._content is not None
        return self._content

    def open_stream(self) -> BinaryIO:
        """Its data, for the caller to close; raises StorageError."""
        stream, self._stream = self._stream, None
        return self.element.get_data_stream() if stream is None else stream

    def release(self) -> None:
        """Let go of its data."""
        self._content = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def outcome(self, was_stored: bool) -> TransferOutcome:
        """What became of it, by what was sent and what the peer says of it."""
        if was_stored:
            # Without its metadata nobody can have stored it, be it empty.
            is_evident = self.was_described and self.was_sent
            return TransferOutcome.SUCCESSFUL if is_evident else TransferOutcome.CLAIMED
        return TransferOutcome.ATTEMPTED if self.was_asked_for else TransferOutcome.REJECTED


class GroupSize:
    """How much is in a group."""

    def __init__(self) -> None:
        self._count = 0
        self._is_shared = True
        """Whether the first one may be with others."""
        self._data = 0
        self._text = 0

    def has_room(self, offered: Offered) -> bool:
        """Whether one more fits, and may be in a group with others; the first always does. Counts it."""
        self._count += 1
        self._data += offered.size
        self._text += len(offered.description)
        if self._count == 1:
            self._is_shared = offered.is_small
            return True
        return (
            self._is_shared
            and offered.is_small
            and self._data <= MAX_GROUP_DATA
            and self._text <= MAX_GROUP_TEXT
        )


def open_together(chosen: Sequence[Offered]) -> BinaryIO:
    """The data of several, one behind the other; the caller closes it. Raises StorageError."""
    if not chosen[0].is_small:
        return chosen[0].open_stream()
    with storage_errors("no memory for elements to be sent"):
        file = os.fdopen(os.memfd_create("group", os.MFD_CLOEXEC), "r+b", buffering=0)
        try:
            osfile.write_all(file.fileno(), b"".join([offered.content for offered in chosen]))
        except BaseException:
            file.close()
            raise
        return file
