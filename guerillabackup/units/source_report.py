"""What became of a unit's sources: told in the log, as events and as outcomes. No I/O."""

import logging
from collections.abc import Sequence

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import CancelledError, GuerillaBackupError
from guerillabackup.events import ElementStored, SourceFailed, SourceWarning
from guerillabackup.generator.interface import GIVEN_UP, SourceOutcome, UnitContext
from guerillabackup.generator.retry import Retries

MAX_LINES = 20
"""Lines of a program's messages that are told one by one."""

log = logging.getLogger(__name__)


class SourceReport:
    """Tells what happens to sources, and remembers which of them failed and how long each of these waits."""

    def __init__(self, context: UnitContext, retries: Retries) -> None:
        self._context = context
        self._retries = retries

    def pause(self, url: SourceUrl, now: float) -> float:
        """Seconds until a source that failed is tried again, 0 for any other."""
        return self._retries.pause(url, now)

    def has_failed(self, url: SourceUrl) -> bool:
        """Whether a source failed since it last went well."""
        return self._retries.has_failed(url)

    def stored(self, element_id: ElementId, content_size: int, data_size: int, seconds: float) -> None:
        """An element is durable, and remembered."""
        event = ElementStored(self._context.unit_name, element_id, content_size, data_size, seconds)
        self._context.listen(event)

    def went_well(self, url: SourceUrl) -> None:
        """The next failure of the source is the first one again."""
        self._retries.note_success(url)

    def warn(self, url: SourceUrl, message: str) -> None:
        log.warning("source %s: %s", url, message)
        self._context.listen(SourceWarning(self._context.unit_name, url, message))

    def warn_of_lines(self, url: SourceUrl, lines: Sequence[str]) -> None:
        """What a program said although it ended well; not all of it where that is much."""
        for line in lines[:MAX_LINES]:
            self.warn(url, line)
        if len(lines) > MAX_LINES:
            self.warn(url, f"and {len(lines) - MAX_LINES} more lines")

    def fail(self, url: SourceUrl, error: GuerillaBackupError) -> SourceOutcome:
        """There is no element of the source; when the generator ends, that is why, and no failure."""
        if not self._context.cancelled():
            return self.note_failure(url, error)
        # The programs may have been told to end as well, and whichever came first is no failure.
        error = error if isinstance(error, CancelledError) else CancelledError(f"cancelled: {error}")
        log.warning("source %s: %s: %s", url, GIVEN_UP, error)
        return SourceOutcome(url, None, error)

    def note_failure(self, url: SourceUrl, error: GuerillaBackupError) -> SourceOutcome:
        """The same where the end of the generator cannot be why."""
        seconds = self._retries.note_failure(url, self._context.clock())
        log.error("source %s: no backup: %s", url, error)
        self._context.listen(SourceFailed(self._context.unit_name, url, str(error), seconds))
        return SourceOutcome(url, None, error, seconds)
