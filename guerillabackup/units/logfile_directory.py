"""One entry of a LogfileBackupUnit's list in one run: its files, by source and in groups.

It joins the files, the making of elements and the ledger.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, SourceUrlError
from guerillabackup.osfile import storage_errors
from guerillabackup.units.logfile_files import show_path
from guerillabackup.units.logfile_input import LogInput
from guerillabackup.units.logfile_ledger import LogLedger
from guerillabackup.units.logfile_names import LogFile
from guerillabackup.units.logfile_report import RunReport
from guerillabackup.units.logfile_run import LogGroup, LogNotReadyError, LogOpenError, LogWriter
from guerillabackup.units.making import sign_parts

OVERDUE_SECONDS = 86400.0
"""How long a rotated log may be held open without a warning."""


class DirectoryRun:
    """Stores files that were listed in a directory, each source's in their order. Used once."""

    def __init__(
        self, writer: LogWriter, ledger: LogLedger, report: RunReport, listed: Collection[str]
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._report = report
        self._listed = frozenset(listed)
        self._apart: set[SourceUrl] = set()
        self._done: set[str] = set()
        self._files: Sequence[LogFile] = ()

    def run(self, files: Sequence[LogFile]) -> None:
        """Store what can be; what cannot stops its source only. Raises what concerns the memory of all."""
        self._files = files
        self._run(files)
        while self._apart:
            # Of the sources of a group that could not be stored, perhaps only one is why.
            url = self._apart.pop()
            self._run([file for file in files if file.source_url == url])

    def _run(self, files: Iterable[LogFile]) -> None:
        left = deque(file for file in files if file.name not in self._done)
        while left:
            with LogGroup(self._writer, self._ledger.heads) as group:
                while left and not group.is_full:
                    self._write(group, left.popleft())
                    if self._writer.context.cancelled():
                        return
                self._store(group)

    def _write(self, group: LogGroup, file: LogFile) -> None:
        url = file.source_url
        if url in self._apart or not self._report.is_wanted(url):
            return
        try:
            group.write(file)
        except LogOpenError as error:
            self._report.postpone(url, str(error), is_usual=not self._was_rotated_long_ago(file))
        except LogNotReadyError as error:
            self._report.postpone(url, str(error))
        except GuerillaBackupError as error:
            self._report.fail(url, error)

    def _was_rotated_long_ago(self, file: LogFile) -> bool:
        """Whether a file that is newer by its name was there a day ago: the old one should be closed."""
        of_source = [each for each in self._files if each.source_url == file.source_url]
        limit = self._writer.context.clock() - OVERDUE_SECONDS
        modified = (self._writer.directory.find_modified(each.name) for each in _after(file, of_source))
        return any(at is not None and at <= limit for at in modified)

    def _store(self, group: LogGroup) -> None:
        """Store a group; the sources of one that cannot be are tried apart."""
        try:
            with storage_errors(f"directory {self._writer.directory.path}"):
                for url, name in group.drop_rotated(self._listed).items():
                    where = self._writer.directory.show(name)
                    self._report.postpone(url, f"{where} just appeared: its files are being rotated")
            if self._writer.context.test_mode:
                for url in group.sources:
                    self._report.tested(url)
            elif group.written:
                self._keep(group)
        except GuerillaBackupError as error:
            self._ledger.recover()
            if len(group.sources) == 1:
                self._report.fail(group.sources[0], error)
            self._apart.update(group.sources[1:] and group.sources)

    def _keep(self, group: LogGroup) -> None:
        with group.syncing_ahead():
            parts = sign_parts(self._writer.context, [item.part for item in group.written])
        elements, unremoved = self._ledger.store(parts, group.stored_files)
        for item, element in zip(group.written, elements, strict=True):
            self._done.add(item.file.name)
            self._report.stored(element.get_element_id(), item.content_size, item.data_size, item.seconds)
        for url, error in unremoved.items():
            self._report.fail(url, error)


def _after(file: LogFile, files: Sequence[LogFile]) -> Sequence[LogFile]:
    return files[files.index(file) + 1 :]


def group_by_source(
    log_input: LogInput, names: Iterable[str]
) -> tuple[dict[SourceUrl, list[LogFile]], ConfigError | None]:
    """The files by their sources, and in one error those whose names give none."""
    files: dict[SourceUrl, list[LogFile]] = {}
    errors: list[str] = []
    for name in names:
        try:
            file = log_input.match(name)
        except SourceUrlError as error:
            errors.append(f"{show_path(log_input.directory, name)}: {error}")
            continue
        if file is not None:
            files.setdefault(file.source_url, []).append(file)
    if not errors:
        return files, None
    more = f" (and {len(errors) - 1} more files)" if len(errors) > 1 else ""
    return files, ConfigError(f"{errors[0]}{more}; a source transformation in place of None names a source")
