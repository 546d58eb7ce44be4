"""Shows on a terminal how far the work is: a line for each source or element, one for each pipeline stage.

It consumes the events of events.py. rich is imported by this module only, and only for a terminal.
Touches: rich, time.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guerillabackup.cli.format import human_rate, human_size, human_span
from guerillabackup.events import (
    ElementStored,
    Event,
    EventListener,
    PipelineProgress,
    RestoreProgress,
    SourceFailed,
    TransferEnded,
    TransferProgress,
    VerifyProgress,
    ignore_events,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WINDOW = 10.0
"""Seconds over which a rate is averaged."""


class RateMeter:
    """The rate of a growing count over the last seconds, and when the rest will be done."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, seconds: float, count: int) -> None:
        """Take note of the count at a time; times never run backwards."""
        self._samples.append((seconds, count))
        while len(self._samples) > 2 and seconds - self._samples[1][0] > WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Per second; None before there is anything to say."""
        if len(self._samples) < 2:
            return None
        (first_time, first), (last_time, last) = self._samples[0], self._samples[-1]
        if last_time <= first_time:
            return None
        return max(0.0, (last - first) / (last_time - first_time))

    def seconds_left(self, total: int | None) -> float | None:
        """Until the count reaches `total`, at the present rate; None when nobody can say."""
        rate = self.rate
        if total is None or not rate:
            return None
        return max(0.0, (total - self._samples[-1][1]) / rate)


class ProgressReporter:
    """Turns events into the lines of a display; a listener, safe to call from the threads that work."""

    def __init__(self, display: "Progress", clock: Callable[[], float] = time.monotonic) -> None:
        self._display = display
        self._clock = clock
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._meters: dict[tuple[str, str], RateMeter] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, PipelineProgress):
            self._show_pipeline(event)
        elif isinstance(event, VerifyProgress | RestoreProgress):
            what = "verify" if isinstance(event, VerifyProgress) else "restore"
            subject = f"{what} {event.element_id}"
            if event.bytes_read >= event.size:
                self._end(subject)
            else:
                self._show(subject, "", self._clock(), event.bytes_read, event.size)
        elif isinstance(event, TransferProgress):
            self._show_transfer(event)
        elif isinstance(event, TransferEnded):
            self._end(f"peer {event.agent_id}")
        elif isinstance(event, SourceFailed):
            self._end(str(event.source_url))
        elif isinstance(event, ElementStored):
            self._end(str(event.element_id.source_url))

    def _show_pipeline(self, event: PipelineProgress) -> None:
        subject = str(event.source_url)
        if not event.stages:
            return
        first = event.stages[0]
        done = first.bytes_written if first.bytes_written >= 0 else max(0, first.bytes_read)
        self._show(subject, "", event.seconds, done, event.expected)
        share = done / event.expected if event.expected else 0.0
        for number, stage in enumerate(event.stages):
            handled = stage.bytes_read if stage.bytes_read > 0 else max(0, stage.bytes_written)
            # A stage's own total is not known before its end: its share is that of the first one.
            total = round(handled / share) if share > 0 else None
            self._show(subject, f"{number} {stage.stage}", event.seconds, handled, total)

    def _show_transfer(self, event: TransferProgress) -> None:
        """One line; nobody knows how much there is to come."""
        subject = f"peer {event.agent_id}"
        self._show(subject, "", self._clock(), event.bytes_received + event.bytes_sent, None)
        count = event.elements_received + event.elements_sent
        moving = f", {event.current}" if event.current else ""
        self._display.update(self._tasks[subject, ""], description=f"{subject}: {count} elements{moving}")

    def _show(self, subject: str, stage: str, seconds: float, done: int, total: int | None) -> None:
        key = (subject, stage)
        meter = self._meters.setdefault(key, RateMeter())
        meter.add(seconds, done)
        rate, left = meter.rate, meter.seconds_left(total)
        fields: dict[str, Any] = {
            "amount": human_size(done),
            "rate": "" if rate is None else human_rate(rate),
            "left": "" if left is None else f"{human_span(left)} left",
        }
        if key not in self._tasks:
            name = f"  {stage.partition(' ')[2]}" if stage else subject
            self._tasks[key] = self._display.add_task(name, total=total, **fields)
        shown_total = None if total is None else max(total, done)
        self._display.update(self._tasks[key], completed=done, total=shown_total, **fields)

    def _end(self, subject: str) -> None:
        for key in [key for key in self._tasks if key[0] == subject]:
            self._display.remove_task(self._tasks.pop(key))
            del self._meters[key]


@contextmanager
def show_progress(on_terminal: bool) -> Iterator[EventListener]:
    """A listener that draws on stderr while the context lasts and leaves nothing there; else a deaf one."""
    if not on_terminal:
        yield ignore_events
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}", justify="right", markup=False),
        TextColumn("{task.fields[rate]}", justify="right", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=4,
    )
    with display:
        yield ProgressReporter(display)
