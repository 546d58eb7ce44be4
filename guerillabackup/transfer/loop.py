"""The loop of the service: waits in one poll for signals, clients, changes and the time.

Everything that may take long happens in the threads of connections and connectors, so it comes round soon. It
joins the works, the control socket and the signals.
"""

import logging
import os
import select
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import Event
from guerillabackup.events_json import describe_event
from guerillabackup.observe.interface import Clients, Manager, Signals, Wish
from guerillabackup.transfer.control_messages import Request
from guerillabackup.transfer.interface import TransferCounters
from guerillabackup.transfer.plan import find_dial_problems
from guerillabackup.transfer.report import (
    RateMeter,
    describe_counters,
    describe_peer,
    subtract_counters,
    sum_moved,
    summarize,
)
from guerillabackup.transfer.works import Works

BUSY_SECONDS = 1.0
"""Between two looks at what moves."""
WATCHED_SECONDS = 0.25
"""The same while somebody follows it."""
HELD_SECONDS = 60.0
"""Between two looks at lines of the log that are held back, to be counted."""
FORCE_SECONDS = 20.0
"""For connections to end that were forced to."""
MAX_EVENTS = 10_000
SWITCH_SECONDS = 0.001
"""That one thread may keep the others from running Python: those of connections have short turns."""

log = logging.getLogger(__name__)


class Operations(Protocol):
    """What the configuration has a part in."""

    @property
    def shutdown_time(self) -> float:
        """Seconds that connections have to end in order."""

    @property
    def bandwidth_limit(self) -> int | None:
        """Bytes a second."""

    def reload(self) -> None:
        """Read it anew; raises ConfigError for what cannot be used."""

    def try_again(self, agent_ids: Collection[str]) -> None:
        """Have also that tried which was refused lately of these peers."""

    def describe(self) -> dict[str, Any]:
        """What more there is to say of the service."""

    def set_limit(self, rate: int | None) -> None:
        """Bytes a second, until the next reload changes it."""


class Wake:
    """Wakes the loop from any thread; and the events on their way to those who follow."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.is_listened_to = False

    def __call__(self) -> None:
        """Something has changed."""
        try:
            os.eventfd_write(self.descriptor, 1)
        except OSError:
            return  # it has ended, or was woken often enough

    def listen(self, event: Event) -> None:
        """A listener for policies."""
        if self.is_listened_to:
            self._events.append(event)

    def take(self) -> list[Event]:
        """What happened since the last time."""
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            pass
        return [self._events.popleft() for _ in range(len(self._events))]

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class _Waited:
    """An attempt to dial a peer whose end a client waits for."""

    client: int
    peer: str
    attempt: int
    before: TransferCounters


class TransferLoop:
    """One service, from its start to its end. Used once, by the main thread."""

    def __init__(
        self, works: Works, operations: Operations, clients: Clients[Request], manager: Manager, wake: Wake
    ) -> None:
        self._works = works
        self._operations = operations
        self._clients = clients
        self._manager = manager
        self._wake = wake
        self._started_at = self._read_at = time.time()
        self._refused: dict[str, Any] | None = None
        self._waited: list[_Waited] = []
        self._meter = RateMeter()
        self._next_alive = time.monotonic()
        self._stop_signals = 0
        self._give_up_at = 0.0

    def run(self, signals: Signals) -> None:
        """Until SIGTERM or SIGINT, and the end of the connections then; a second one ends them at once."""
        signals.renew()  # the configuration's own code may have changed that
        sys.setswitchinterval(SWITCH_SECONDS)
        self._manager.ready()
        while not self._has_ended():
            self._go_on(self._wait(signals), signals)
        self._tell_ends(is_over=True)
        self._clients.close()

    def _wait(self, signals: Signals) -> Mapping[int, int]:
        poll = select.poll()
        for descriptor in (signals.descriptor, self._wake.descriptor):
            poll.register(descriptor, select.POLLIN)
        for descriptor, events in self._clients.poll_set().items():
            poll.register(descriptor, events)
        now = time.monotonic()
        times = [self._clients.wake_time()]
        if self._manager.watchdog_interval is not None:
            times.append(self._next_alive)
        if self._waited or self._stop_signals:
            times.append(now + WATCHED_SECONDS)
        elif self._works.connections:
            times.append(now + BUSY_SECONDS)
        if self._works.tell_held_lines():
            times.append(now + HELD_SECONDS)
        known = [each for each in times if each is not None]
        return dict(poll.poll(max(0.0, min(known) - now) * 1000 + 1 if known else None))

    def _go_on(self, ready: Mapping[int, int], signals: Signals) -> None:
        received = signals.take()
        if Wish.RELOAD in received and not self._stop_signals:
            self._reload(signals)
        if Wish.END in received:
            self._stop()
        self._meter.add(time.monotonic(), sum_moved(self._works.status().values()))
        self._tell_events(self._wake.take())
        self._tell_ends()
        for client, request in self._clients.handle(ready):
            self._answer(client, request)
        self._clients.expire()
        self._waited = [each for each in self._waited if self._clients.is_there(each.client)]
        self._wake.is_listened_to = bool(self._waited)
        self._say_how_it_is()

    def _reload(self, signals: Signals) -> None:
        self._manager.reloading()
        try:
            self._operations.reload()
        except GuerillaBackupError as error:
            log.error("the configuration cannot be used, and that of before stays in effect: %s", error)
            self._refused = {"at": time.time(), "error": str(error)}
        # No signal raises anything here: also KeyboardInterrupt is the configuration's.
        except (
            Exception,
            KeyboardInterrupt,
        ) as error:  # values of a site's own may raise anything, and the connections go on
            log.exception("the configuration cannot be used, and that of before stays in effect")
            self._refused = {"at": time.time(), "error": f"{type(error).__name__}: {error}"}
        else:
            self._read_at, self._refused = time.time(), None
            log.info("the configuration was read anew: %d peers", len(self._works.lines()))
        signals.renew()
        self._manager.ready()

    def _stop(self) -> None:
        self._stop_signals += 1
        seconds = self._operations.shutdown_time if self._stop_signals == 1 else 0.0
        if self._stop_signals == 1:
            self._manager.stopping()
            log.info("ending: what is under way has %g s", seconds)
        self._works.stop(seconds)
        self._give_up_at = time.monotonic() + seconds + FORCE_SECONDS

    def _has_ended(self) -> bool:
        if not self._stop_signals:
            return False
        return self._works.connections == 0 or time.monotonic() >= self._give_up_at

    def _answer(self, client: int, request: Request) -> None:
        try:
            if request.command == "connect":
                self._connect(client, request)
            elif request.command == "limit":
                self._operations.set_limit(request.rate)
                self._clients.answer(client, {"ok": True, "bandwidth_limit": request.rate})
            else:
                self._clients.answer(client, {"ok": True, **self._describe()})
        except GuerillaBackupError as error:
            problems = list(error.problems) if isinstance(error, ConfigError) else [str(error)]
            kind = type(error).__name__
            self._clients.answer(
                client, {"ok": False, "error": str(error), "problems": problems, "kind": kind}
            )

    def _connect(self, client: int, request: Request) -> None:
        dialled = self._works.dialled()
        known = [line.plan.agent_id for line in self._works.lines()]
        if problems := find_dial_problems(request.peers, dialled, known):
            raise ConfigError(*problems)
        if not dialled:
            raise ConfigError("no peer is dialled by this service: TransferPeers has none with Connect")
        if self._stop_signals:
            raise GuerillaBackupError("the service is ending")
        status = self._works.status()
        names = request.peers or tuple(dialled)
        if request.tries_all:
            self._operations.try_again(names)
        for name in names:
            attempt = dialled[name].demand()
            if request.wait:
                before = status[name].counters if name in status else TransferCounters()
                self._waited.append(_Waited(client, name, attempt, before))
        self._wake.is_listened_to = bool(self._waited)
        self._clients.answer(client, {"ok": True, "peers": list(names)}, is_watching=request.wait)

    def _tell_events(self, events: list[Event]) -> None:
        watched: dict[str, set[int]] = {}
        for each in self._waited:
            watched.setdefault(each.peer, set()).add(each.client)
        for event in events:
            for client in watched.get(str(getattr(event, "agent_id", "")), ()):
                self._clients.tell(client, {"event": describe_event(event)}, droppable=True)

    def _tell_ends(self, *, is_over: bool = False) -> None:
        """How far those are that are waited for, and which have come to their end."""
        if not self._waited:
            return
        dialled, status = self._works.dialled(), self._works.status()
        left: list[_Waited] = []
        for each in self._waited:
            after = status[each.peer].counters if each.peer in status else each.before
            moved = describe_counters(subtract_counters(after, each.before))
            dial = dialled.get(each.peer)
            if dial is not None and not is_over and not dial.wait_for_attempt(each.attempt, 0):
                left.append(each)
                message = {"progress": each.peer, **moved}
                self._clients.tell(each.client, message, droppable=True)
                continue
            error: str | None = "it is dialled no more"
            if dial is not None:
                # Else what the last attempt came to would be told for one that never was.
                was_made = dial.is_over(each.attempt)
                last = dial.last_error
                error = "the service ends" if not was_made else None if last is None else str(last)
            idle = error is None and each.peer in status and status[each.peer].moves_nothing
            ended = {"ended": each.peer, "error": error, "moves_nothing": idle, **moved}
            self._clients.tell(each.client, ended, droppable=False)
        for client in {each.client for each in self._waited} - {each.client for each in left}:
            self._clients.release(client)
        self._waited = left

    def _describe(self) -> dict[str, Any]:
        dialled, status = self._works.dialled(), self._works.status()
        plans = {line.plan.agent_id: line.plan for line in self._works.lines()}
        received, sent = self._meter.rates
        return {
            "process_id": os.getpid(),
            "started_at": self._started_at,
            "configuration_read_at": self._read_at,
            "reload_refused": self._refused,
            "left_out": [
                {"peer": name, "problem": problem} for name, problem in self._works.left_out.items()
            ],
            "stopping": self._stop_signals > 0,
            "connections": self._works.connections,
            "bandwidth_limit": self._operations.bandwidth_limit,
            "received_per_second": received,
            "sent_per_second": sent,
            "peers": [
                describe_peer(
                    plans.get(name),
                    status.get(name),
                    dialled[name].seconds_until_next if name in dialled else None,
                )
                for name in sorted({*plans, *status})
            ],
            **self._operations.describe(),
        }

    def _say_how_it_is(self) -> None:
        statuses = self._works.status().values()
        self._manager.status(
            summarize(self._works.connections, statuses, is_refused=self._refused is not None)
        )
        interval = self._manager.watchdog_interval
        if interval is not None and time.monotonic() >= self._next_alive:
            self._manager.alive()
            self._next_alive = time.monotonic() + interval
