"""CommandBackupUnit: the output of commands as elements, each one full, each source one chain.

That an element and the memory of it are one step is `source_book.py`'s affair, which source is due and what
follows a failure `source_runner.py`'s. It joins the pipelines, the storage and the unit's memory.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from guerillabackup.element import COMMAND_OUTPUT, BackupType, ElementId, SourceUrl
from guerillabackup.events import PipelineProgress, SourceStarted, StageProgress
from guerillabackup.generator.interface import (
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceState,
    UnitContext,
)
from guerillabackup.generator.pending import Recovered
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.state import OLD_STATE, STATE, StateDirectory
from guerillabackup.generator.timing import Due, next_backup
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.units.command_memory import (
    SourceMemory,
    dump_memories,
    dump_memory,
    parse_memories,
    parse_memory,
    remembered,
)
from guerillabackup.units.command_run import Output, run_command
from guerillabackup.units.command_source import CONFIG_KEY, CommandSource, split_sources
from guerillabackup.units.making import describe_part, downstream_of, stall_timeout, stream_keys
from guerillabackup.units.source_book import MemoryForm, SourceBook, damage_told
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.source_runner import SourceRunner, is_asked_for, was_set_back

log = logging.getLogger(__name__)


class CommandBackupUnit(SchedulableGeneratorUnitInterface):
    """Backs up the sources of CommandBackupUnitConfigList, one after the other.

    A source whose settings are wrong fails each time; the others are backed up.
    """

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        self._report = SourceReport(context, Retries(random.random))
        listed = split_sources(context.configuration.get(CONFIG_KEY))
        self._runner = SourceRunner(context, self._report, listed, self._due, self._back_up)
        self._book = SourceBook(context, _FORM)

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

    def _due(self, source: CommandSource, now: float) -> Due:
        if is_asked_for(self._context, source.source_url):
            return Due(0, BackupType.FULL, "a backup was asked for")
        memory = self._book.get(source.source_url)
        is_set_back = was_set_back(self._context, memory.anchor)
        return next_backup(
            now, memory.last_time, memory.last_time, source.timing, None, was_set_back=is_set_back
        )

    def _back_up(self, source: CommandSource, due: Due) -> SourceOutcome:
        url = source.source_url
        # Nothing is begun before what is pending was remembered: it would fork the chain.
        self._book.recover()
        log.info("source %s: backup, because %s", url, due.reason)
        self._context.listen(SourceStarted(self._unit_name, url, due.backup_type.value))
        return SourceOutcome(url, self._make_element(source))

    def _make_element(self, source: CommandSource) -> ElementId | None:
        """The id of the stored element; None in test mode."""
        url, context = source.source_url, self._context
        began = context.clock()
        downstream = downstream_of(context, source.encryption_key)
        expected = self._book.get(url).content_size
        with context.storage.get_sink_handle(url) as handle:
            output = run_command(
                source,
                downstream,
                handle.get_sink_stream(),
                stall_timeout=stall_timeout(context),
                on_progress=lambda seconds, stages: self._report_progress(url, seconds, stages, expected),
                cancelled=context.cancelled,
            )
            if not source.ignores_messages:
                self._report.warn_of_lines(url, [line for line in output.messages if line.strip()])
            if context.test_mode:
                return None
            element_id = self._store(
                source, handle, output, int(began), stream_keys(COMMAND_OUTPUT, downstream)
            )
        seconds = context.clock() - began
        self._report.stored(element_id, output.content_size, output.data.size, seconds)
        return element_id

    def _store(
        self,
        source: CommandSource,
        handle: SinkHandleInterface,
        output: Output,
        timestamp: int,
        extra: Mapping[str, Any],
    ) -> ElementId:
        """The time is that of the command's beginning: what it saw is not younger."""
        url, context = source.source_url, self._context
        part = describe_part(
            context,
            handle,
            url,
            BackupType.FULL,
            timestamp,
            output.data,
            predecessor=self._book.get(url).last_uuid,
            policy=source.policy,
            extra=extra,
        )
        memory = remembered(part.metainfo, output.content_size, context.read_anchor())
        details = {"SourceUrl": str(url), "Memory": dump_memory(memory)}
        return self._book.store([part], url, memory, details).get_element_id()

    def _report_progress(
        self, url: SourceUrl, seconds: float, stages: tuple[StageProgress, ...], expected: int | None
    ) -> None:
        # What the command itself reads is its own affair: its output is what is compared with the last one.
        self._context.listen(PipelineProgress(url, seconds, stages[1:], expected))


def _load(state: StateDirectory) -> dict[SourceUrl, SourceMemory]:
    current = state.load(STATE)
    with damage_told(state, STATE):
        return {} if current is None else parse_memories(current)


def _save(state: StateDirectory, memories: Mapping[SourceUrl, SourceMemory]) -> None:
    state.save(STATE, dump_memories(memories), keep_as=OLD_STATE)


def _parse(recovered: Recovered) -> tuple[SourceUrl, SourceMemory]:
    return SourceUrl(recovered.details["SourceUrl"]), parse_memory(recovered.details["Memory"])


_FORM = MemoryForm(SourceMemory(), _load, _save, _parse)
