"""Finds out whether an offered element is in the storage already, at a cost that does not grow with it.

An element of ours has the first free name of its second, so those names are looked at. What has another name,
as the original's in local time, is learned from one listing of its source. Touches: threading.
"""

import threading
from collections.abc import Iterator

from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.errors import ElementLockedError, ElementNotFoundError, MetainfoError
from guerillabackup.storage.interface import (
    ElementSelection,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.transfer.element_key import element_key, plain_key, uuid_key

MAX_TRIED = 16
"""Names of one second that are looked at; those of later serials are remembered instead."""

MAX_UNUSUAL = 50_000
"""Elements with a serial that are remembered as they come: a peer may send any number in one second."""
MAX_LISTED = 100_000
"""Sources that are remembered as listed."""


class HeldElements:
    """What a storage holds; safe to use from any thread."""

    def __init__(self, storage: StorageInterface) -> None:
        self._storage = storage
        self._lock = threading.Lock()  # guards all below
        self._unusual: dict[bytes, list[ElementId]] = {}
        """By key, the elements whose names do not follow from what they are."""
        self._forgotten = 0
        """How often all of both was forgotten."""
        self._listed: dict[bytes, threading.Lock] = {}
        """Digests of the sources that were listed, each with a lock that is held meanwhile."""

    def find(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        """The element that is the same one, what its metadata signs included; the latest of several."""
        while True:
            forgotten = self._forgotten
            found = self._find(source_url, metainfo)
            # Else what was learned from the listing may have been forgotten before it was looked at.
            if found is not None or forgotten == self._forgotten:
                return found

    def _find(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        self._list_once(source_url)
        found = None
        for element in self._candidates(source_url, metainfo):
            try:
                there = element.get_metadata()
            except (ElementNotFoundError, MetainfoError):
                continue
            if there.is_same_element(metainfo) and _signs_the_same(there, metainfo):
                found = element
        return found

    def hold(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> StorageBackupDataElementInterface | None:
        """What `find` finds, locked: it stays here until it is unlocked.

        ElementLockedError when it cannot be, as when it is offered to somebody, or about to be deleted.
        """
        found = self.find(source_url, metainfo)
        if found is None:
            return None
        try:
            found.lock()
        except ElementNotFoundError:
            return None
        try:
            # What has the name now is perhaps not what had it.
            now = self._storage.get_backup_data_element(found.get_element_id())
            if now.get_metadata() == found.get_metadata():
                return found
        except BaseException:
            found.unlock()
            raise
        found.unlock()
        raise ElementLockedError(f"element {found.get_element_id()} was replaced just now")

    def added(self, element_id: ElementId, metainfo: BackupElementMetainfo) -> None:
        """Note an element that was stored."""
        if element_id.serial is not None:
            with self._lock:
                if len(self._unusual) >= MAX_UNUSUAL:
                    # Each source is listed again: nothing of it is lost.
                    self._unusual.clear()
                    self._listed.clear()
                    self._forgotten += 1
            self._note(element_key(element_id.source_url, metainfo), element_id)

    def has_data_uuid(self, source_url: SourceUrl, data_uuid: bytes) -> bool:
        """Whether an element of the source has that DataUuid. Lists the source."""
        selection = ElementSelection(source_url.text, data_uuids=frozenset((data_uuid,)), is_exact=True)
        return any(True for _ in self._storage.list_facts(selection))

    def _candidates(
        self, source_url: SourceUrl, metainfo: BackupElementMetainfo
    ) -> Iterator[StorageBackupDataElementInterface]:
        tried = set()
        for number in range(MAX_TRIED):
            serial = None if number == 0 else number - 1
            element_id = ElementId.label(source_url, metainfo.timestamp, metainfo.backup_type, serial)
            try:
                yield self._storage.get_backup_data_element(element_id)
            except ElementNotFoundError:
                break
            tried.add(element_id)
        if self._unusual:
            with self._lock:
                known = list(self._unusual.get(element_key(source_url, metainfo), ()))
            for element_id in known:
                if element_id not in tried:
                    try:
                        yield self._storage.get_backup_data_element(element_id)
                    except ElementNotFoundError:
                        self._forget(element_key(source_url, metainfo), element_id)

    def _note(self, key: bytes, element_id: ElementId) -> None:
        with self._lock:
            ids = self._unusual.setdefault(key, [])
            if element_id not in ids:
                ids.append(element_id)

    def _forget(self, key: bytes, element_id: ElementId) -> None:
        with self._lock:
            ids = self._unusual.get(key, [])
            if element_id in ids:
                ids.remove(element_id)
            if not ids:
                self._unusual.pop(key, None)

    def _list_once(self, source_url: SourceUrl) -> None:
        """Learn the unusual names of a source, the first time it is asked for."""
        source = uuid_key(source_url.text.encode("ascii"))
        with self._lock:
            listing = self._listed.get(source)
            is_first = listing is None
            if listing is None:
                if len(self._listed) >= MAX_LISTED:
                    self._listed.clear()
                listing = self._listed[source] = threading.Lock()
                listing.acquire()
        if not is_first:
            with listing:
                return
        try:
            for facts in self._storage.list_facts(ElementSelection.of_source(source_url)):
                if facts.timestamp is None:
                    continue
                element_id = ElementId.parse(facts.element_id)
                usual = ElementId.label(source_url, facts.timestamp, BackupType(facts.backup_type))
                if element_id != usual:
                    key = plain_key(
                        facts.source_url, facts.backup_type, facts.timestamp, facts.data_uuid, facts.checksum
                    )
                    self._note(key, element_id)
        except BaseException:
            with self._lock:
                self._listed.pop(source, None)
            raise
        finally:
            listing.release()


def _signs_the_same(one: BackupElementMetainfo, other: BackupElementMetainfo) -> bool:
    """Whether they differ in nothing but what transfers set."""
    return one.metadata_signature == other.metadata_signature and one.signed_bytes() == other.signed_bytes()
