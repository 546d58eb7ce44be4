"""CommandBackupUnit: the output of commands as elements, each one full, each source one chain.

That an element and the memory of it are one step is `generator/pending.py`'s affair. It joins the pipelines,
the storage and the unit's memory.
"""

import logging
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

from guerillabackup.element import COMMAND_OUTPUT, BackupType, ElementId, SourceUrl
from guerillabackup.errors import CancelledError, ConfigError, GuerillaBackupError
from guerillabackup.events import (
    ElementStored,
    PipelineProgress,
    SourceFailed,
    SourceStarted,
    SourceWarning,
    StageProgress,
)
from guerillabackup.generator.interface import (
    STANDING,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
    UnitContext,
)
from guerillabackup.generator.pending import Presence, forget_pending, recover, store_together
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.generator.state import OLD_STATE, PENDING, STATE, StateDirectory
from guerillabackup.generator.timing import Due, next_backup
from guerillabackup.osfile import storage_errors
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
from guerillabackup.units.making import describe_part, downstream_elements, sign_parts, stream_keys
from guerillabackup.units.settings import find_unencrypted

IDLE_SECONDS = 3600
MAX_MESSAGES = 20
"""Lines of a command's standard error that are reported one by one."""

log = logging.getLogger(__name__)


class CommandBackupUnit(SchedulableGeneratorUnitInterface):
    """Backs up the sources of CommandBackupUnitConfigList, one after the other.

    A source whose settings are wrong fails each time; the others are backed up.
    """

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        listed = split_sources(context.configuration.get(CONFIG_KEY))
        self._refused: dict[SourceUrl, GuerillaBackupError] = dict(listed.refused)
        foreign = context.foreign_sources
        self._sources = [source for source in listed.sources if source.source_url not in foreign]
        for url, owner in foreign.items():
            self._refused[url] = ConfigError(describe_foreign(url, owner, unit_name))
        self._stall_timeout = float(context.configuration.get("PipelineStallTimeout") or 3600)
        self._retries = Retries(random.random)
        self._state = StateDirectory(context.state_directory)
        try:
            self._memory = self._load_memory()
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
        if unencrypted is not None:
            log.warning("unit %s: %s", self._unit_name, unencrypted, extra=STANDING)
        for source in wanted:
            now = self._context.clock()
            due = self._due(source, now)
            if self._context.cancelled():
                break
            if due.seconds <= 0 and self._pause(source.source_url, now) <= 0:
                outcomes.append(self._back_up(source, due))
        return outcomes

    def _is_wanted(self, url: SourceUrl) -> bool:
        return self._context.get_request(url) is not SourceRequest.NOT_NOW

    def _pause(self, url: SourceUrl, now: float) -> float:
        """Seconds until a source that failed is tried again; what is asked for does not wait."""
        is_asked_for = self._context.get_request(url) in (SourceRequest.NOW, SourceRequest.FULL)
        return 0.0 if is_asked_for else self._retries.pause(url, now)

    def _due(self, source: CommandSource, now: float) -> Due:
        if self._context.get_request(source.source_url) in (SourceRequest.NOW, SourceRequest.FULL):
            return Due(0, BackupType.FULL, "a backup was asked for")
        memory = self._memory.get(source.source_url, SourceMemory())
        anchor = self._context.read_anchor()
        was_set_back = (
            anchor is not None and memory.anchor is not None and anchor.was_set_back_since(memory.anchor)
        )
        last = memory.last_time
        return next_backup(now, last, last, source.timing, None, was_set_back=was_set_back)

    def _back_up(self, source: CommandSource, due: Due) -> SourceOutcome:
        """One element of one source; its failure is in the outcome."""
        url = source.source_url
        try:
            with storage_errors("the backup failed"):
                # Nothing is begun before what is pending was remembered: it would fork the chain.
                self._recover()
                log.info("source %s: backup, because %s", url, due.reason)
                self._context.listen(SourceStarted(self._unit_name, url, due.backup_type.value))
                element_id = self._make_element(source)
        except GuerillaBackupError as error:
            return self._fail(url, error)
        self._retries.note_success(url)
        return SourceOutcome(url, element_id)

    def _make_element(self, source: CommandSource) -> ElementId | None:
        """The id of the stored element; None in test mode."""
        url, context = source.source_url, self._context
        began = context.clock()
        keys_directory = os.path.join(context.config_directory, "keys")
        downstream = downstream_elements(
            source.encryption_key, context.configuration, keys_directory, context.find_encryption_key
        )
        expected = self._memory.get(url, SourceMemory()).content_size
        with context.storage.get_sink_handle(url) as handle:
            output = run_command(
                source,
                downstream,
                handle.get_sink_stream(),
                stall_timeout=self._stall_timeout,
                on_progress=lambda seconds, stages: self._report(url, seconds, stages, expected),
                cancelled=context.cancelled,
            )
            if not source.ignores_messages:
                self._warn_of(url, output.messages)
            if context.test_mode:
                return None
            element_id = self._store(
                source, handle, output, int(began), stream_keys(COMMAND_OUTPUT, downstream)
            )
        size, seconds = output.data.size, context.clock() - began
        context.listen(ElementStored(self._unit_name, element_id, output.content_size, size, seconds))
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
            predecessor=self._memory.get(url, SourceMemory()).last_uuid,
            policy=source.policy,
            extra=extra,
        )
        memory = remembered(part.metainfo, output.content_size, context.read_anchor())
        details = {"SourceUrl": str(url), "Memory": dump_memory(memory)}
        element = store_together(self._state, sign_parts(context, [part]), details)[0]
        self._remember(url, memory)
        return element.get_element_id()

    def _report(
        self, url: SourceUrl, seconds: float, stages: tuple[StageProgress, ...], expected: int | None
    ) -> None:
        # What the command itself reads is its own affair: its output is what is compared with the last one.
        self._context.listen(PipelineProgress(url, seconds, stages[1:], expected))

    def _warn_of(self, url: SourceUrl, messages: Sequence[str]) -> None:
        """What the command said although it ended well."""
        lines = [line for line in messages if line.strip()]
        shown = lines[:MAX_MESSAGES]
        if len(lines) > len(shown):
            shown.append(f"and {len(lines) - len(shown)} more lines")
        for line in shown:
            log.warning("source %s: %s", url, line)
            self._context.listen(SourceWarning(self._unit_name, url, line))

    def _fail(self, url: SourceUrl, error: GuerillaBackupError) -> SourceOutcome:
        if self._context.cancelled():
            # The command may have been told to end as well, and whichever came first is no failure.
            error = error if isinstance(error, CancelledError) else CancelledError(f"cancelled: {error}")
            log.warning("source %s: given up, to be made after the next start: %s", url, error)
            return SourceOutcome(url, None, error)
        seconds = self._retries.note_failure(url, self._context.clock())
        log.error("source %s: no backup: %s", url, error)
        self._context.listen(SourceFailed(self._unit_name, url, str(error), seconds))
        return SourceOutcome(url, None, error, seconds)

    def _load_memory(self) -> dict[SourceUrl, SourceMemory]:
        """What is remembered of all sources, also of those that are not configured any more."""
        current = self._state.load(STATE)
        if current is None:
            return {}
        try:
            return parse_memories(current)
        except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
            raise self._state.damaged(STATE, str(error)) from error

    def _recover(self) -> None:
        """Finish what a crash, or a full disk, interrupted between storing and remembering."""
        recovered = recover(self._state, self._context.storage)
        if recovered is None:
            return
        try:
            url = SourceUrl(recovered.details["SourceUrl"])
            memory = parse_memory(recovered.details["Memory"])
        except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
            raise self._state.damaged(PENDING, str(error)) from error
        if recovered.presence is Presence.DAMAGED:
            log.error("source %s: what an interrupted run had begun to store is damaged, and not stored", url)
            forget_pending(self._state)
            return
        log.warning("source %s: finished what an interrupted run had begun to store", url)
        self._remember(url, memory)

    def _remember(self, url: SourceUrl, memory: SourceMemory) -> None:
        """Take note of a stored element; every step can be repeated after a crash."""
        self._memory[url] = memory
        self._state.save(STATE, dump_memories(self._memory), keep_as=OLD_STATE)
        forget_pending(self._state)
