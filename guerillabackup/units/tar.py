"""TarBackupUnit: full and incremental tar archives of directory trees, each with a list of its members.

That an element and the memory of it are one step is `generator/pending.py`'s affair; the forms of the memory
stand in `tar_memory.py`. It joins the pipelines, the storage and the unit's memory.
"""

import base64
import logging
import os
from dataclasses import replace
from typing import Any

from guerillabackup.element import (
    BackupElementMetainfo,
    BackupType,
    ElementId,
    SourceUrl,
    make_data_uuid,
)
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.events import (
    ElementStored,
    PipelineProgress,
    SourceFailed,
    SourceStarted,
    SourceWarning,
    StageProgress,
)
from guerillabackup.generator.interface import (
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    UnitContext,
)
from guerillabackup.generator.pending import forget_pending, recover, store_together
from guerillabackup.generator.state import OLD_STATE, STATE, StateDirectory
from guerillabackup.generator.timing import Due, next_backup
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.units import tar_index
from guerillabackup.units.tar_memory import (
    SourceMemory,
    advanced,
    dump_extras,
    dump_memories,
    dump_state,
    parse_memories,
    parse_memory,
)
from guerillabackup.units.tar_run import (
    Archive,
    StoredStream,
    downstream_elements,
    make_archive,
    surrounded,
)
from guerillabackup.units.tar_source import TarSource, parse_sources

CONFIG_KEY = "TarBackupUnitConfigList"
EXTRAS = "extras.current"
"""State file for what the original does not know: the chain of the members' lists, and sizes to expect."""
RETRY_SECONDS = 3600
IDLE_SECONDS = 3600
MAX_COMPLAINTS = 20
"""Lines of tar's that are reported one by one."""

log = logging.getLogger(__name__)


class TarBackupUnit(SchedulableGeneratorUnitInterface):
    """Backs up the sources of TarBackupUnitConfigList, one after the other."""

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        self._sources = [
            _without_storage(source, context)
            for source in parse_sources(context.configuration.get(CONFIG_KEY))
        ]
        self._keys_directory = os.path.join(context.config_directory, "keys")
        self._downstream = {
            source.source_url: downstream_elements(source, context.configuration, self._keys_directory)
            for source in self._sources
        }
        self._stall_timeout = float(context.configuration.get("PipelineStallTimeout") or 3600)
        self._retry_at: dict[SourceUrl, float] = {}
        self._state = StateDirectory(context.state_directory)
        try:
            self._memory = _load_memory(self._state)
            self._recover()
        except BaseException:
            self._state.close()
            raise

    def close(self) -> None:
        self._state.close()

    def get_next_invocation_time(self) -> float:
        now = self._context.clock()
        waits = [
            max(self._due(source, now).seconds, self._retry_at.get(source.source_url, now) - now)
            for source in self._sources
        ]
        return max(0.0, min(waits, default=IDLE_SECONDS))

    def invoke_unit(self) -> list[SourceOutcome]:
        self._recover()
        outcomes = []
        for source in self._sources:
            now = self._context.clock()
            due = self._due(source, now)
            if due.seconds <= 0 and self._retry_at.get(source.source_url, now) <= now:
                outcomes.append(self._back_up(source, due))
        return outcomes

    def _due(self, source: TarSource, now: float) -> Due:
        memory = self._memory.get(source.source_url, SourceMemory())
        due = next_backup(now, memory.last_full, memory.last_any, source.full_timing, source.inc_timing)
        if due.backup_type is BackupType.FULL:
            return due
        if memory.last_uuid is None or not tar_index.has_index(self._state, source.index_prefix):
            return replace(due, backup_type=BackupType.FULL, reason="there is no index to go on from")
        return due

    def _back_up(self, source: TarSource, due: Due) -> SourceOutcome:
        """One element of one source; its failure is in the outcome."""
        url = source.source_url
        log.info("source %s: %s backup, because %s", url, due.backup_type.value, due.reason)
        self._context.listen(SourceStarted(self._unit_name, url, due.backup_type.value))
        try:
            element_id = _TarRun(
                self._context, self._unit_name, source, self._downstream[url], self._state
            ).run(due.backup_type, self._memory.get(url, SourceMemory()), self._stall_timeout, self._remember)
        except GuerillaBackupError as error:
            self._retry_at[url] = self._context.clock() + RETRY_SECONDS
            log.error("source %s: no backup: %s", url, error)
            self._context.listen(SourceFailed(self._unit_name, url, str(error), RETRY_SECONDS))
            return SourceOutcome(url, None, error, RETRY_SECONDS)
        self._retry_at.pop(url, None)
        return SourceOutcome(url, element_id)

    def _recover(self) -> None:
        """Finish what a crash interrupted between storing and remembering."""
        recovered = recover(self._state, self._context.storage)
        if recovered is None:
            return
        try:
            url, memory = _parse_details(recovered.details)
        except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
            raise self._state.damaged("state.pending", str(error)) from error
        if not recovered.are_present[0]:
            # Moved on by now, or damaged: no incremental backup may build on what cannot be looked at.
            memory = replace(memory, last_full=None)
        log.warning("source %s: finished what an interrupted run had begun to store", url)
        self._remember(recovered.details, memory)

    def _remember(self, details: dict[str, Any], memory: SourceMemory) -> None:
        """Take note of a stored element; every step can be repeated after a crash."""
        url = SourceUrl(details["SourceUrl"])
        prefix = str(details["IndexPrefix"])
        if details["HasIndex"]:
            tar_index.promote_index(self._state, prefix, int(details["KeepIndices"]))
        else:
            tar_index.drop_index(self._state, prefix)
        self._memory[url] = memory
        current, extras = dump_memories(self._memory)
        self._state.save(EXTRAS, extras)
        self._state.save(STATE, current, keep_as=OLD_STATE)
        forget_pending(self._state)


class _TarRun:
    """The making of one element and of its list of members."""

    def __init__(
        self,
        context: UnitContext,
        unit_name: str,
        source: TarSource,
        downstream: list[Any],
        state: StateDirectory,
    ) -> None:
        self._context = context
        self._unit_name = unit_name
        self._source = source
        self._downstream = downstream
        self._state = state

    def run(
        self, backup_type: BackupType, memory: SourceMemory, stall_timeout: float, remember: Any
    ) -> ElementId | None:
        """The id of the stored element; None in test mode."""
        source, url = self._source, self._source.source_url
        began = self._context.clock()
        has_index = source.inc_timing is not None
        index_path = None
        if has_index:
            index_path = tar_index.begin_index(
                self._state, source.index_prefix, from_current=backup_type is BackupType.INC
            )
        storage = self._context.storage
        with storage.get_sink_handle(url) as handle, storage.get_sink_handle(url.members()) as members_handle:
            with surrounded(source, is_skipped=self._context.test_mode, stall_timeout=stall_timeout):
                timestamp = int(self._context.clock())
                archive = make_archive(
                    source,
                    backup_type,
                    index_path,
                    self._downstream,
                    handle.get_sink_stream(),
                    members_handle.get_sink_stream(),
                    stall_timeout,
                    lambda seconds, stages: self._report_progress(seconds, stages, memory, backup_type),
                )
            self._report_complaints(archive)
            if self._context.test_mode:
                tar_index.discard_next_index(self._state, source.index_prefix)
                return None
            metainfo = self._describe(url, backup_type, timestamp, archive.data, memory.last_uuid, handle, {})
            parts = [(handle, metainfo)]
            members = None
            if archive.members is not None:
                members = self._describe(
                    url.members(),
                    backup_type,
                    timestamp,
                    archive.members,
                    memory.members_uuid,
                    members_handle,
                    {"MembersOf": base64.b64encode(metainfo.data_uuid or b"").decode("ascii")},
                )
                parts.append((members_handle, members))
            if has_index:
                tar_index.sync_index(self._state, source.index_prefix)
            new_memory = advanced(memory, backup_type, metainfo, members, archive.content_size)
            details = _make_details(source, has_index, new_memory)
            element = store_together(self._state, parts, details)[0]
        remember(details, new_memory)
        self._context.listen(
            ElementStored(
                self._unit_name,
                element.get_element_id(),
                archive.content_size,
                archive.data.size,
                self._context.clock() - began,
            )
        )
        return element.get_element_id()

    def _describe(
        self,
        url: SourceUrl,
        backup_type: BackupType,
        timestamp: int,
        stored: StoredStream,
        predecessor: bytes | None,
        handle: SinkHandleInterface,
        extra: dict[str, Any],
    ) -> BackupElementMetainfo:
        """The signed metadata of one element."""
        values: dict[str, Any] = {
            "BackupType": backup_type.value,
            "Timestamp": timestamp,
            "DataUuid": make_data_uuid(predecessor, stored.digest, timestamp, url),
            "StorageFileChecksumSha512": stored.digest,
            **extra,
        }
        if predecessor is not None:
            values["Predecessor"] = predecessor
        if self._source.policy is not None:
            values["HandlingPolicy"] = [self._source.policy]
        if self._context.data_signature is not None:
            values["StorageFileSignature"] = self._context.data_signature(handle.get_sink_stream())
        metainfo = BackupElementMetainfo(values)
        return metainfo if self._context.sign is None else self._context.sign(metainfo, url)

    def _report_progress(
        self,
        seconds: float,
        stages: tuple[StageProgress, ...],
        memory: SourceMemory,
        backup_type: BackupType,
    ) -> None:
        expected = memory.expected_size(backup_type)
        self._context.listen(PipelineProgress(self._source.source_url, seconds, stages, expected))

    def _report_complaints(self, archive: Archive) -> None:
        """What tar said although it was content: sockets left out, files that changed or vanished."""
        url = self._source.source_url
        lines = archive.complaints[:MAX_COMPLAINTS]
        if len(archive.complaints) > len(lines):
            lines = (*lines, f"and {len(archive.complaints) - len(lines)} more lines")
        for line in lines:
            log.warning("source %s: %s", url, line)
            self._context.listen(SourceWarning(self._unit_name, url, line))


def _without_storage(source: TarSource, context: UnitContext) -> TarSource:
    """Leave out the spool where the source holds it and its configuration says nothing of leaving out."""
    spool = context.configuration.get("DefaultFileSystemSinkBaseDir")
    if source.has_own_exclude or not isinstance(spool, str):
        return source
    relative = os.path.relpath(os.path.realpath(spool), os.path.realpath(source.root))
    if relative == ".." or relative.startswith("../"):
        return source
    return replace(source, exclude=tuple(dict.fromkeys((*source.exclude, f"./{relative}"))))


def _make_details(source: TarSource, has_index: bool, memory: SourceMemory) -> dict[str, Any]:
    return {
        "SourceUrl": str(source.source_url),
        "IndexPrefix": source.index_prefix,
        "HasIndex": has_index,
        "KeepIndices": source.keep_indices,
        "State": dump_state(memory),
        "Extras": dump_extras(memory),
    }


def _parse_details(details: dict[str, Any]) -> tuple[SourceUrl, SourceMemory]:
    return SourceUrl(details["SourceUrl"]), parse_memory(details["State"], details["Extras"])


def _load_memory(state: StateDirectory) -> dict[SourceUrl, SourceMemory]:
    """What is remembered of all sources, also of those that are not configured any more."""
    current = state.load(STATE)
    if current is None:
        return {}
    extras = state.load(EXTRAS)
    try:
        return parse_memories(current, extras)
    except (TypeError, ValueError, GuerillaBackupError) as error:
        raise state.damaged(STATE, str(error)) from error
