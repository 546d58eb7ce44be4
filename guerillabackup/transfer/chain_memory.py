"""What was received last of each source, also when it has moved on since: tells what breaks a chain.

Only reports depend on it. What is received is appended to a journal without a sync, so that a power failure
may take its end; a line that cannot be read is passed over. Touches: hashlib, logging, os, threading.
"""

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import SourceUrlError, StorageError
from guerillabackup.osfile import PRIVATE
from guerillabackup.transfer.element_key import KEY_SIZE, uuid_key

JOURNAL = "chains"
MAX_SOURCES = 50_000
MAX_RECENT = 8
"""Elements remembered of each source."""
MAX_JOURNAL_SIZE = 256 << 20
"""Bytes of a journal that is read."""
SLACK = 20_000
"""Lines beyond what is remembered before the journal is written anew."""

log = logging.getLogger(__name__)

_Recent = dict[bytes, bytes | None]
"""Key of a DataUuid -> that of its predecessor, the newest last."""
_NONE = bytes(KEY_SIZE)
"""Of an element without a predecessor."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """How an element continues its source's chain: what is odd, and whether its predecessor is unknown."""

    doubt: str | None = None
    lacks_predecessor: bool = False
    begins_anew: bool = False
    """Whether it has no predecessor, and came after others, none of which is known to follow it."""


class ChainMemory:
    """The chains of all sources that come to one agent; safe to use from any thread, and never raises.

    Whatever the peers say, a source takes some 400 bytes of memory: it is known by a digest of its name.
    `directory` is made when it is needed; None: nothing outlives the process.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards all below, and the journal
        self._sources: OrderedDict[bytes, bytes] = OrderedDict()
        """By digest of a source, the keys of its elements and their predecessors, packed."""
        self._journal_fd: int | None = None
        self._lines = 0
        self._is_broken = False
        if directory is not None and os.path.isdir(directory):
            self._load(directory)

    def close(self) -> None:
        """Let go of the journal."""
        with self._lock:
            self._close_journal()

    def received(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo, *, was_held: bool = False
    ) -> ChainStep:
        """Note an element that came, and say how it continues what came before; nothing, when it was here."""
        if metainfo.data_uuid is None:
            return ChainStep()
        key = uuid_key(metainfo.data_uuid)
        before = None if metainfo.predecessor is None else uuid_key(metainfo.predecessor)
        source = _digest(source_url.text)
        with self._lock:
            packed = self._sources.get(source)
            recent = None if packed is None else _unpack(packed)
            step = ChainStep() if recent is None or was_held else _judge(recent, key, before)
            if not (was_held and recent is not None and key in recent):
                self._remember(source, key, before)
                self._append(source, key, before)
            return step

    def is_known(self, source_url: SourceUrl, data_uuid: bytes) -> bool:
        """Whether that element came lately."""
        with self._lock:
            return uuid_key(data_uuid) in _unpack(self._sources.get(_digest(source_url.text), b""))

    def _remember(self, source: bytes, key: bytes, before: bytes | None) -> None:
        recent = _unpack(self._sources.get(source, b""))
        recent.pop(key, None)
        recent[key] = before
        self._sources[source] = _pack(recent)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)

    def _append(self, source: bytes, key: bytes, before: bytes | None) -> None:
        if self._directory is None or self._is_broken:
            return
        try:
            if self._journal_fd is None:
                self._journal_fd = self._open(self._directory)
            os.write(self._journal_fd, _line(source, key, before))
            self._lines += 1
            if self._lines > SLACK + 2 * MAX_RECENT * len(self._sources):
                self._write_anew(self._directory)
        except (OSError, StorageError) as error:
            self._is_broken = True
            log.warning("what was received is not remembered in %s: %s", self._directory, error)

    def _open(self, directory: str) -> int:
        osfile.make_directories(directory, PRIVATE)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(os.path.join(directory, JOURNAL), flags, 0o600)

    def _close_journal(self) -> None:
        if self._journal_fd is not None:
            descriptor, self._journal_fd = self._journal_fd, None
            os.close(descriptor)

    def _write_anew(self, directory: str) -> None:
        lines = [
            _line(source, key, before)
            for source, packed in self._sources.items()
            for key, before in _unpack(packed).items()
        ]
        directory_fd = osfile.open_directory(directory)
        try:
            osfile.replace_file(directory_fd, JOURNAL, b"".join(lines))
        finally:
            os.close(directory_fd)
        self._close_journal()
        self._lines = len(lines)

    def _load(self, directory: str) -> None:
        try:
            directory_fd = osfile.open_directory(directory)
            try:
                content = osfile.read_file(directory_fd, JOURNAL, MAX_JOURNAL_SIZE)
            finally:
                os.close(directory_fd)
        except FileNotFoundError:
            return
        except (OSError, StorageError) as error:
            log.warning("what was received cannot be read from %s: %s", directory, error)
            return
        for line in content.splitlines():
            self._lines += 1
            try:
                source, key, before = line.decode("ascii").split(" ")
                keys = [None if text == "-" else bytes.fromhex(text) for text in (key, before)]
                # Names, as journals had them once, are digests from then on.
                digest = _digest(SourceUrl(source).text) if source.startswith("/") else bytes.fromhex(source)
            except (ValueError, SourceUrlError):
                continue
            is_whole = all(one is None or len(one) == KEY_SIZE for one in (digest, *keys))
            if keys[0] is not None and is_whole:
                self._remember(digest, keys[0], keys[1])


def _judge(recent: _Recent, key: bytes, before: bytes | None) -> ChainStep:
    if key in recent:
        return ChainStep("it came before: that one has gone since, or this is another version of it")
    if before is None:
        return ChainStep(begins_anew=key not in recent.values())
    if before in recent.values():
        return ChainStep("another element with the same predecessor came before: the chain has two ends")
    return ChainStep(lacks_predecessor=before not in recent)


def _digest(source: str) -> bytes:
    return hashlib.blake2b(source.encode("ascii"), digest_size=KEY_SIZE).digest()


def _pack(recent: _Recent) -> bytes:
    """Those that are remembered, the newest ones."""
    newest = list(recent.items())[-MAX_RECENT:]
    return b"".join(key + (_NONE if before is None else before) for key, before in newest)


def _unpack(packed: bytes) -> _Recent:
    parts = [packed[start : start + KEY_SIZE] for start in range(0, len(packed), KEY_SIZE)]
    return {
        key: None if before == _NONE else before for key, before in zip(parts[::2], parts[1::2], strict=True)
    }


def _line(source: bytes, key: bytes, before: bytes | None) -> bytes:
    return f"{source.hex()} {key.hex()} {'-' if before is None else before.hex()}\n".encode("ascii")
