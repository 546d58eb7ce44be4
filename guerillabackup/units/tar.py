"""TarBackupUnit: full and incremental tar archives of directory trees, each with a list of its members.

That an element and the memory of it are one step is `generator/pending.py`'s affair; the forms of the memory
stand in `tar_memory.py`. It joins the pipelines, the storage and the unit's memory.
"""

import logging
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guerillabackup.element import (
    BackupType,
    ElementId,
    SourceUrl,
)
from guerillabackup.errors import CancelledError, ConfigError, GuerillaBackupError
from guerillabackup.events import (
    SourceFailed,
    SourceStarted,
    SourceWarning,
)
from guerillabackup.generator.interface import (
    STANDING,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
    UnitContext,
)
from guerillabackup.generator.pending import Presence, forget_pending, recover
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.generator.state import OLD_STATE, PENDING, STATE, DamagedStateError, StateDirectory
from guerillabackup.generator.timing import Due, next_backup
from guerillabackup.osfile import storage_errors
from guerillabackup.pipeline.interface import TransformationPipelineElementInterface
from guerillabackup.units import tar_index
from guerillabackup.units.making import downstream_elements
from guerillabackup.units.settings import find_unencrypted
from guerillabackup.units.tar_element import TarElementRun
from guerillabackup.units.tar_last import why_not_to_go_on
from guerillabackup.units.tar_memory import (
    SourceMemory,
    dump_memories,
    parse_memories,
    parse_memory,
)
from guerillabackup.units.tar_place import without_storage
from guerillabackup.units.tar_snapshot import BadIndexError
from guerillabackup.units.tar_source import TarSource, find_idle_excludes, split_sources

CONFIG_KEY = "TarBackupUnitConfigList"
EXTRAS = "extras.current"
"""State file for what the original does not know: the chain of the members' lists, and sizes to expect."""
IDLE_SECONDS = 3600

log = logging.getLogger(__name__)


class TarBackupUnit(SchedulableGeneratorUnitInterface):
    """Backs up the sources of TarBackupUnitConfigList, one after the other.

    A source whose settings are wrong fails each time; the others are backed up.
    """

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        listed = split_sources(context.configuration.get(CONFIG_KEY))
        self._refused: dict[SourceUrl, GuerillaBackupError] = dict(listed.refused)
        self._sources: list[TarSource] = []
        for source in listed.sources:
            if source.source_url not in context.foreign_sources:
                self._add(source)
        for url, owner in context.foreign_sources.items():
            self._refused[url] = ConfigError(describe_foreign(url, owner, unit_name))
        self._stall_timeout = float(context.configuration.get("PipelineStallTimeout") or 3600)
        self._retries = Retries(random.random)
        self._told: set[str] = set()
        self._state = StateDirectory(context.state_directory)
        try:
            self._memory = _load_memory(self._state)
            self._recover()
        except BaseException:
            self._state.close()
            raise

    @classmethod
    def list_sources(cls, configuration: Mapping[str, Any]) -> Sequence[SourceUrl]:
        listed = split_sources(configuration.get(CONFIG_KEY))
        return [*(source.source_url for source in listed.sources), *listed.refused]

    def close(self) -> None:
        self._state.close()

    def get_next_invocation_time(self) -> float:
        now = self._context.clock()
        waits = [
            max(self._due(source, now).seconds, self._pause(source.source_url, now))
            for source in self._sources
            if self._is_wanted(source.source_url)
        ]
        waits += [self._pause(url, now) for url in self._refused if self._is_wanted(url)]
        return max(0.0, min(waits, default=IDLE_SECONDS))

    def invoke_unit(self) -> list[SourceOutcome]:
        outcomes = [
            self._fail(url, error)
            for url, error in self._refused.items()
            if self._is_wanted(url) and self._pause(url, self._context.clock()) <= 0
        ]
        wanted = [source for source in self._sources if self._is_wanted(source.source_url)]
        unencrypted = find_unencrypted(wanted, self._context.configuration)
        if unencrypted is not None and unencrypted not in self._told:
            self._told.add(unencrypted)
            log.warning("unit %s: %s", self._unit_name, unencrypted, extra=STANDING)
        for source in wanted:
            now = self._context.clock()
            due = self._due(source, now)
            if self._context.cancelled():
                break
            if due.seconds <= 0 and self._pause(source.source_url, now) <= 0:
                outcomes.append(self._back_up(source, due))
        return outcomes

    def _add(self, source: TarSource) -> None:
        """Take a source in, or note why it cannot be backed up as it is configured."""
        spool = self._context.configuration.get("DefaultFileSystemSinkBaseDir")
        try:
            self._sources.append(without_storage(source, spool) if isinstance(spool, str) else source)
        except GuerillaBackupError as error:
            self._refused[source.source_url] = error

    def _downstream(self, source: TarSource) -> list[TransformationPipelineElementInterface]:
        """What the archive goes through: asked for each time, because keys come and expire."""
        keys_directory = os.path.join(self._context.config_directory, "keys")
        find_key = self._context.find_encryption_key
        return downstream_elements(
            source.encryption_key, self._context.configuration, keys_directory, find_key
        )

    def _is_wanted(self, url: SourceUrl) -> bool:
        return self._context.get_request(url) is not SourceRequest.NOT_NOW

    def _pause(self, url: SourceUrl, now: float) -> float:
        """Seconds until a source that failed is tried again; what is asked for does not wait."""
        is_asked_for = self._context.get_request(url) in (SourceRequest.NOW, SourceRequest.FULL)
        return 0.0 if is_asked_for else self._retries.pause(url, now)

    def _due(self, source: TarSource, now: float) -> Due:
        memory = self._memory.get(source.source_url, SourceMemory())
        due = next_backup(
            now,
            memory.last_full,
            memory.last_any,
            source.full_timing,
            source.inc_timing,
            was_set_back=self._was_set_back(memory),
        )
        request = self._context.get_request(source.source_url)
        if request is SourceRequest.FULL:
            return Due(0, BackupType.FULL, "a full backup was asked for")
        if request is SourceRequest.NOW and due.seconds > 0:
            asked_type = BackupType.FULL if source.inc_timing is None else BackupType.INC
            due = Due(0, asked_type, "a backup was asked for")
        if due.backup_type is BackupType.FULL or source.inc_override is not None:
            return due
        if memory.last_uuid is None or not tar_index.has_index(self._state, source.index_prefix):
            return replace(due, backup_type=BackupType.FULL, reason="there is no index to go on from")
        return due

    def _was_set_back(self, memory: SourceMemory) -> bool:
        anchor = self._context.read_anchor()
        return anchor is not None and memory.anchor is not None and anchor.was_set_back_since(memory.anchor)

    def _back_up(self, source: TarSource, due: Due) -> SourceOutcome:
        """One element of one source; its failure is in the outcome."""
        url = source.source_url
        for warning in find_idle_excludes(source):
            self._warn(url, warning)
        try:
            with storage_errors("the backup failed"):
                # Nothing is begun before what is pending, and uses the same files, was remembered.
                self._recover()
                backup_type = self._safe_type(source, due.backup_type)
                log.info("source %s: %s backup, because %s", url, backup_type.value, due.reason)
                downstream = self._downstream(source)
                self._context.listen(SourceStarted(self._unit_name, url, backup_type.value))
                element_id, remarks = self._run(source, backup_type, downstream)
        except GuerillaBackupError as error:
            return self._fail(url, error)
        self._retries.note_success(url)
        return SourceOutcome(url, element_id, remarks=remarks)

    def _safe_type(self, source: TarSource, backup_type: BackupType) -> BackupType:
        """A full backup in place of an incremental one that could never be restored."""
        if backup_type is BackupType.FULL:
            return backup_type
        memory = self._memory.get(source.source_url, SourceMemory())
        reason = why_not_to_go_on(
            source.source_url, memory, self._context.storage, self._context.configuration
        )
        if reason is None:
            return backup_type
        self._warn(source.source_url, f"a full backup is made in place of an incremental one: {reason}")
        return BackupType.FULL

    def _warn(self, url: SourceUrl, message: str) -> None:
        log.warning("source %s: %s", url, message)
        self._context.listen(SourceWarning(self._unit_name, url, message))

    def _run(
        self,
        source: TarSource,
        backup_type: BackupType,
        downstream: list[TransformationPipelineElementInterface],
    ) -> tuple[ElementId | None, tuple[str, ...]]:
        memory = self._memory.get(source.source_url, SourceMemory())
        run = TarElementRun(self._context, self._unit_name, source, downstream, self._state)
        try:
            return run.run(backup_type, memory, self._stall_timeout, self._remember), run.remarks
        except BadIndexError as error:
            if backup_type is BackupType.INC:
                tar_index.drop_index(self._state, source.index_prefix)
            raise BadIndexError(f"the index is damaged, so the next backup is a full one: {error}") from error

    def _fail(self, url: SourceUrl, error: GuerillaBackupError) -> SourceOutcome:
        if self._context.cancelled():
            # The programs may have been told to end as well, and whichever came first is no failure.
            error = error if isinstance(error, CancelledError) else CancelledError(f"cancelled: {error}")
            log.warning("source %s: given up, to be made after the next start: %s", url, error)
            return SourceOutcome(url, None, error)
        seconds = self._retries.note_failure(url, self._context.clock())
        log.error("source %s: no backup: %s", url, error)
        self._context.listen(SourceFailed(self._unit_name, url, str(error), seconds))
        return SourceOutcome(url, None, error, seconds)

    def _recover(self) -> None:
        """Finish what a crash, or a full disk, interrupted between storing and remembering."""
        recovered = recover(self._state, self._context.storage)
        if recovered is None:
            return
        try:
            url, memory = _parse_details(recovered.details)
        except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
            raise self._state.damaged(PENDING, str(error)) from error
        if recovered.presence is Presence.DAMAGED:
            log.error("source %s: what an interrupted run had begun to store is damaged, and not stored", url)
            forget_pending(self._state)
            return
        memory = replace(memory, last_element=recovered.element_id)
        if recovered.presence is Presence.MOVED_ON:
            # No incremental backup builds on what cannot be looked at.
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


def _parse_details(details: dict[str, Any]) -> tuple[SourceUrl, SourceMemory]:
    return SourceUrl(details["SourceUrl"]), parse_memory(details["State"], details["Extras"])


def _load_memory(state: StateDirectory) -> dict[SourceUrl, SourceMemory]:
    """What is remembered of all sources, also of those that are not configured any more."""
    current = state.load(STATE)
    if current is None:
        return {}
    memory = _parse(state, STATE, current, None)
    try:
        return _parse(state, EXTRAS, current, state.load(EXTRAS))
    except DamagedStateError as error:
        aside = state.move_aside(EXTRAS)
        log.warning("%s; it was moved to %s, and is made anew: the next backups are full ones", error, aside)
        # Which element the index belongs to is not known any more: no incremental backup goes on from it.
        return {url: replace(item, is_in_doubt=True) for url, item in memory.items()}


def _parse(state: StateDirectory, name: str, current: Any, extras: Any) -> dict[SourceUrl, SourceMemory]:
    try:
        return parse_memories(current, extras)
    except (TypeError, ValueError, GuerillaBackupError) as error:
        raise state.damaged(name, str(error)) from error
