"""What a run of a LogfileBackupUnit came to so far, and which sources it has stopped for. No I/O."""

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.generator.interface import SourceOutcome, SourceRequest, UnitContext
from guerillabackup.units.source_report import SourceReport


class RunReport:
    """Outcomes of one run. Of a source that is stopped no further file is stored, for the order's sake."""

    def __init__(self, context: UnitContext, report: SourceReport) -> None:
        self._context = context
        self._report = report
        self.failed: set[SourceUrl] = set()
        self._stopped: set[SourceUrl] = set()
        self.postponed: dict[SourceUrl, str] = {}
        self.outcomes: list[SourceOutcome] = []

    def is_wanted(self, url: SourceUrl) -> bool:
        """Whether this run is about the source, and has not stopped for it."""
        return url not in self._stopped and self._context.get_request(url) is not SourceRequest.NOT_NOW

    def stored(self, element_id: ElementId, content_size: int, data_size: int, seconds: float) -> None:
        """An element is durable, and remembered."""
        self.outcomes.append(SourceOutcome(element_id.source_url, element_id))
        self._report.stored(element_id, content_size, data_size, seconds)

    def tested(self, url: SourceUrl) -> None:
        """All went well in test mode."""
        self.outcomes.append(SourceOutcome(url, None))

    def postpone(self, url: SourceUrl, reason: str, *, is_usual: bool = False) -> None:
        """Stop for a source until the next run, without an error; without a warning where that is usual."""
        self._stopped.add(url)
        self.postponed[url] = reason
        if not is_usual:
            self._report.warn(url, f"left for the next run: {reason}")

    def fail(self, url: SourceUrl, error: GuerillaBackupError) -> None:
        """Stop for a source with an error; when the generator ends, that is why."""
        self._stopped.add(url)
        outcome = self._report.fail(url, error)
        if outcome.retry_after:
            self.failed.add(url)
        self.outcomes.append(outcome)

    def fail_label(self, label: SourceUrl, error: GuerillaBackupError) -> None:
        """An error of no single source, told under the name of an entry; it stops no source of that name."""
        if self._context.get_request(label) is not SourceRequest.NOT_NOW:
            self.failed.add(label)
            self.outcomes.append(self._report.note_failure(label, error))
