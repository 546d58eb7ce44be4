"""LogfileBackupUnit: each log file that nobody writes to any more becomes an element, and is removed.

That no crash loses a file or stores it twice is `logfile_ledger.py`'s affair. It joins the configuration, the
files and the ledger.
"""

import contextlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.generator.interface import (
    STANDING,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
    SourceState,
    UnitContext,
)
from guerillabackup.generator.retry import Retries
from guerillabackup.generator.selection import describe_foreign
from guerillabackup.generator.timing import CLOCK_TOLERANCE, Timing
from guerillabackup.units.logfile_directory import DirectoryRun, group_by_source
from guerillabackup.units.logfile_files import LogDirectory
from guerillabackup.units.logfile_input import LogInput, parse_inputs
from guerillabackup.units.logfile_ledger import LogLedger
from guerillabackup.units.logfile_names import LogFile, sort_oldest_first
from guerillabackup.units.logfile_open import WriterCheck
from guerillabackup.units.logfile_report import RunReport
from guerillabackup.units.logfile_run import LogWriter
from guerillabackup.units.making import downstream_of, stall_timeout
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.source_runner import EncryptionWarner

CONFIG_KEY = "LogBackupUnitInputList"
INTERVAL = Timing(1, 3600, 3600, 0)
"""At each full hour."""

log = logging.getLogger(__name__)


class LogfileBackupUnit(SchedulableGeneratorUnitInterface):
    """Stores the log files that the entries of LogBackupUnitInputList match, the oldest of each source first.

    What is wrong with an entry, a directory or a file stops its sources for this run; the others go on.
    """

    def __init__(self, unit_name: str, context: UnitContext) -> None:
        self._context = context
        self._unit_name = unit_name
        self._label = SourceUrl(f"/{unit_name}")
        self._listed = parse_inputs(context.configuration.get(CONFIG_KEY), self._label)
        self._writers = WriterCheck()
        self._has_warned = False
        self._report = SourceReport(context, Retries(random.random))
        self._warner = EncryptionWarner(context)
        self._failed: set[SourceUrl] = set()
        self._postponed: dict[SourceUrl, str] = {}
        self._tried: set[SourceUrl] = set()
        self._ledger = LogLedger(context.state_directory, context.storage)

    @classmethod
    def list_sources(cls, configuration: Mapping[str, Any]) -> Sequence[SourceUrl] | None:
        """Those that the configuration names, and those of which there are files just now."""
        listed = parse_inputs(configuration.get(CONFIG_KEY), SourceUrl("/entry"))
        if not listed.inputs and not listed.refused:
            return ()
        sources: set[SourceUrl] = set()
        for log_input in listed.inputs:
            sources.update(_find_sources(log_input))
        return sorted(sources) or None

    def close(self) -> None:
        self._ledger.close()

    def get_next_invocation_time(self) -> float:
        sources = [source for log_input in self._listed.inputs for source in _find_sources(log_input)]
        requests = {self._context.get_request(url) for url in (self._label, *sources)}
        if requests - {SourceRequest.WHEN_DUE, SourceRequest.NOT_NOW}:
            return 0
        now, last = self._context.clock(), self._ledger.last_run
        if last < 0 or last > now + CLOCK_TOLERANCE:
            return 0  # the first run, or the clock was set back
        if any(self._is_new(url) for url in self._list_waiting()):
            return 0
        pauses = [self._report.pause(url, now) for url in self._failed]
        return max(0.0, min(INTERVAL.next_time(last) - now, *pauses, INTERVAL.maximum))

    def invoke_unit(self) -> list[SourceOutcome]:
        report = RunReport(self._context, self._report)
        self._ledger.recover()
        is_whole = self._is_wanted(self._label)
        if is_whole:
            self._ledger.begin_run(int(self._context.clock()))
        if not self._context.test_mode:
            for url, error in self._ledger.retry_removals().items():
                report.fail(url, error)
        for label, refusal in self._listed.refused:
            report.fail_label(label, refusal)
        self._warner.warn(self._listed.inputs)
        for log_input in self._listed.inputs:
            if self._context.cancelled():
                break
            try:
                with LogDirectory(log_input.directory) as directory:
                    self._run_directory(log_input, directory, report)
            except GuerillaBackupError as error:
                report.fail_label(log_input.source_url, error)
        self._warn_of_unseen_writers()
        self._end_run(report, is_whole=is_whole)
        return report.outcomes

    def describe_sources(self) -> Mapping[SourceUrl, SourceState]:
        return {
            url: SourceState(has_failed=url in self._failed, waits_for=self._postponed.get(url))
            for url in (*self._failed, *self._postponed)
        }

    def _run_directory(self, log_input: LogInput, directory: LogDirectory, report: RunReport) -> None:
        """All that one entry matches; raises what concerns all of it."""
        names = directory.list_names()
        by_source, unnamed = group_by_source(log_input, names)
        if unnamed is not None:
            report.fail_label(log_input.source_url, unnamed)
        files: list[LogFile] = []
        for url, of_source in by_source.items():
            if not report.is_wanted(url):
                continue
            self._tried.add(url)
            try:
                self._check_own(url)
                files += sort_oldest_first(of_source)
            except GuerillaBackupError as error:
                report.fail(url, error)
        if not files:
            return
        try:
            writer = self._make_writer(log_input, directory)
        except GuerillaBackupError as error:
            for url in dict.fromkeys(file.source_url for file in files):
                report.fail(url, error)
            return
        DirectoryRun(writer, self._ledger, report, names).run(files)

    def _check_own(self, url: SourceUrl) -> None:
        owner = self._context.foreign_sources.get(url)
        if owner is not None:
            raise ConfigError(describe_foreign(url, owner, self._unit_name))

    def _make_writer(self, log_input: LogInput, directory: LogDirectory) -> LogWriter:
        context = self._context
        if not context.test_mode:
            directory.check_removable()
        downstream = downstream_of(context, log_input.encryption_key)
        timeout = stall_timeout(context)
        return LogWriter(context, self._unit_name, log_input, directory, downstream, self._writers, timeout)

    def _end_run(self, report: RunReport, *, is_whole: bool) -> None:
        # A run for some sources says nothing of the others: they wait as long as they did.
        covered = {url for url in self._failed if self._is_wanted(url)}
        for url in covered - report.failed:
            self._report.went_well(url)
        self._failed = self._failed - covered | report.failed
        waiting = {url: reason for url, reason in self._postponed.items() if not self._is_wanted(url)}
        self._postponed = {**waiting, **report.postponed}
        if not is_whole or self._context.test_mode:
            return
        try:
            if self._context.cancelled():
                self._ledger.give_up_run()
            else:
                self._ledger.end_run(has_failed=bool(report.failed))
        except GuerillaBackupError as error:
            report.fail(self._label, error)

    def _list_waiting(self) -> Iterator[SourceUrl]:
        """The sources of which there are files."""
        for log_input in self._listed.inputs:
            with contextlib.suppress(GuerillaBackupError), LogDirectory(log_input.directory) as directory:
                yield from group_by_source(log_input, directory.list_names())[0]

    def _is_new(self, url: SourceUrl) -> bool:
        """Whether it has no element yet, and was not tried: as those of a directory that was just added."""
        return url.text not in self._ledger.heads and url not in self._tried and self._is_wanted(url)

    def _is_wanted(self, url: SourceUrl) -> bool:
        return self._context.get_request(url) is not SourceRequest.NOT_NOW

    def _warn_of_unseen_writers(self) -> None:
        if self._writers.may_miss_some and not self._has_warned:
            self._has_warned = True
            log.warning(
                "unit %s: the open files of some processes may not be looked at: a log file that one of them"
                " still writes to may be taken; run the generator as root, where /proc shows all processes",
                self._unit_name,
                extra=STANDING,
            )


def _find_sources(log_input: LogInput) -> list[SourceUrl]:
    """The source that the entry names, or those of the files there are; none where they cannot be listed."""
    if log_input.named_source is not None:
        return [log_input.named_source]
    try:
        with LogDirectory(log_input.directory) as directory:
            return list(group_by_source(log_input, directory.list_names())[0])
    except GuerillaBackupError:
        return []
