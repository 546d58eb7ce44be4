"""Which unit runs when, and in what order: every change of a unit's state is in NEXT, in this file. No I/O.

A unit runs at most once at a time, and no more than `workers` run at once. Those that are due and those that
somebody asked for wait in two queues that take turns, each in the order of coming: nobody waits for ever. A
run that gives no sign of life for too long is hung: it goes on for as long as it likes, but its worker's
place is free for others.

Times are seconds of a clock that nobody sets and that counts while the machine sleeps.
"""

import enum
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.retry import retry_delay

MIN_INTERVAL = 10.0
"""Seconds from the end of a run to the unit's next one, whatever the unit says; not for what is asked for."""
MIN_LOOK = 1.0
"""Seconds until a unit that is not due is asked again at the earliest."""
MAX_LOOK = 86400.0
"""Seconds until a unit is asked again at the latest."""
CONDITION_SECONDS = 60.0
"""Seconds until a run condition that does not hold is asked again."""
MAX_ASKED = 100
"""Requests that wait for one unit."""


class UnitState(enum.Enum):
    """What a unit does."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    HUNG = "hung"
    BROKEN = "broken"


class UnitEvent(enum.Enum):
    """What happens to a unit."""

    LOADED = "its files were read"
    REFUSED = "its files are wrong"
    DUE = "its time has come"
    ASKED = "somebody wants it to run"
    STARTED = "a worker runs it"
    STALLED = "it gave no sign of life for too long"
    ENDED = "its run has ended"


NEXT = {
    (UnitState.WAITING, UnitEvent.LOADED): UnitState.WAITING,
    (UnitState.WAITING, UnitEvent.REFUSED): UnitState.BROKEN,
    (UnitState.WAITING, UnitEvent.DUE): UnitState.QUEUED,
    (UnitState.WAITING, UnitEvent.ASKED): UnitState.QUEUED,
    (UnitState.QUEUED, UnitEvent.LOADED): UnitState.QUEUED,
    (UnitState.QUEUED, UnitEvent.REFUSED): UnitState.BROKEN,
    (UnitState.QUEUED, UnitEvent.ASKED): UnitState.QUEUED,
    (UnitState.QUEUED, UnitEvent.STARTED): UnitState.RUNNING,
    # What was read anew holds from the next run on.
    (UnitState.RUNNING, UnitEvent.LOADED): UnitState.RUNNING,
    (UnitState.RUNNING, UnitEvent.REFUSED): UnitState.RUNNING,
    (UnitState.RUNNING, UnitEvent.ASKED): UnitState.RUNNING,
    (UnitState.RUNNING, UnitEvent.STALLED): UnitState.HUNG,
    (UnitState.RUNNING, UnitEvent.ENDED): UnitState.WAITING,
    (UnitState.HUNG, UnitEvent.LOADED): UnitState.HUNG,
    (UnitState.HUNG, UnitEvent.REFUSED): UnitState.HUNG,
    (UnitState.HUNG, UnitEvent.ASKED): UnitState.HUNG,
    (UnitState.HUNG, UnitEvent.ENDED): UnitState.WAITING,
    (UnitState.BROKEN, UnitEvent.LOADED): UnitState.WAITING,
    (UnitState.BROKEN, UnitEvent.REFUSED): UnitState.BROKEN,
}
"""(state, event) -> next state; what is not listed cannot happen."""

IN_PROGRESS = (UnitState.RUNNING, UnitState.HUNG)


class EndKind(enum.Enum):
    """What came of looking at a unit."""

    NOT_DUE = "nothing was due"
    SKIPPED = "it was due, and its run condition does not hold"
    DONE = "it ran"
    FAILED = "it failed as a whole"


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that somebody asked for: of these sources, or of all when there are none, due or not."""

    ticket: int
    sources: tuple[SourceUrl, ...] = ()
    full: bool = False
    accept_empty: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """A unit to run now; `asked` when that is because somebody wants it."""

    unit_name: str
    asked: Asked | None


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What is known of a unit from its files: what is wrong with them, and when a run of it is hung."""

    problem: str | None
    stall_timeout: float


@dataclass(frozen=True, slots=True)
class UnitView:
    """A unit as it is now: its state since so many seconds, when it is looked at next, what waits for it."""

    name: str
    state: UnitState
    since: float
    next_in: float | None
    quiet: float | None
    failures: int
    asked: int
    problem: str | None


@dataclass(slots=True)
class _Unit:
    name: str
    plan: UnitPlan
    changed_at: float
    due_at: float
    state: UnitState = UnitState.WAITING
    order: int = 0
    asked: deque[Asked] = field(default_factory=deque)
    running: Asked | None = None
    alive_at: float = 0.0
    failures: int = 0
    is_gone: bool = False
    is_time_doubtful: bool = False

    def change(self, event: UnitEvent, now: float) -> None:
        following = NEXT[self.state, event]
        if following is not self.state:
            self.state, self.changed_at = following, now


class Schedule:
    """Decides; whoever runs the units tells it what happened. Used by one thread."""

    def __init__(self, workers: int, *, min_interval: float = MIN_INTERVAL) -> None:
        self.workers = workers
        self._min_interval = min_interval
        self._units: dict[str, _Unit] = {}
        self._count = 0
        self._is_askeds_turn = True
        self._is_stopping = False

    def load(self, plans: Mapping[str, UnitPlan], now: float) -> list[Asked]:
        """The units there are from now on; all are looked at soon. Hands back what is not run any more.

        One that runs goes on, also when it is gone from the files: its name is free when it has ended.
        """
        dropped: list[Asked] = []
        for name in [name for name in self._units if name not in plans]:
            unit = self._units[name]
            dropped += self._drop_asked(unit)
            unit.is_gone = True
            if unit.state not in IN_PROGRESS:
                del self._units[name]
        for name, plan in plans.items():
            unit = self._units.setdefault(name, _Unit(name, plan, now, now))
            unit.plan, unit.due_at, unit.failures, unit.is_gone = plan, now, 0, False
            unit.change(UnitEvent.LOADED if plan.problem is None else UnitEvent.REFUSED, now)
            if plan.problem is not None:
                dropped += self._drop_asked(unit)
        return dropped

    def ask(
        self,
        name: str,
        sources: Sequence[SourceUrl],
        full: bool,
        now: float,
        *,
        accept_empty: bool = False,
    ) -> Asked:
        """Run a unit whatever its timing and condition say; after its run, if it runs.

        The same that waits already is not asked for twice. Raises ConfigError for what cannot be run.
        """
        unit = self._units.get(name)
        if unit is None or unit.is_gone:
            raise ConfigError(f"there is no unit {name!r}; there are: {', '.join(self.names) or 'none'}")
        if unit.plan.problem is not None:
            raise ConfigError(f"unit {name} cannot be run: {unit.plan.problem}")
        if self._is_stopping:
            raise ConfigError("the generator is ending")
        for asked in unit.asked:
            if (asked.sources, asked.full, asked.accept_empty) == (tuple(sources), full, accept_empty):
                return asked
        if len(unit.asked) >= MAX_ASKED:
            raise ConfigError(f"{MAX_ASKED} requests wait for unit {name} already, which is the limit")
        self._count += 1
        asked = Asked(self._count, tuple(sources), full, accept_empty)
        unit.asked.append(asked)
        self._queue(unit, UnitEvent.ASKED, now)
        return asked

    def next_start(self, now: float) -> Start | None:
        """The next unit that a worker is to run now; it counts as running from here on."""
        if self._is_stopping:
            return None
        for unit in sorted(self._units.values(), key=lambda unit: (unit.due_at, unit.name)):
            if unit.state is UnitState.WAITING and unit.due_at <= now:
                self._queue(unit, UnitEvent.DUE, now)
        if sum(unit.state is UnitState.RUNNING for unit in self._units.values()) >= self.workers:
            return None
        chosen = self._choose()
        if chosen is None:
            return None
        chosen.change(UnitEvent.STARTED, now)
        chosen.running = chosen.asked.popleft() if chosen.asked else None
        chosen.alive_at = now
        chosen.is_time_doubtful = False
        return Start(chosen.name, chosen.running)

    def note_life(self, name: str, at: float) -> None:
        """A run gave a sign of life."""
        unit = self._units[name]
        unit.alive_at = max(unit.alive_at, at)

    def find_stalled(self, now: float) -> list[str]:
        """The runs that are hung from now on."""
        stalled = [
            unit
            for unit in self._units.values()
            if unit.state is UnitState.RUNNING and now - unit.alive_at >= unit.plan.stall_timeout
        ]
        for unit in stalled:
            unit.change(UnitEvent.STALLED, now)
        return [unit.name for unit in stalled]

    def end(self, name: str, kind: EndKind, seconds: float, now: float, jitter: float) -> Asked | None:
        """A run has ended; the unit wants the next one in `seconds`. Hands back what had been asked for."""
        unit = self._units[name]
        unit.change(UnitEvent.ENDED, now)
        unit.failures = unit.failures + 1 if kind is EndKind.FAILED else 0
        unit.due_at = now + self._wait(unit, kind, seconds, jitter)
        ended, unit.running = unit.running, None
        if unit.is_gone:
            del self._units[name]
        elif unit.plan.problem is not None:
            unit.change(UnitEvent.REFUSED, now)
        elif unit.asked:
            self._queue(unit, UnitEvent.ASKED, now)
        return ended

    def clock_was_set(self, now: float) -> None:
        """What units say of their time holds no longer: all that wait for it are asked again.

        What runs may have worked its time out before. It may also be that the machine slept: what runs could
        show no life meanwhile.
        """
        for unit in self._units.values():
            if unit.state is UnitState.WAITING and unit.failures == 0:
                unit.due_at = now
            if unit.state in IN_PROGRESS:
                unit.is_time_doubtful = True
            if unit.state is UnitState.RUNNING:
                unit.alive_at = now

    def stop(self) -> list[Asked]:
        """Start nothing any more; hands back what will not be run."""
        self._is_stopping = True
        return [asked for unit in self._units.values() for asked in self._drop_asked(unit)]

    def wake_time(self) -> float | None:
        """When there is something to do next, if nothing happens before."""
        times = [
            unit.alive_at + unit.plan.stall_timeout
            for unit in self._units.values()
            if unit.state is UnitState.RUNNING
        ]
        if not self._is_stopping:
            times += [unit.due_at for unit in self._units.values() if unit.state is UnitState.WAITING]
        return min(times, default=None)

    @property
    def names(self) -> list[str]:
        """The units there are, sorted."""
        return sorted(name for name, unit in self._units.items() if not unit.is_gone)

    @property
    def in_progress(self) -> list[str]:
        """The units that run, hung ones too."""
        return sorted(unit.name for unit in self._units.values() if unit.state in IN_PROGRESS)

    def views(self, now: float) -> list[UnitView]:
        """All units, sorted by name."""
        return [self._view(self._units[name], now) for name in sorted(self._units)]

    def _view(self, unit: _Unit, now: float) -> UnitView:
        is_running = unit.state in IN_PROGRESS
        return UnitView(
            unit.name,
            unit.state,
            now - unit.changed_at,
            max(0.0, unit.due_at - now) if unit.state is UnitState.WAITING else None,
            now - unit.alive_at if is_running else None,
            unit.failures,
            len(unit.asked),
            unit.plan.problem,
        )

    def _queue(self, unit: _Unit, event: UnitEvent, now: float) -> None:
        was = unit.state
        unit.change(event, now)
        if was is not unit.state:
            self._count += 1
            unit.order = self._count

    def _choose(self) -> _Unit | None:
        """The first of the queue whose turn it is; of the other one where that is empty."""
        queued = [unit for unit in self._units.values() if unit.state is UnitState.QUEUED]
        asked = [unit for unit in queued if unit.asked]
        due = [unit for unit in queued if not unit.asked]
        first, second = (asked, due) if self._is_askeds_turn else (due, asked)
        chosen = first or second
        if not chosen:
            return None
        self._is_askeds_turn = chosen is due
        return min(chosen, key=lambda unit: unit.order)

    def _wait(self, unit: _Unit, kind: EndKind, seconds: float, jitter: float) -> float:
        if kind is EndKind.FAILED:
            return retry_delay(unit.failures, jitter)
        if kind is EndKind.SKIPPED:
            return CONDITION_SECONDS
        least = self._min_interval if kind is EndKind.DONE else MIN_LOOK
        # What a unit's own code says may be no number at all.
        return least if math.isnan(seconds) or unit.is_time_doubtful else min(max(seconds, least), MAX_LOOK)

    @staticmethod
    def _drop_asked(unit: _Unit) -> list[Asked]:
        dropped = list(unit.asked)
        unit.asked.clear()
        return dropped
