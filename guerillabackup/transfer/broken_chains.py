"""The chains that lack an element at their receiver: told until that or a new full comes.

They are in a small file of the state directory, which is replaced as a whole; what cannot be read of it is
passed over, and only reports depend on it. Touches: base64, json, logging, os, threading.
"""

import base64
import json
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from guerillabackup import osfile
from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.element_json import shorten_uuid
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.osfile import PRIVATE

AGENTS_DIRECTORY = "agents"
BROKEN = "broken"
MAX_BROKEN = 1000
"""Elements without their predecessors that are remembered of all sources."""
MAX_FILE_SIZE = 8 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BrokenChain:
    """An element that came while the one it follows did not."""

    agent_id: str
    element_id: ElementId
    predecessor: bytes
    since: float

    @property
    def message(self) -> str:
        """What is wrong, and what to do about it."""
        return (
            f"{self.element_id} came, and the element it follows (DataUuid {shorten_uuid(self.predecessor)}) "
            "did not: it and what follows it cannot be restored from here; have that element sent, or a new "
            "full made at the source with: guerillabackup generator run --once --full --source "
            f"{self.element_id.source_url}"
        )

    def describe(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "peer": self.agent_id,
            "source": self.element_id.source_url.text,
            "element": str(self.element_id),
            "predecessor": base64.b64encode(self.predecessor).decode("ascii"),
            "since": self.since,
        }


def breaks_chain(source_url: SourceUrl, metainfo: BackupElementMetainfo) -> bool:
    """Whether an element is worth nothing without its predecessor: fulls and lists of members need none."""
    return metainfo.backup_type is not BackupType.FULL and not source_url.is_members


class BrokenChains:
    """The broken chains of what comes to one agent; safe to use from any thread, and never raises.

    `directory` is made when it is needed; None: nothing outlives the process.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # guards the list, and its file
        self._broken = [] if directory is None else _read(directory)

    def add(self, found: Iterable[BrokenChain]) -> None:
        """Remember these."""
        with self._lock:
            known = {each.element_id for each in self._broken}
            new = [each for each in found if each.element_id not in known]
            if new:
                self._broken = [*self._broken, *new][-MAX_BROKEN:]
                self._write()

    def received(self, source_url: SourceUrl, metainfo: BackupElementMetainfo) -> None:
        """Forget those that an element mends, which is durable here."""
        if not self._broken:
            return
        with self._lock:
            left = [each for each in self._broken if not _is_mended(each, source_url, metainfo)]
            if len(left) < len(self._broken):
                self._broken = left
                self._write()

    def _write(self) -> None:
        if self._directory is None:
            return
        content = json.dumps([each.describe() for each in self._broken], indent=0)
        try:
            osfile.make_directories(self._directory, PRIVATE)
            directory_fd = osfile.open_directory(self._directory)
            try:
                osfile.replace_file(directory_fd, BROKEN, content.encode("ascii"))
            finally:
                os.close(directory_fd)
        except (OSError, GuerillaBackupError) as error:
            log.warning("which chains are broken is not remembered in %s: %s", self._directory, error)


def list_broken_chains(state_directory: str) -> list[BrokenChain]:
    """Those of all agents that receive with this state directory, the latest last."""
    directory = os.path.join(state_directory, AGENTS_DIRECTORY)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    found = [each for name in names for each in _read(os.path.join(directory, name))]
    return sorted(found, key=lambda each: each.since)


def _is_mended(broken: BrokenChain, source_url: SourceUrl, metainfo: BackupElementMetainfo) -> bool:
    if broken.element_id.source_url != source_url:
        return False
    if metainfo.data_uuid == broken.predecessor:
        return True
    made = ElementId.label(source_url, metainfo.timestamp, metainfo.backup_type)
    return metainfo.backup_type is BackupType.FULL and made.digits >= broken.element_id.digits


def _read(directory: str) -> list[BrokenChain]:
    try:
        directory_fd = osfile.open_directory(directory)
        try:
            values = json.loads(osfile.read_file(directory_fd, BROKEN, MAX_FILE_SIZE))
        finally:
            os.close(directory_fd)
        return [
            BrokenChain(
                str(each["peer"]),
                ElementId.parse(each["element"]),
                base64.b64decode(each["predecessor"], validate=True),
                float(each["since"]),
            )
            for each in values
        ]
    except FileNotFoundError:
        return []
    except (OSError, GuerillaBackupError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.debug("which chains are broken cannot be read in %s: %s", directory, error)
        return []
