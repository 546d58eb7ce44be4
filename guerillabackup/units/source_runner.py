"""Which sources of a unit are due, and one after the other the backup of them, whatever one of them does.

How an element is made is the unit's own affair. It joins requests, times, pauses after failures and reports.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.interface import (
    STANDING,
    SourceOutcome,
    SourceRequest,
    SourceState,
    UnitContext,
)
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.generator.timing import ClockAnchor, Due
from guerillabackup.osfile import storage_errors
from guerillabackup.units.settings import EncryptedSource, SourceList, find_unencrypted
from guerillabackup.units.source_report import SourceReport

IDLE_SECONDS = 3600
"""After which a unit without anything to do is asked again."""

Source = TypeVar("Source", bound=EncryptedSource)

log = logging.getLogger(__name__)


class SourceRunner(Generic[Source]):
    """Runs the sources of a unit. One whose settings are wrong, or that another unit has, fails each time.

    `find_due` says when a source is due at a time, and of which type. `back_up` makes the element and raises
    what fails; None, where there was no need for one.
    """

    def __init__(
        self,
        context: UnitContext,
        report: SourceReport,
        listed: SourceList[Source],
        find_due: Callable[[Source, float], Due],
        back_up: Callable[[Source, Due], SourceOutcome | None],
    ) -> None:
        foreign = context.foreign_sources
        self._context = context
        self._report = report
        self._sources = [source for source in listed.sources if source.source_url not in foreign]
        self._refused: dict[SourceUrl, GuerillaBackupError] = dict(listed.refusals(context.unit_name))
        for url, owner in foreign.items():
            self._refused[url] = ConfigError(describe_foreign(url, owner, context.unit_name))
        self._find_due = find_due
        self._back_up = back_up
        self._warner = EncryptionWarner(context)

    def seconds_until_due(self) -> float:
        """For `get_next_invocation_time`."""
        now = self._context.clock()
        waits = [
            max(self._find_due(source, now).seconds, self._pause(source.source_url, now))
            for source in self._sources
            if self._is_wanted(source.source_url)
        ]
        waits += [self._pause(url, now) for url in self._refused if self._is_wanted(url)]
        return max(0.0, min(waits, default=IDLE_SECONDS))

    def describe_sources(self) -> dict[SourceUrl, SourceState]:
        """For `describe_sources`."""
        now = self._context.clock()
        states = {
            source.source_url: SourceState(
                max(0.0, self._find_due(source, now).seconds, self._pause(source.source_url, now)),
                self._report.has_failed(source.source_url),
            )
            for source in self._sources
        }
        return {**states, **{url: SourceState(self._pause(url, now), True) for url in self._refused}}

    def run(self) -> list[SourceOutcome]:
        """For `invoke_unit`."""
        outcomes: list[SourceOutcome | None] = [
            self._report.fail(url, error)
            for url, error in self._refused.items()
            if self._is_wanted(url) and self._pause(url, self._context.clock()) <= 0
        ]
        wanted = [source for source in self._sources if self._is_wanted(source.source_url)]
        self._warner.warn(wanted)
        for source in wanted:
            now = self._context.clock()
            due = self._find_due(source, now)
            if self._context.cancelled():
                break
            if due.seconds <= 0 and self._pause(source.source_url, now) <= 0:
                outcomes.append(self._run(source, due))
        return [outcome for outcome in outcomes if outcome is not None]

    def _run(self, source: Source, due: Due) -> SourceOutcome | None:
        try:
            with storage_errors("the backup failed"):
                outcome = self._back_up(source, due)
        except GuerillaBackupError as error:
            return self._report.fail(source.source_url, error)
        self._report.went_well(source.source_url)
        return outcome

    def _is_wanted(self, url: SourceUrl) -> bool:
        return self._context.get_request(url) is not SourceRequest.NOT_NOW

    def _pause(self, url: SourceUrl, now: float) -> float:
        """Seconds until a source that failed is tried again; what is asked for does not wait."""
        return 0.0 if is_asked_for(self._context, url) else self._report.pause(url, now)


class EncryptionWarner:
    """Says once, as long as settings stay, which sources of a unit are not encrypted."""

    def __init__(self, context: UnitContext) -> None:
        self._context = context
        self._told: set[str] = set()

    def warn(self, sources: Sequence[EncryptedSource]) -> None:
        unencrypted = find_unencrypted(sources, self._context.configuration)
        if unencrypted is not None and unencrypted not in self._told:
            self._told.add(unencrypted)
            log.warning("unit %s: %s", self._context.unit_name, unencrypted, extra=STANDING)


def is_asked_for(context: UnitContext, url: SourceUrl) -> bool:
    """Whether somebody wants a backup of the source now, due or not."""
    return context.get_request(url) not in (SourceRequest.WHEN_DUE, SourceRequest.NOT_NOW)


def was_set_back(context: UnitContext, anchor: ClockAnchor | None) -> bool:
    """Whether the clock was, since it stood as the anchor says."""
    now = context.read_anchor()
    return now is not None and anchor is not None and now.was_set_back_since(anchor)
