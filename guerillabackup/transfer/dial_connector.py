"""Peers that are dialled from here, by a schedule. Joins diallers with schedule, profile and agent."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from guerillabackup.errors import GuerillaBackupError
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.dial_schedule import DialSchedule, DialTimer
from guerillabackup.transfer.interface import ConnectorService
from guerillabackup.transfer.profile import PeerProfile

log = logging.getLogger(__name__)


class Dialler(ABC):
    """One way to reach a peer."""

    @abstractmethod
    def describe(self) -> str:
        """Where it leads, for people."""

    @abstractmethod
    def dial(self) -> "DialledConnection":
        """Connect; raises ConnectionLostError when that is impossible now."""


class DialledConnection(ABC):
    """A connection that was dialled, and what it needs besides its channel."""

    channel: Channel

    @abstractmethod
    def hurry(self) -> None:
        """Have `release` wait for nothing; from any thread."""

    @abstractmethod
    def release(self) -> None:
        """Let go of what made the connection, once its channel is closed. Blocks for some seconds at most."""


class DialConnectorService(ConnectorService):
    """Dials one peer when it is time, one connection at a time, and hands it to the profile's agent.

    `jitter` gives another number of 0 to 1 each time. `run` is called once.
    """

    def __init__(
        self,
        dialler: Dialler,
        profile: PeerProfile,
        schedule: DialSchedule,
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialler = dialler
        self._profile = profile
        self._clock = clock
        self._changed = threading.Condition()
        """Guards all below, and tells of changes."""
        self._timer = DialTimer(schedule, clock(), jitter)
        self._is_ending = self._is_hurried = False
        self._dialled: DialledConnection | None = None
        self._attempts = 0
        self._is_connected = False
        """Whether an attempt is under way."""
        self._last_error: Exception | None = None

    def run(self) -> None:
        """Dial until `shutdown`, and until the last connection is over."""
        while self._wait_until_due():
            error = self._connect_once()
            with self._changed:
                self._timer.ended(self._clock(), is_failure=error is not None)
                self._attempts += 1
                self._is_connected = False
                self._last_error = error
                self._changed.notify_all()
                pause = None if self._timer.next_time is None else self._timer.next_time - self._clock()
                if error is not None and pause is not None and not self._is_ending:
                    log.info("peer %s: dialled again in %.0f s", self._profile.agent_id, max(0, pause))

    def demand(self) -> int:
        """Dial at once, or right after the connection that is there; the attempt to wait for."""
        with self._changed:
            self._timer.demand(self._clock())
            self._changed.notify_all()
            return self._attempts + (2 if self._is_connected else 1)

    def wait_for_attempt(self, number: int, timeout: float | None = None) -> bool:
        """Wait until so many attempts are over since the start; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._attempts >= number or self._is_ending, timeout)

    def is_over(self, number: int) -> bool:
        """Whether so many attempts are over; when it ends, those that were waited for may never be."""
        with self._changed:
            return self._attempts >= number

    @property
    def last_error(self) -> Exception | None:
        """What the last attempt ended by; None when both sides agreed to its end."""
        return self._last_error

    @property
    def seconds_until_next(self) -> float | None:
        """Until it is dialled next; None: only on demand."""
        with self._changed:
            next_time = self._timer.next_time
        return None if next_time is None else max(0.0, next_time - self._clock())

    def shutdown(self, force_shutdown_time: float = -1) -> None:
        with self._changed:
            self._is_ending = True
            if force_shutdown_time == 0:
                self._is_hurried = True
                if self._dialled is not None:
                    self._dialled.hurry()
            self._changed.notify_all()
        self._profile.agent.shutdown(force_shutdown_time)

    def _wait_until_due(self) -> bool:
        with self._changed:
            while not self._is_ending:
                next_time = self._timer.next_time
                left = None if next_time is None else next_time - self._clock()
                if left is not None and left <= 0:
                    self._timer.began()
                    return True
                self._changed.wait(left)
            return False

    def _connect_once(self) -> Exception | None:
        """One attempt, to its end: what it failed by."""
        try:
            dialled = self._dialler.dial()
        except GuerillaBackupError as error:
            log.warning("peer %s: cannot be reached: %s", self._profile.agent_id, error)
            self._profile.agent.note_failure(self._profile.agent_id, str(error))
            return error
        with self._changed:
            self._dialled = dialled
            if self._is_hurried:
                dialled.hurry()
        ended = threading.Event()
        errors: list[Exception | None] = []

        def on_end(error: Exception | None) -> None:
            errors.append(error)
            ended.set()

        try:
            text = f"peer {self._profile.agent_id}: connected by {self._dialler.describe()}"
            self._profile.lines.say(log, logging.DEBUG, text, "connected", repeats=True)
            self._profile.agent.add_connection(self._profile.connect(dialled.channel), on_end)
            ended.wait()
        finally:
            dialled.release()
            with self._changed:
                self._dialled = None
        return errors[0]
