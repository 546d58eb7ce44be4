"""Units written for the original, run as units of ours.

Such a unit gets a dictionary for its configuration and a sink when it is invoked, opens its own state, and
chains its elements itself; what it stores is signed as all elements are. It joins the unit's state, its
context and the sink in the original's spelling.
"""

import logging
import math
import os
import random
from typing import Any, ClassVar

import guerillabackup
from guerillabackup.config_keys import KEYS
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import CancelledError, ConfigError, GuerillaBackupError
from guerillabackup.events import ElementStored, SourceFailed, SourceStarted
from guerillabackup.generator.handed_back import describe_error
from guerillabackup.generator.interface import (
    GIVEN_UP,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    UnitContext,
)
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.generator.state import StateDirectory
from guerillabackup.original.elements import ELEMENT_KEYS, element_for_original
from guerillabackup.original.interfaces import without_abstract_methods
from guerillabackup.original.pipeline import Limits, running_within
from guerillabackup.original.storage import EndOfTest, Sink, SinkHandle, store_nothing
from guerillabackup.storage.interface import SinkHandleInterface

MAX_RETRY_SECONDS = 3600

log = logging.getLogger(__name__)


class ConfigContext(dict[str, Any]):
    """The configuration as a unit of the original gets it: what is not set is not in it.

    Beside that, what the default pipeline has to know of where the keys are.
    """

    def __init__(self, context: UnitContext) -> None:
        super().__init__(
            {
                name: value
                for name, value in context.configuration.items()
                if value is not None or name not in KEYS
            },
            guerillabackup=guerillabackup,
        )
        for key in ELEMENT_KEYS:
            if key in self:
                self[key] = element_for_original(self[key])
        self.keys_directory = os.path.join(context.config_directory, "keys")
        self.find_encryption_key = context.find_encryption_key


class AdoptedUnit(SchedulableGeneratorUnitInterface):
    """Runs a unit of the class `theirs`.

    When it failed it is made anew before the next invocation: the original asks for that. A number of seconds
    that it hands back is kept, up to an hour.
    """

    theirs: ClassVar[type]

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._unit_name = unit_name
        self._context = context
        self._state = StateDirectory(context.state_directory)
        self._unit: Any = None
        self._retry_at: float | None = None
        self._retries = Retries(random.random)
        stall_timeout = float(context.configuration.get("PipelineStallTimeout") or 3600)
        self._limits = Limits(stall_timeout, context.cancelled)
        try:
            self._find_unit()
        except BaseException:
            self._state.close()
            raise

    def close(self) -> None:
        self._unit = None
        self._state.close()

    def get_next_invocation_time(self) -> float:
        if self._retry_at is not None:
            # Never more than an hour, also when the clock was set back meanwhile.
            return max(0.0, min(self._retry_at - self._context.clock(), MAX_RETRY_SECONDS))
        seconds = self._find_unit().getNextInvocationTime()
        if not _is_seconds(seconds):
            raise ConfigError(f"unit {self._unit_name} is due in {seconds!r}, which is no number of seconds")
        return max(0.0, float(seconds))

    def invoke_unit(self) -> list[SourceOutcome]:
        sink = _UnitSink(self._unit_name, self._context)
        self._retry_at = None
        try:
            with running_within(self._limits):
                retry = self._find_unit().invokeUnit(sink)
        except EndOfTest:
            # It does not know that it was run, and would be due at once.
            self._unit = None
            self._retry_at = self._context.clock() + MAX_RETRY_SECONDS
        except BaseException as error:
            self._unit = None
            if not isinstance(error, Exception) or not sink.has_open_sources:
                raise
            self._fail(error, sink)
        else:
            self._retries.note_success(self._unit_name)
            if sink.has_open_sources:
                sink.fail_open_sources(self._find_reason(), 0)
            if _is_seconds(retry) and retry > 0:
                self._retry_at = self._context.clock() + min(retry, MAX_RETRY_SECONDS)
        finally:
            sink.drop_open()
        return sink.outcomes

    def _find_reason(self) -> GuerillaBackupError:
        """Why an element was begun and not stored, of a unit that answers for its errors itself."""
        if self._context.cancelled():
            return CancelledError("cancelled")
        return GuerillaBackupError(f"unit {self._unit_name} began an element and did not store it")

    def _fail(self, error: Exception, sink: "_UnitSink") -> None:
        if self._context.cancelled():
            sink.fail_open_sources(CancelledError(f"cancelled: {error}"), 0)
            return
        now = self._context.clock()
        seconds = self._retries.note_failure(self._unit_name, now)
        sink.fail_open_sources(error, seconds)
        self._retry_at = now + seconds

    def _find_unit(self) -> Any:
        if self._unit is None:
            self._unit = self.theirs(self._unit_name, ConfigContext(self._context))
        return self._unit


class _UnitSink(Sink):
    """The sink of one invocation: every element is signed, stored, told of and noted."""

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._unit_name = unit_name
        self._context = context
        self._open: dict[SinkHandleInterface, tuple[SourceUrl, float]] = {}
        self.outcomes: list[SourceOutcome] = []

    def getSinkHandle(self, sourceUrl: str) -> SinkHandle:
        url = SourceUrl(sourceUrl)
        context = self._context
        if url in context.foreign_sources:
            raise ConfigError(describe_foreign(url, context.foreign_sources[url], self._unit_name))
        handle = context.storage.get_sink_handle(url)
        self._open[handle] = (url, context.clock())
        context.listen(SourceStarted(self._unit_name, url, "unit"))

        def finish(handle: SinkHandleInterface, metainfo: BackupElementMetainfo) -> None:
            self._store(url, handle, metainfo)

        return SinkHandle(handle, finish)

    @property
    def has_open_sources(self) -> bool:
        """Whether an element is being made."""
        return bool(self._open)

    def fail_open_sources(self, error: Exception, retry_after: int) -> None:
        """Note the failure of what was being made."""
        for url, _ in self._open.values():
            if isinstance(error, CancelledError):
                log.warning("source %s: %s: %s", url, GIVEN_UP, error)
                self.outcomes.append(SourceOutcome(url, None, error))
                continue
            reason = error if isinstance(error, GuerillaBackupError) else _describe(error)
            log.error("source %s: no backup: %s", url, reason)
            self._context.listen(SourceFailed(self._unit_name, url, str(reason), retry_after))
            self.outcomes.append(SourceOutcome(url, None, reason, retry_after))

    def drop_open(self) -> None:
        """Nothing stays of what was not closed."""
        for handle in self._open:
            handle.abort()
        self._open.clear()

    def _store(self, url: SourceUrl, handle: SinkHandleInterface, metainfo: BackupElementMetainfo) -> None:
        context = self._context
        if context.test_mode:
            self.outcomes.append(SourceOutcome(url, None))
            self._open.pop(handle, None)
            store_nothing(handle, metainfo)
        if context.data_signature is not None:
            metainfo = metainfo.replace(StorageFileSignature=context.data_signature(handle.get_sink_stream()))
        if context.sign is not None:
            metainfo = context.sign(metainfo, url)
        element = handle.close(metainfo)
        assert element is not None
        element_id = element.get_element_id()
        _, started = self._open.pop(handle, (url, context.clock()))
        seconds = max(0.0, context.clock() - started)
        log.info("source %s: stored %s", url, element_id)
        size = element.get_data_size()
        context.listen(ElementStored(self._unit_name, element_id, size, size, seconds))
        self.outcomes.append(SourceOutcome(url, element_id))


def adapt_unit_class(bound: type) -> type[SchedulableGeneratorUnitInterface]:
    """A class of ours that runs a unit of a class written for the original."""
    return type(bound.__name__, (AdoptedUnit,), {"theirs": without_abstract_methods(bound)})


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _describe(error: Exception) -> GuerillaBackupError:
    described = GuerillaBackupError(describe_error(error))
    described.__cause__ = error
    return described
