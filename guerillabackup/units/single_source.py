"""One source that is looked at regularly, and stored when it changed: all that a simple unit needs.

It joins the pipelines, the storage and the memory of the source.
"""

import hashlib
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import BackupType, ElementId, SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.events import SourceStarted
from guerillabackup.generator.interface import SourceOutcome, UnitContext
from guerillabackup.generator.pending import Recovered
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.state import OLD_STATE, STATE, StateDirectory
from guerillabackup.generator.timing import Due
from guerillabackup.osfile import storage_errors
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.units.making import (
    counted,
    describe_part,
    downstream_of,
    stall_timeout,
    stored_stream,
    stream_keys,
)
from guerillabackup.units.memory_values import decode_uuid, encode_uuid
from guerillabackup.units.settings import SourceList
from guerillabackup.units.source_book import MemoryForm, SourceBook, damage_told
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.source_runner import SourceRunner, is_asked_for


@dataclass(frozen=True, slots=True)
class SourceMemory:
    """DataUuid of the last element, hexadecimal SHA-512 of what is in it, and when it was looked at."""

    data_uuid: bytes | None = None
    digest: str | None = None
    time: int = 0


@dataclass(frozen=True, slots=True)
class _Source:
    source_url: SourceUrl
    encryption_key: None = None


class SingleSource:
    """Looks at a source every `interval` seconds, and stores what `collect` hands back when that changed.

    A failure is tried again after a minute, then later and later; a crash at any instant loses no element and
    forks no chain. `content_type` is told in the metadata. What `collect` hands back is held in memory, and
    stored compressed, encrypted and signed as the configuration says. It may raise OSError, and errors of
    `guerillabackup.errors`. The state directory is locked until `close`. Raises ConfigError where another
    unit has the source, and StateError.
    """

    def __init__(
        self,
        context: UnitContext,
        url: SourceUrl,
        content_type: str,
        interval: int,
        collect: Callable[[], bytes],
    ) -> None:
        if url in context.foreign_sources:
            raise ConfigError(f"source {url} is one of unit {context.foreign_sources[url]} already")
        self._context = context
        self._url = url
        self._content_type = content_type
        self._interval = interval
        self._collect = collect
        self._report = SourceReport(context, Retries(random.random))
        listed = SourceList((_Source(url),), {})
        self._runner = SourceRunner(context, self._report, listed, self._due, self._back_up)
        self._book = SourceBook(context, _make_form(url))
        self._looked_at = self._book.get(url).time

    def close(self) -> None:
        """May be called twice."""
        self._book.close()

    def seconds_until_due(self) -> float:
        """For `get_next_invocation_time`."""
        return self._runner.seconds_until_due()

    def run(self) -> list[SourceOutcome]:
        """For `invoke_unit`."""
        return self._runner.run()

    def _due(self, source: _Source, now: float) -> Due:
        if is_asked_for(self._context, self._url):
            return Due(0, BackupType.FULL, "a backup was asked for")
        seconds = self._looked_at + self._interval - now
        if seconds > self._interval:
            return Due(0, BackupType.FULL, "the clock was set back")
        return Due(seconds, BackupType.FULL, "it is time to look")

    def _back_up(self, source: _Source, due: Due) -> SourceOutcome | None:
        self._book.recover()  # before anything is stored, or the chain could fork
        now = int(self._context.clock())
        with storage_errors("it cannot be collected or stored"):
            content = self._collect()
            digest = hashlib.sha512(content).hexdigest()
            last = self._book.get(self._url)
            if digest == last.digest and not is_asked_for(self._context, self._url):
                memory = SourceMemory(last.data_uuid, digest, now)
                self._book.remember(self._url, memory, {})
                outcome = None
            else:
                outcome = SourceOutcome(self._url, self._store(content, digest, now))
        self._looked_at = now
        return outcome

    def _store(self, content: bytes, digest: str, now: int) -> ElementId | None:
        """The id of the stored element; None in test mode."""
        context, url = self._context, self._url
        began = context.clock()
        context.listen(SourceStarted(context.unit_name, url, BackupType.FULL.value))
        downstream = downstream_of(context, None)
        # A handle that is not stored from leaves nothing in the storage.
        with (
            context.storage.get_sink_handle(url) as handle,
            open(os.memfd_create("content"), "w+b") as file,
        ):
            file.write(content)
            file.seek(0)
            processes = instantiate_pipeline(counted(downstream), file.fileno(), handle.get_sink_stream())
            run_pipeline(processes, stall_timeout=stall_timeout(context), cancelled=context.cancelled)
            if context.test_mode:
                return None
            stored = stored_stream(processes, has_content=len(content) > 0)
            part = describe_part(
                context,
                handle,
                url,
                BackupType.FULL,
                now,
                stored,
                predecessor=self._book.get(url).data_uuid,
                extra=stream_keys(self._content_type, downstream),
            )
            memory = SourceMemory(part.metainfo.data_uuid, digest, now)
            element_id = self._book.store([part], url, memory, _dump(memory)).get_element_id()
        self._report.stored(element_id, len(content), stored.size, context.clock() - began)
        return element_id


def _make_form(url: SourceUrl) -> MemoryForm[SourceMemory]:
    def load(state: StateDirectory) -> dict[SourceUrl, SourceMemory]:
        current = state.load(STATE)
        with damage_told(state, STATE):
            return {} if current is None else {url: _parse(current)}

    def save(state: StateDirectory, memories: Mapping[SourceUrl, SourceMemory]) -> None:
        state.save(STATE, _dump(memories[url]), keep_as=OLD_STATE)

    def parse(recovered: Recovered) -> tuple[SourceUrl, SourceMemory]:
        return url, _parse(recovered.details)

    return MemoryForm(SourceMemory(), load, save, parse)


def _dump(memory: SourceMemory) -> dict[str, Any]:
    uuid = None if memory.data_uuid is None else encode_uuid(memory.data_uuid)
    return {"DataUuid": uuid, "Digest": memory.digest, "Time": memory.time}


def _parse(value: Any) -> SourceMemory:
    uuid, digest, time = value["DataUuid"], value["Digest"], value["Time"]
    if not isinstance(digest, str | None) or not isinstance(time, int):
        raise TypeError("it is no object of DataUuid, Digest and Time")
    return SourceMemory(None if uuid is None else decode_uuid(uuid), digest, time)
