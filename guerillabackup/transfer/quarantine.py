"""Where what a peer sent and could not be taken is kept as evidence: data, metadata and the reason.

Each element has up to three files, named by its key, never by anything a peer says. What is full keeps no
more data, only reasons, and at its limit of entries not even those: nothing is removed for something new, but
what is settled, as its element has come since. Touches: json, logging, os, threading, time, urllib.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.osfile import PRIVATE

QUARANTINE_DIRECTORY = "quarantine"
REASON = "reason"
PARTS = (REASON, "info", "data")
"""The files of an entry; the first one makes it one."""
SETTLED = "Settled"
MAX_REASON_SIZE = 1 << 16
MAX_TEXT = 2000
"""Characters of a reason."""
COPY_SIZE = 1 << 20
LINE_PAUSE = 60.0
"""Seconds between lines of the log that say that nothing is kept; the next one counts what came meanwhile."""
RECOUNT_PAUSE = 60.0
"""Seconds after which what is full is counted anew, where its directory did not tell that it changed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuarantineLimits:
    """How much is kept of one agent."""

    max_bytes: int = 1 << 30
    max_entries: int = 1000


def safe_name(agent_id: str) -> str:
    """A file name that is the agent's own, whatever it is called."""
    name = re.sub(
        "[^A-Za-z0-9_-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), agent_id
    )
    if not 0 < len(name) <= 200:
        name = f"%{hashlib.blake2b(agent_id.encode(), digest_size=16).hexdigest()}"
    return name


def agent_directory(state_directory: str, agent_id: str) -> str:
    """The quarantine of one agent."""
    return os.path.join(state_directory, QUARANTINE_DIRECTORY, safe_name(agent_id))


def list_agents(state_directory: str) -> list[str]:
    """The agents of which something was kept, as far as their names can be told from those of directories."""
    directory = os.path.join(state_directory, QUARANTINE_DIRECTORY)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [agent for name in names if safe_name(agent := unquote(name)) == name]


class Quarantine:
    """The evidence against one agent; safe to use from any thread. Nothing of it raises."""

    def __init__(
        self,
        directory: str,
        limits: QuarantineLimits = QuarantineLimits(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._limits = limits
        self._now = now
        self._lock = threading.Lock()  # guards all below, and the files
        self._sizes: dict[str, int] | None = None
        """Bytes of each entry by its name; None: not looked yet."""
        self._changed: int | None = None
        """When the directory had changed last, after what is done here; None: there was none."""
        self._counted = 0.0
        self._settled: dict[str, float] | None = None
        """When each of the settled entries came to be that; None: not looked yet."""
        self._said: float | None = None
        self._unsaid = 0
        self.dropped = 0
        """Elements of which nothing could be kept."""

    def put(
        self,
        key: bytes,
        source_url: SourceUrl,
        metainfo: BackupElementMetainfo,
        reason: str,
        data_fd: int | None = None,
    ) -> str:
        """Keep an element's evidence; the path of its reason, "" where there is no room or no way.

        `data_fd` is read from its start. What is there already of the same element is only counted.
        """
        with self._lock:
            try:
                return self._put(key.hex(), source_url, metainfo, reason, data_fd)
            except (OSError, StorageError) as error:
                self._drop(f"the evidence cannot be kept in {self.directory}: {error}", source_url)
                return ""
            finally:
                self._changed = self._find_changed()

    def settle(self, key: bytes) -> None:
        """Its element has come as it should be: what is kept of it is no finding any more."""
        with self._lock:
            try:
                if key.hex() in self._load():
                    self._settle(key.hex())
            except (OSError, StorageError, ValueError, TypeError, RecursionError) as error:
                log.warning("%s cannot be marked as settled in %s: %s", key.hex(), self.directory, error)
            finally:
                self._changed = self._find_changed()

    def usage(self) -> tuple[int, int]:
        """Entries and bytes that are kept."""
        with self._lock:
            try:
                sizes = self._load()
            except (OSError, StorageError):
                sizes = {}
            return len(sizes), sum(sizes.values())

    def _put(
        self,
        name: str,
        source_url: SourceUrl,
        metainfo: BackupElementMetainfo,
        reason: str,
        data_fd: int | None,
    ) -> str:
        sizes = self._load()
        if len(sizes) >= self._limits.max_entries and self._now() - self._counted >= RECOUNT_PAUSE:
            sizes = self._load(anew=True)
        if name not in sizes and len(sizes) >= self._limits.max_entries:
            self._drop_settled()
        if name not in sizes and len(sizes) >= self._limits.max_entries:
            what = f"{len(sizes)} elements are in {self.directory}, its limit"
            self._drop(
                f"{what}: only this line says why one more was refused: {reason[:MAX_TEXT]}", source_url
            )
            return ""
        osfile.make_directories(self.directory, PRIVATE)
        directory_fd = osfile.open_directory(self.directory)
        try:
            now = int(self._now())
            before = self._read_reason(directory_fd, name) if name in sizes else {}
            described = {
                "Source": str(source_url),
                "Reason": reason[:MAX_TEXT],
                "First": before.get("First", now),
                "Last": now,
                "Count": before.get("Count", 0) + 1,
            }
            if not before:
                sizes[name] = self._write_files(directory_fd, name, metainfo, data_fd)
            described["HasData"] = osfile.stat_file(directory_fd, f"{name}.data") is not None
            text = json.dumps(described, sort_keys=True, indent=1).encode("ascii")
            osfile.replace_file(directory_fd, f"{name}.{REASON}", text)
            if self._settled is not None:
                self._settled.pop(name, None)
        finally:
            os.close(directory_fd)
        return os.path.join(self.directory, f"{name}.{REASON}")

    def _write_files(
        self, directory_fd: int, name: str, metainfo: BackupElementMetainfo, data_fd: int | None
    ) -> int:
        """Metadata, and data as far as there is room for all of it; the bytes written. Raises OSError."""
        assert self._sizes is not None
        left = self._limits.max_bytes - sum(self._sizes.values())
        serialized = metainfo.serialize()
        size = 0
        if len(serialized) <= left:
            osfile.replace_file(directory_fd, f"{name}.info", serialized)
            size += len(serialized)
        if data_fd is not None and 0 < os.fstat(data_fd).st_size <= left - size:
            size += _copy(data_fd, directory_fd, f"{name}.data")
        return size

    def _settle(self, name: str) -> None:
        directory_fd = osfile.open_directory(self.directory)
        try:
            values = json.loads(osfile.read_file(directory_fd, f"{name}.{REASON}", MAX_REASON_SIZE))
            if SETTLED in values:
                return
            values[SETTLED] = int(self._now())
            text = json.dumps(values, sort_keys=True, indent=1).encode("ascii")
            osfile.replace_file(directory_fd, f"{name}.{REASON}", text)
        finally:
            os.close(directory_fd)
        if self._settled is not None:
            self._settled[name] = values[SETTLED]

    def _drop_settled(self) -> None:
        """Remove the entry that is settled longest, if there is one. Raises OSError."""
        assert self._sizes is not None
        directory_fd = osfile.open_directory(self.directory)
        try:
            if self._settled is None:
                self._settled = {
                    name: at for name in self._sizes if (at := _read_settled(directory_fd, name)) is not None
                }
            if self._settled:
                name = min(self._settled, key=lambda each: (self._settled or {})[each])
                discard_entry(directory_fd, name)
                del self._settled[name]
                self._sizes.pop(name, None)
        finally:
            os.close(directory_fd)

    def _drop(self, why: str, source_url: SourceUrl) -> None:
        """Nothing is kept of an element: said at once, then once a minute with a count, as peers go on."""
        self.dropped += 1
        now = self._now()
        if self._said is not None and 0 <= now - self._said < LINE_PAUSE:
            self._unsaid += 1
            return
        more = f"; so it was with {self._unsaid} others since the last such line" if self._unsaid else ""
        log.error("%s: %s%s", source_url, why, more)
        self._said, self._unsaid = now, 0

    def _find_changed(self) -> int | None:
        try:
            return os.stat(self.directory).st_mtime_ns
        except OSError:
            return None

    def _load(self, *, anew: bool = False) -> dict[str, int]:
        """What is there; a copy that a crash cut off, having no reason yet, is removed. Raises OSError.

        Looked at again when somebody else changed it, as an administrator who has seen enough.
        """
        if self._sizes is not None and not anew and self._find_changed() == self._changed:
            return self._sizes
        self._counted = self._now()
        sizes: dict[str, int] = {}
        if os.path.isdir(self.directory):
            directory_fd = osfile.open_directory(self.directory)
            try:
                names = osfile.list_names(directory_fd)
                entries = {name.removesuffix(f".{REASON}") for name in names if name.endswith(f".{REASON}")}
                for name in names:
                    entry, _, suffix = name.partition(".")
                    if entry in entries:
                        found = osfile.stat_file(directory_fd, name)
                        sizes[entry] = sizes.get(entry, 0) + (
                            found.st_size if found and suffix != REASON else 0
                        )
                    elif re.fullmatch("[0-9a-f]{32}", entry):
                        osfile.remove_file(directory_fd, name)
            finally:
                os.close(directory_fd)
        self._sizes, self._changed, self._settled = sizes, self._find_changed(), None
        return sizes

    def _read_reason(self, directory_fd: int, name: str) -> dict[str, int]:
        try:
            value = json.loads(osfile.read_file(directory_fd, f"{name}.{REASON}", MAX_REASON_SIZE))
            return {key: int(value[key]) for key in ("First", "Count")}
        except (OSError, StorageError, ValueError, KeyError, TypeError, RecursionError):
            return {}


def discard_entry(directory_fd: int, name: str) -> bool:
    """Remove what is kept of one element; whether there was something. Raises OSError.

    What a crash leaves of it is no entry any more, and removed by the next look.
    """
    removed = [osfile.remove_file(directory_fd, f"{name}.{part}") for part in PARTS]
    return any(removed)


def _read_settled(directory_fd: int, name: str) -> float | None:
    try:
        values = json.loads(osfile.read_file(directory_fd, f"{name}.{REASON}", MAX_REASON_SIZE))
        return float(values[SETTLED])
    except (OSError, StorageError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _copy(data_fd: int, directory_fd: int, name: str) -> int:
    """Copy a file durably, as far as it goes; what cannot be copied whole leaves nothing. Raises OSError."""
    osfile.remove_file(directory_fd, name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    copy_fd = os.open(name, flags, 0o600, dir_fd=directory_fd)
    try:
        try:
            offset = 0
            while block := os.pread(data_fd, COPY_SIZE, offset):
                osfile.write_all(copy_fd, block)
                offset += len(block)
            os.fsync(copy_fd)
            return offset
        finally:
            os.close(copy_fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            osfile.remove_file(directory_fd, name)
        log.error("the data of a refused element is not kept: %s", error.strerror)
        return 0
