"""The units of a service at work: each in a thread of its own, with what is known of its run.

Only the loop calls it. It joins the schedule's decisions, the runners and the threads.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from guerillabackup.element import SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.events import ElementStored, Event
from guerillabackup.generator.activity import Activity
from guerillabackup.generator.crew import Crew
from guerillabackup.generator.handed_back import describe_error
from guerillabackup.generator.interface import SourceRequest
from guerillabackup.generator.outcome import UnitOutcome
from guerillabackup.generator.runner import GetRequest, Surroundings, UnitRunner
from guerillabackup.generator.schedule import Asked, EndKind, Start, UnitPlan
from guerillabackup.generator.selection import LoadedUnit, make_request
from guerillabackup.log_limit import LogLimit

UnitNews = tuple[str, Event]
UnitCrew = Crew[UnitOutcome | None, UnitNews]

NO_THREAD = "no thread"
"""The topic of lines that tell of threads which cannot be had."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plant:
    """What the configuration says: the units, what they share, and how many run at once."""

    units: Mapping[str, LoadedUnit]
    foreign: Mapping[str, Mapping[SourceUrl, str]]
    surroundings: Surroundings
    workers: int
    state_directory: str
    runtime_directory: str
    prepare_thread: Callable[[], None] = field(default=lambda: None)
    default_stall_timeout: float = 3600.0

    @property
    def test_mode(self) -> list[str]:
        """The units that store nothing."""
        return [name for name, unit in self.units.items() if unit.test_mode is not None]

    def plans(self) -> dict[str, UnitPlan]:
        """As the schedule wants it."""
        return {
            name: UnitPlan(
                None if unit.error is None else str(unit.error),
                float(unit.configuration.get("PipelineStallTimeout") or self.default_stall_timeout),
            )
            for name, unit in self.units.items()
        }


class Floor:
    """Runs units in threads; `watched` are those whose events the loop wants to have."""

    def __init__(
        self, crew: UnitCrew, plant: Plant, uptime: Callable[[], float], lines: LogLimit | None = None
    ) -> None:
        self._crew = crew
        self._lines = lines or LogLimit()
        self._uptime = uptime
        self._runners: dict[str, UnitRunner] = {}
        self._working: dict[str, UnitRunner] = {}
        self._closing = 0
        self._is_cancelled = False
        self.activities: dict[str, Activity] = {}
        self.watched: frozenset[str] = frozenset()
        self.plant = plant
        self.use(plant)

    @property
    def is_busy(self) -> bool:
        """Whether threads are at work, those of hung units too."""
        return bool(self._working) or self._closing > 0

    def use(self, plant: Plant) -> None:
        """The units are those of this plant from now on; what runs goes on as it is."""
        self.plant = plant
        before, self._runners = self._runners, {}
        for name, unit in plant.units.items():
            surroundings = replace(
                plant.surroundings,
                listen=partial(self._listen, name),
                cancelled=lambda: self._is_cancelled,
            )
            predecessor = before.pop(name, None) or self._working.get(name)
            self._runners[name] = UnitRunner(unit, plant.foreign[name], surroundings, predecessor)
        for name, runner in before.items():
            if name not in self._working:
                self._close(runner)

    def start(self, start: Start) -> None:
        """Run a unit; raises RuntimeError where there is no thread to be had."""
        name = start.unit_name
        runner = self._runners[name]
        runner.is_used = True
        self._working[name] = runner
        self.activities[name] = Activity(self._uptime())
        try:
            self._crew.start(name, partial(self._work, runner, start.asked))
        except BaseException:
            del self._working[name], self.activities[name]
            raise

    def note_end(self, name: str) -> LoadedUnit:
        """A run has ended, and what it made is told. Hands back the unit as it was run."""
        runner = self._working.pop(name)
        self.activities.pop(name, None)
        if name not in self._runners:
            self._close(runner)
        return runner.unit

    def note_closed(self) -> None:
        """A thread that closed a unit has ended."""
        self._closing -= 1

    def cancel(self) -> None:
        """Let all that runs give up, and close the rest."""
        self._is_cancelled = True
        for name, runner in self._runners.items():
            if name not in self._working:
                self._close(runner)

    def _close(self, runner: UnitRunner) -> None:
        def close() -> None:
            runner.close()

        if not runner.is_used and not runner.has_predecessor:
            return
        try:
            self._crew.start(f"{runner.unit.name}-closing", close)
        except RuntimeError as error:
            text = f"unit {runner.unit.name} cannot be closed: {error}"
            self._lines.say(log, logging.WARNING, text, NO_THREAD)
        else:
            self._closing += 1

    def _work(self, runner: UnitRunner, asked: Asked | None) -> UnitOutcome:
        try:
            self.plant.prepare_thread()
            is_asked = asked is not None
            return runner.look(_request_of(asked), is_asked=is_asked, heeds_condition=not is_asked)
        except BaseException as error:  # nothing that a unit does may end its thread without a word
            text = f"unexpected {describe_error(error)}"
            log.error("unit %s: %s", runner.unit.name, text, exc_info=True)
            return UnitOutcome(runner.unit.name, error=GuerillaBackupError(text))

    def _listen(self, name: str, event: Event) -> None:
        """From the thread of a unit, and those it starts."""
        if not isinstance(event, Event):
            raise TypeError(f"a {type(event).__name__} is no event")  # it is the unit's own error
        activity = self.activities.get(name)
        if activity is not None:
            activity.note(event, self._uptime())
        if isinstance(event, ElementStored):
            log.info("unit %s: stored %s, %d bytes", name, event.element_id, event.data_size)
        if name in self.watched:
            self._crew.tell((name, event))


def judge(outcome: UnitOutcome) -> EndKind:
    """What the schedule has to know of an outcome.

    A unit that made nothing, failed, and says that it is due at once has failed as a whole.
    """
    if outcome.error is not None:
        return EndKind.FAILED
    if outcome.skipped is not None:
        return EndKind.SKIPPED
    if not outcome.was_invoked:
        return EndKind.NOT_DUE
    has_failed = bool(outcome.errors) and all(source.error is not None for source in outcome.sources)
    return EndKind.FAILED if has_failed and outcome.next_in <= 0 else EndKind.DONE


def _request_of(asked: Asked | None) -> GetRequest:
    if asked is None:
        return lambda url: SourceRequest.WHEN_DUE
    if asked.sources:
        return make_request(asked.sources, full=asked.full, accept_empty=asked.accept_empty)
    return lambda url: SourceRequest.FULL if asked.full else SourceRequest.NOW
