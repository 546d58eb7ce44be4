"""What the run of each unit is about just now, told by its own thread and read by others. No I/O.

Each attribute is set as a whole, so that no reader sees half of one.
"""

from typing import Any

from guerillabackup.events import Event, PipelineProgress, SourceStarted


class Activity:
    """Of one run."""

    def __init__(self, now: float) -> None:
        self.alive_at = now
        self._source: str | None = None
        self._progress: PipelineProgress | None = None

    def note(self, event: Event, now: float) -> None:
        """Something happened in the run: it is not hung. A pipeline that does nothing ends itself."""
        self.alive_at = now
        if isinstance(event, SourceStarted):
            self._source, self._progress = str(event.source_url), None
        elif isinstance(event, PipelineProgress):
            self._source, self._progress = str(event.source_url), event

    def describe(self) -> dict[str, Any]:
        """As a JSON object; bytes are what was read of the source, `expected` how many there may be."""
        progress = self._progress
        described: dict[str, Any] = {"source": self._source, "bytes": None, "expected": None, "stages": []}
        if progress is not None and progress.stages:
            first = progress.stages[0]
            described["bytes"] = max(first.bytes_written, first.bytes_read, 0)
            described["expected"] = progress.expected
            described["stages"] = [
                {"stage": stage.stage, "bytes_read": stage.bytes_read, "bytes_written": stage.bytes_written}
                for stage in progress.stages
            ]
        return described
