"""What a run of a LogfileBackupUnit came to so far, and which sources it has stopped for. No I/O."""

import logging
from collections.abc import Callable

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import CancelledError, GuerillaBackupError
from guerillabackup.events import ElementStored, SourceFailed, SourceWarning
from guerillabackup.generator.interface import SourceOutcome, SourceRequest, UnitContext

log = logging.getLogger(__name__)


class RunReport:
    """Outcomes of one run. Of a source that is stopped no further file is stored, for the order's sake."""

    def __init__(self, context: UnitContext, note_failure: Callable[[SourceUrl], int]) -> None:
        """`note_failure` hands back in how many seconds what failed is tried again."""
        self._context = context
        self._note_failure = note_failure
        self.failed: set[SourceUrl] = set()
        self._stopped: set[SourceUrl] = set()
        self.outcomes: list[SourceOutcome] = []

    def is_wanted(self, url: SourceUrl) -> bool:
        """Whether this run is about the source, and has not stopped for it."""
        return url not in self._stopped and self._context.get_request(url) is not SourceRequest.NOT_NOW

    def stored(self, element_id: ElementId, content_size: int, data_size: int, seconds: float) -> None:
        """An element is durable, and remembered."""
        self.outcomes.append(SourceOutcome(element_id.source_url, element_id))
        event = ElementStored(self._context.unit_name, element_id, content_size, data_size, seconds)
        self._context.listen(event)

    def tested(self, url: SourceUrl) -> None:
        """All went well in test mode."""
        self.outcomes.append(SourceOutcome(url, None))

    def postpone(self, url: SourceUrl, reason: str) -> None:
        """Stop for a source until the next run, without an error."""
        self._stopped.add(url)
        log.warning("source %s: left for the next run: %s", url, reason)
        self._context.listen(SourceWarning(self._context.unit_name, url, f"left for the next run: {reason}"))

    def fail(self, url: SourceUrl, error: GuerillaBackupError) -> None:
        """Stop for a source with an error; when the generator ends, that is why."""
        self._stopped.add(url)
        if not self._context.cancelled():
            self._tell_failed(url, error)
            return
        error = error if isinstance(error, CancelledError) else CancelledError(f"cancelled: {error}")
        log.warning("source %s: given up, to be made after the next start: %s", url, error)
        self.outcomes.append(SourceOutcome(url, None, error))

    def fail_label(self, label: SourceUrl, error: GuerillaBackupError) -> None:
        """An error of no single source, told under the name of an entry; it stops no source of that name."""
        if self._context.get_request(label) is not SourceRequest.NOT_NOW:
            self._tell_failed(label, error)

    def _tell_failed(self, url: SourceUrl, error: GuerillaBackupError) -> None:
        log.error("source %s: no backup: %s", url, error)
        seconds = self._note_failure(url)
        self.failed.add(url)
        self._context.listen(SourceFailed(self._context.unit_name, url, str(error), seconds))
        self.outcomes.append(SourceOutcome(url, None, error, seconds))
