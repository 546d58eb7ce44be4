"""The loop of the service: waits in one poll for signals, ended runs, clients and the time.

Whatever may take long happens in the threads of the units, so this always comes round soon; systemd hears of
it as often as it wants to. It joins the schedule, the threads, the control socket and the signals.
"""

import json
import logging
import os
import random
import select
from collections.abc import Callable, Mapping
from typing import Any

from guerillabackup.errors import CancelledError, ConfigError, GuerillaBackupError
from guerillabackup.events import Event, PipelineProgress
from guerillabackup.events_json import describe_event
from guerillabackup.generator.control_messages import Request
from guerillabackup.generator.crew import Crew
from guerillabackup.generator.floor import NO_THREAD, Floor, Plant, UnitCrew, judge
from guerillabackup.generator.handed_back import describe_error
from guerillabackup.generator.outcome import UnitOutcome, describe_outcome
from guerillabackup.generator.report import Reporter, describe_refused
from guerillabackup.generator.schedule import Asked, Schedule, Start
from guerillabackup.generator.selection import choose_units
from guerillabackup.generator.timer import WakeTimer, uptime
from guerillabackup.generator.waiting_list import WaitingList
from guerillabackup.log_limit import LogLimit
from guerillabackup.observe.interface import Clients, Manager, Signals, Wish
from guerillabackup.unexpected import explain_no_thread

STOP_SECONDS = 60.0
"""For the runs to give up when the service ends; systemd waits for 90."""
HUNG_STOP_SECONDS = 10.0
"""The same where only hung ones are left."""

MAX_WAITING = 48
"""Clients that wait for the end of a backup: the others find room to ask, whatever hangs."""

Load = Callable[[], Plant]
"""Reads the configuration; raises ConfigError."""

log = logging.getLogger(__name__)


class GeneratorLoop:
    """One service, from its start to its end. Used once, by the main thread."""

    def __init__(
        self, plant: Plant, load: Load, server: Clients[Request], manager: Manager, clock: Callable[[], float]
    ) -> None:
        self._load = load
        self._server = server
        self._manager = manager
        self._clock = clock
        self._started_at = self._read_at = clock()
        self._refused: dict[str, Any] | None = None
        self._timer = WakeTimer(clock)
        self._crew: UnitCrew = Crew()
        self._lines = LogLimit()
        self._floor = Floor(self._crew, plant, uptime, self._lines)
        self._schedule = Schedule(plant.workers)
        self._reporter = Reporter()
        self._waiting = WaitingList()
        self._tickets: dict[str, int] = {}
        self._schedule.load(plant.plans(), uptime())
        self._next_alive = uptime()
        self._is_stopping = False
        self._give_up_at = 0.0

    def run(self, signals: Signals) -> None:
        """Until SIGTERM or SIGINT, and the end of what ran then."""
        signals.renew()
        self._manager.ready()
        while not self._has_ended():
            self._go_on(self._wait(signals), signals)
        self._tell_of_the_end()
        self._server.close()
        self._timer.close()

    def _wait(self, signals: Signals) -> Mapping[int, int]:
        """The descriptors for which there is something to do."""
        poll = select.poll()
        for descriptor in (signals.descriptor, self._crew.descriptor, self._timer.descriptor):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        for descriptor, events in self._server.poll_set().items():
            poll.register(descriptor, events)
        times = [self._schedule.wake_time(), self._server.wake_time()]
        if self._manager.watchdog_interval is not None:
            times.append(self._next_alive)
        if self._is_stopping:
            times.append(self._give_up_at)
        self._timer.set(min((time for time in times if time is not None), default=None))
        return dict(poll.poll(self._timer.timeout()))

    def _go_on(self, ready: Mapping[int, int], signals: Signals) -> None:
        now = uptime()
        if self._timer.was_clock_set():
            log.info("the clock was set, or the machine slept: all units are asked for their time again")
            self._schedule.clock_was_set(now)
        received = signals.take()
        if Wish.RELOAD in received and not self._is_stopping:
            self._reload(signals)
        if Wish.END in received and not self._is_stopping:
            self._stop()
        self._take_results()
        for client, request in self._server.handle(ready):
            self._answer(client, request, signals)
        self._server.expire()
        self._drop_gone_clients()
        self._find_stalled()
        self._start_runs()
        self._say_how_it_is()

    def _take_results(self) -> None:
        results, news = self._crew.take()
        # What a run told before its end was told before this result was there.
        for name, event in news:
            self._pass_on(name, event)
        for name, outcome in results:
            if outcome is None:
                self._floor.note_closed()
            else:
                self._end_run(name, outcome)

    def _pass_on(self, name: str, event: Event) -> None:
        try:
            message = {"event": describe_event(event), "unit": name}
            json.dumps(message)
        except Exception:  # a unit's own code may have made an event of anything
            log.debug("unit %s told something that cannot be passed on", name, exc_info=True)
            return
        for client in self._waiting.clients(self._tickets.get(name, 0)):
            self._server.tell(client, message, droppable=isinstance(event, PipelineProgress))

    def _end_run(self, name: str, outcome: UnitOutcome) -> None:
        if outcome.was_invoked:
            failed = len([source for source in outcome.sources if source.error is not None])
            log.info("unit %s: run has ended, %d of %d sources failed", name, failed, len(outcome.sources))
        ran, now_named = self._floor.note_end(name), self._floor.plant.units.get(name)
        self._tickets.pop(name, None)
        asked = self._schedule.end(name, judge(outcome), outcome.next_in, uptime(), random.random())
        self._reporter.note(outcome, self._clock(), only=() if asked is None else asked.sources)
        if now_named is not None and now_named is not ran:
            self._reporter.forget_unnamed(now_named, ran)
        if asked is not None:
            self._tell_ended(asked, describe_outcome(outcome))

    def _start_runs(self) -> None:
        while (start := self._schedule.next_start(uptime())) is not None:
            if start.asked is not None:
                self._tickets[start.unit_name] = start.asked.ticket
                message = {"started": start.asked.ticket, "unit": start.unit_name}
                for client in self._waiting.clients(start.asked.ticket):
                    self._server.tell(client, message, droppable=False)
            try:
                self._floor.start(start)
            except RuntimeError as error:
                self._end_unstarted(start, error)
            else:
                self._lines.over("units can be run again", NO_THREAD)
        self._lines.tell()

    def _end_unstarted(self, start: Start, error: RuntimeError) -> None:
        """No thread can be had now: it is tried again later, like what failed."""
        # Each unit is tried again and again: that fills no log.
        text = f"unit {start.unit_name}: cannot be run: {error}{explain_no_thread()}"
        self._lines.say(log, logging.ERROR, text, NO_THREAD)
        outcome = UnitOutcome(start.unit_name, error=GuerillaBackupError(f"cannot be run: {error}"))
        self._reporter.note(outcome, self._clock())
        self._tickets.pop(start.unit_name, None)
        asked = self._schedule.end(start.unit_name, judge(outcome), 0.0, uptime(), random.random())
        if asked is not None:
            self._tell_ended(asked, describe_outcome(outcome))

    def _find_stalled(self) -> None:
        for name, activity in self._floor.activities.items():
            self._schedule.note_life(name, activity.alive_at)
        for name in self._schedule.find_stalled(uptime()):
            log.error(
                "unit %s: its run is hung: no sign of life for %g s (PipelineStallTimeout); it goes on, and "
                "others are run beside it",
                name,
                self._floor.plant.plans()[name].stall_timeout if name in self._floor.plant.units else 0,
            )

    def _reload(self, signals: Signals) -> None:
        self._manager.reloading()
        try:
            plant = self._load()
        except Exception as error:  # files that are wrong in a way nobody thought of: nothing ends for that
            log.debug("reload", exc_info=True)
            text = str(error) if isinstance(error, GuerillaBackupError) else describe_error(error)
            log.error("the configuration cannot be used, and that of before stays in effect: %s", text)
            self._refused = {"at": self._clock(), "error": text, "units": []}
        else:
            self._read_at = self._clock()
            self._refused = describe_refused(plant.units.values(), self._read_at)
            before = self._floor.plant
            self._floor.use(plant)
            self._schedule.workers = plant.workers
            for asked in self._schedule.load(plant.plans(), uptime()):
                self._tell_unrun(asked, GuerillaBackupError("the unit was changed before it was run"))
            self._reporter.keep_only(plant.units, before.units)
            log.info("the configuration was read anew: %d units", len(plant.units))
        signals.renew()  # before anybody hears that the next one may come
        self._manager.ready()

    def _reload_for_client(self, signals: Signals) -> dict[str, Any]:
        """What SIGHUP does, and what came of it."""
        if self._is_stopping:
            raise ConfigError("the generator is ending")
        self._reload(signals)
        units = self._floor.plant.units
        broken = {name: str(unit.error) for name, unit in units.items() if unit.error is not None}
        return {"units": sorted(units), "refused": self._refused, "broken": broken}

    def _stop(self) -> None:
        self._manager.stopping()
        self._is_stopping = True
        for asked in self._schedule.stop():
            self._tell_unrun(asked, CancelledError("the generator is ending"))
        self._floor.cancel()
        self._give_up_at = uptime() + STOP_SECONDS

    def _has_ended(self) -> bool:
        if not self._is_stopping:
            return False
        if not self._floor.is_busy:
            return True
        names = {view.name for view in self._schedule.views(uptime()) if view.state.value == "running"}
        if not names:
            self._give_up_at = min(self._give_up_at, uptime() + HUNG_STOP_SECONDS)
        return uptime() >= self._give_up_at

    def _tell_of_the_end(self) -> None:
        for name in self._schedule.in_progress:
            log.error("unit %s: does not end; what it runs is left to systemd, or to you", name)

    def _answer(self, client: int, request: Request, signals: Signals) -> None:
        try:
            if request.command == "trigger":
                self._trigger(client, request)
            elif request.command == "reload":
                self._server.answer(client, {"ok": True, **self._reload_for_client(signals)})
            elif request.command == "list":
                self._server.answer(client, {"ok": True, "units": self._list_units()})
            else:
                self._server.answer(client, {"ok": True, **self._describe_status()})
        except GuerillaBackupError as error:
            problems = list(error.problems) if isinstance(error, ConfigError) else [str(error)]
            kind = type(error).__name__
            self._server.answer(
                client,
                {"ok": False, "error": str(error), "problems": problems, "kind": kind},
                is_watching=self._waiting.is_waiting(client),
            )

    def _trigger(self, client: int, request: Request) -> None:
        if not request.units and not request.sources:
            raise ConfigError("no unit and no source is named")
        if request.wait and len(self._waiting.all_clients) >= MAX_WAITING:
            raise ConfigError(f"{MAX_WAITING} clients wait for backups, which is the limit: use --no-wait")
        plant = self._floor.plant
        units = [self._reporter.with_known_sources(unit) for unit in plant.units.values()]
        chosen = choose_units(units, request.units, request.sources)
        runs: list[dict[str, Any]] = []
        problems: list[str] = []
        for unit in chosen:
            own = [url for url in request.sources if url in (unit.sources or ())]
            sources = [url for url in own if url not in plant.foreign[unit.name]]
            if own and not sources:
                continue
            try:
                asked = self._schedule.ask(
                    unit.name, sources, request.full, uptime(), accept_empty=request.accept_empty
                )
            except ConfigError as error:
                problems += error.problems
                continue
            if request.wait:
                self._waiting.add(client, asked, unit.name)
            runs.append({"ticket": asked.ticket, "unit": unit.name})
        if not runs:
            raise ConfigError(*problems)
        busy = self._schedule.in_progress
        answer = {
            "runs": runs,
            "problems": problems,
            "busy": [run["unit"] for run in runs if run["unit"] in busy],
        }
        self._server.answer(client, {"ok": True, **answer}, is_watching=self._waiting.is_waiting(client))
        self._floor.watched = self._waiting.watched_units

    def _list_units(self) -> list[dict[str, Any]]:
        views = self._schedule.views(uptime())
        return self._reporter.list_units(views, self._floor.plant.units, self._clock())

    def _describe_status(self) -> dict[str, Any]:
        views = self._schedule.views(uptime())
        status = self._reporter.describe_status(views, self._floor.activities, self._clock())
        return {
            "process_id": os.getpid(),
            "started_at": self._started_at,
            "units": len(views),
            "workers": self._schedule.workers,
            "stopping": self._is_stopping,
            "configuration_read_at": self._read_at,
            "refused": self._refused,
            "test_mode": self._floor.plant.test_mode,
            **status,
        }

    def _tell_ended(self, asked: Asked, outcome: Mapping[str, Any]) -> None:
        message = {"ended": asked.ticket, "outcome": outcome}
        for client in self._waiting.clients(asked.ticket):
            self._server.tell(client, message, droppable=False)
        for client in self._waiting.end(asked.ticket):
            self._server.release(client)
        self._floor.watched = self._waiting.watched_units

    def _tell_unrun(self, asked: Asked, reason: GuerillaBackupError) -> None:
        """What was asked for will not be run."""
        unit = self._waiting.unit_of(asked.ticket)
        if unit is not None:
            self._tell_ended(asked, describe_outcome(UnitOutcome(unit, error=reason)))

    def _drop_gone_clients(self) -> None:
        gone = [client for client in self._waiting.all_clients if not self._server.is_there(client)]
        for client in gone:
            self._waiting.forget(client)
        if gone:
            self._floor.watched = self._waiting.watched_units

    def _say_how_it_is(self) -> None:
        refused = "" if self._refused is None else "; the last reload was refused"
        self._manager.status(self._reporter.summarize(self._schedule.views(uptime())) + refused)
        interval = self._manager.watchdog_interval
        if interval is not None and uptime() >= self._next_alive:
            self._manager.alive()
            self._next_alive = uptime() + interval
