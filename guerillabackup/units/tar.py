"""TarBackupUnit: full and incremental tar archives of directory trees, each with a list of its members.

That an element and the memory of it are one step is `source_book.py`'s affair, which source is due and what
follows a failure `source_runner.py`'s; how the memory is kept stands in `tar_book.py`. It joins the
pipelines, the storage and the unit's memory.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guerillabackup.element import BackupType, ElementId, SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.events import SourceStarted
from guerillabackup.generator.interface import (
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
    SourceState,
    UnitContext,
)
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.timing import Due, next_backup
from guerillabackup.pipeline.interface import TransformationPipelineElementInterface
from guerillabackup.storage.interface import ElementSelection
from guerillabackup.units import tar_index
from guerillabackup.units.making import downstream_of, recipients_of, stall_timeout
from guerillabackup.units.settings import SourceList
from guerillabackup.units.source_book import SourceBook
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.source_runner import SourceRunner
from guerillabackup.units.tar_book import TAR_FORM
from guerillabackup.units.tar_clock import was_set_back
from guerillabackup.units.tar_element import TarElementRun
from guerillabackup.units.tar_last import why_not_to_go_on
from guerillabackup.units.tar_links import SplitLinksError
from guerillabackup.units.tar_memory import SourceMemory
from guerillabackup.units.tar_place import without_storage
from guerillabackup.units.tar_records import BadIndexError
from guerillabackup.units.tar_run import RecordedMoveError
from guerillabackup.units.tar_selection import why_selection_differs
from guerillabackup.units.tar_source import CONFIG_KEY, TarSource, find_idle_excludes, split_sources

log = logging.getLogger(__name__)


class TarBackupUnit(SchedulableGeneratorUnitInterface):
    """Backs up the sources of TarBackupUnitConfigList, one after the other.

    A source whose settings are wrong fails each time; the others are backed up.
    """

    prepares_signing = True

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        self._report = SourceReport(context, Retries(random.random))
        self._runner = SourceRunner(context, self._report, _list_placed(context), self._due, self._back_up)
        self._book = SourceBook(context, TAR_FORM)

    @classmethod
    def list_sources(cls, configuration: Mapping[str, Any]) -> Sequence[SourceUrl] | None:
        return split_sources(configuration.get(CONFIG_KEY)).list_urls()

    def close(self) -> None:
        self._book.close()

    def get_next_invocation_time(self) -> float:
        return self._runner.seconds_until_due()

    def invoke_unit(self) -> list[SourceOutcome]:
        return self._runner.run()

    def describe_sources(self) -> Mapping[SourceUrl, SourceState]:
        return self._runner.describe_sources()

    def _due(self, source: TarSource, now: float) -> Due:
        memory = self._book.get(source.source_url)
        due = next_backup(
            now,
            memory.last_full,
            memory.last_any,
            source.full_timing,
            source.inc_timing,
            was_set_back=memory.went_back
            or was_set_back(memory.anchor, memory.ended, self._context.read_anchor()),
        )
        request = self._context.get_request(source.source_url)
        if request in (SourceRequest.FULL, SourceRequest.FULL_AS_IT_IS):
            return Due(0, BackupType.FULL, "a full backup was asked for")
        if request is SourceRequest.NOW and due.seconds > 0:
            asked_type = BackupType.FULL if source.inc_timing is None else BackupType.INC
            due = Due(0, asked_type, "a backup was asked for")
        if due.backup_type is BackupType.FULL or source.inc_override is not None:
            return due
        if memory.last_uuid is None or not tar_index.has_index(self._book.state, source.index_prefix):
            return due._replace(backup_type=BackupType.FULL, reason="there is no index to go on from")
        return due

    def _back_up(self, source: TarSource, due: Due) -> SourceOutcome:
        url = source.source_url
        for warning in find_idle_excludes(source):
            self._report.warn(url, warning)
        # Nothing is begun before what is pending, and uses the same files, was remembered.
        self._book.recover()
        if lost := self._find_loss(source):
            self._report.warn(url, lost)
        backup_type = self._safe_type(source, due.backup_type)
        log.info("source %s: %s backup, because %s", url, backup_type.value, due.reason)
        self._context.listen(SourceStarted(self._unit_name, url, backup_type.value))
        element_id, remarks = self._run(source, backup_type)
        return SourceOutcome(url, element_id, remarks=remarks)

    def _find_loss(self, source: TarSource) -> str | None:
        """What is not remembered any more, so that the backup is a full one that nobody expected."""
        memory = self._book.get(source.source_url)
        if memory.last_uuid is None:
            selection = ElementSelection.of_source(source.source_url)
            if not any(True for _ in self._context.storage.list_facts(selection)):
                return None
            return (
                f"nothing is remembered of it in {self._book.state.path}, although the storage has elements"
                " of it: was the state directory lost, or emptied? A full backup begins a new chain"
            )
        index = self._book.state.file_path(f"{source.index_prefix}.index")
        if memory.index is None or source.inc_override is not None or not source.has_index:
            return None
        if tar_index.has_index(self._book.state, source.index_prefix):
            return None
        return f"tar's index {index} is not there any more, or empty: the backup is a full one"

    def _safe_type(self, source: TarSource, backup_type: BackupType) -> BackupType:
        """A full backup in place of an incremental one that could never be restored."""
        if backup_type is BackupType.FULL:
            return backup_type
        url, context = source.source_url, self._context
        memory = self._book.get(url)
        reason = why_selection_differs(memory.selection, source, recipients_of(self._find_downstream(source)))
        reason = reason or self._why_other_index(source, memory)
        reason = reason or _why_not_signed(context, memory)
        reason = reason or why_not_to_go_on(url, memory, context.storage, context.configuration)
        if reason is None:
            return backup_type
        self._report.warn(url, f"a full backup is made in place of an incremental one: {reason}")
        return BackupType.FULL

    def _why_other_index(self, source: TarSource, memory: SourceMemory) -> str | None:
        """Why tar's index is not that of the last element, in which what changed in between would lack."""
        if memory.index is None or not source.has_index:
            return None
        if tar_index.mark_of(self._book.state, source.index_prefix) == memory.index:
            return None
        return (
            "tar's index is not the one of the last element that is remembered, as after putting back a part"
            " of the state directory from a copy"
        )

    def _run(self, source: TarSource, backup_type: BackupType) -> tuple[ElementId | None, tuple[str, ...]]:
        run = TarElementRun(
            self._context, self._report, source, lambda: self._find_downstream(source), self._book
        )
        try:
            return run.run(backup_type, stall_timeout(self._context)), run.remarks
        except (SplitLinksError, RecordedMoveError) as error:
            self._report.warn(
                source.source_url, f"a full backup is made in place of an incremental one: {error}"
            )
            return self._run(source, BackupType.FULL)
        except BadIndexError as error:
            if backup_type is BackupType.INC:
                tar_index.drop_index(self._book.state, source.index_prefix)
            raise BadIndexError(f"the index is damaged, so the next backup is a full one: {error}") from error

    def _find_downstream(self, source: TarSource) -> list[TransformationPipelineElementInterface]:
        self._context.prepare_signing()
        return downstream_of(self._context, source.encryption_key)


def _why_not_signed(context: UnitContext, memory: SourceMemory) -> str | None:
    """Why a restore refuses what an incremental backup would build on, whoever signs that one."""
    reason = context.why_invalid(memory.signers)
    return None if reason is None else f"a restore refuses the chain that it would go on: {reason}"


def _list_placed(context: UnitContext) -> SourceList[TarSource]:
    """The sources without the storage, and those that cannot be backed up as they are configured."""
    listed = split_sources(context.configuration.get(CONFIG_KEY))
    spool = context.configuration.get("DefaultFileSystemSinkBaseDir")
    if not isinstance(spool, str):
        return listed
    sources: list[TarSource] = []
    refused = dict(listed.refused)
    for source in listed.sources:
        try:
            sources.append(without_storage(source, spool))
        except ConfigError as error:
            refused[source.source_url] = error
    return replace(listed, sources=tuple(sources), refused=refused)
