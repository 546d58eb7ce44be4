"""Which elements were refused lately, so that the same one is not fetched again and again.

They outlive the process in a file (refused_file.py); a crash forgets those of the last seconds, which are
then tried once more. Touches: logging, threading, time.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from guerillabackup.errors import IntegrityError, StorageError
from guerillabackup.transfer.refused_file import (
    Refused,
    RefusedOfAgent,
    file_name,
    read_refused,
    write_refused,
)

FIRST_PAUSE = 300.0
LONGEST_PAUSE = 86400.0
"""Seconds; each refusal of the same element doubles its pause."""
FIRST_INTERRUPTION_PAUSE = 30.0
LONGEST_INTERRUPTION_PAUSE = 900.0
"""Those after the second time that a connection ended in the middle of an element."""
ONE_BY_ONE = 256
"""Elements that are asked for one by one after a connection ended in the middle of several: so it is known
which one the peer cannot send."""
MAX_REMEMBERED = 10_000
MAX_REASON = 200
"""Characters of a reason that are remembered: a peer has a say in it."""
MAX_NAME = 500
SAVE_SECONDS = 5.0
"""Between two times that refusals are written while a connection runs; at its end they are in any case."""
CLOCK_SLACK = 60.0
"""Seconds by which a refusal may be in the future; beyond, the clock was set back, and nothing waits."""

log = logging.getLogger(__name__)


class Refusals:
    """The refused elements of one agent by key; those refused longest ago are forgotten first.

    Safe to use from any thread; nothing of it raises. `clock` gives UTC seconds. Without a `directory`
    nothing outlives the process.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, directory: str | None = None, agent_id: str = ""
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._agent_id = agent_id
        self._lock = threading.Lock()  # guards all below, and the file
        self._refused: OrderedDict[bytes, Refused] = OrderedDict()
        self._met: dict[bytes, float] = {}
        """When each was offered last."""
        self._one_by_one = 0
        self._settings = ""
        self._is_changed = self._is_broken = False
        self._saved: float | None = None
        if directory is not None:
            self._load(directory)

    def must_wait(self, key: bytes) -> bool:
        """Whether it is too early to try the element again, which is offered now."""
        if not self._refused:
            return False
        with self._lock:
            refused = self._refused.get(key)
            if refused is None:
                return False
            now = self._clock()
            self._meet(key, refused, now)
            return refused.last - CLOCK_SLACK <= now < refused.until

    def add(self, key: bytes, reason: str, element: str = "", source: str = "") -> Refused:
        """Note one more refusal."""
        return self._add(key, reason, (element, source), FIRST_PAUSE, LONGEST_PAUSE)

    def interrupted(self, key: bytes, reason: str, element: str = "", source: str = "") -> Refused:
        """Note that a connection ended in the middle of it: once is nobody's fault, and pauses nothing."""
        pauses = FIRST_INTERRUPTION_PAUSE, LONGEST_INTERRUPTION_PAUSE
        return self._add(key, reason, (element, source), *pauses, free=1)

    def note(self, key: bytes, reason: str, element: str, source: str) -> Refused:
        """Note an element that is refused by what is said of it, which is looked at each time anew."""
        return self._add(key, reason, (element, source), 0.0, 0.0)

    def group_interrupted(self) -> None:
        """A connection ended in the middle of several elements."""
        self._one_by_one = ONE_BY_ONE

    def take_one_by_one(self) -> bool:
        """Whether the next elements are better asked for one by one; counts one."""
        if self._one_by_one == 0:
            return False
        self._one_by_one -= 1
        return True

    def list_ended(self, began: float) -> None:
        """All that the peer offers was gone through from then on: what was not met is offered no more."""
        if not self._refused:
            return
        with self._lock:
            for key, refused in list(self._refused.items()):
                if self._met.get(key, 0.0) >= began:
                    continue
                self._is_changed |= refused.is_offered
                refused.is_offered = False
                if not 0 <= self._clock() - refused.last < 2 * LONGEST_PAUSE:
                    self._drop(key)

    def judged_by(self, settings: str) -> None:
        """Name the settings by which elements are refused from now on: with others each is tried again."""
        with self._lock:
            if settings == self._settings:
                return
            self._settings = settings
            self._is_changed |= bool(self._refused)
            self._retry()

    def retry(self) -> None:
        """Have each tried again as soon as it is offered."""
        with self._lock:
            self._retry()

    def forget(self, key: bytes) -> None:
        """It was taken after all."""
        if self._refused:
            with self._lock:
                self._drop(key)

    def save(self) -> None:
        """Write what has changed."""
        with self._lock:
            self._save()

    def count(self) -> int:
        """How many elements are remembered."""
        return len(self._refused)

    def now(self) -> float:
        """By its clock."""
        return self._clock()

    def _add(
        self, key: bytes, reason: str, names: tuple[str, str], first: float, longest: float, free: int = 0
    ) -> Refused:
        with self._lock:
            before = self._refused.pop(key, None)
            count = 1 if before is None else before.count + 1
            doublings = min(count - 1 - free, 30)
            pause = min(longest, first * 2.0**doublings) if doublings >= 0 else 0.0
            now = self._clock()
            element, source = (name[:MAX_NAME] for name in names)
            refused = Refused(element, reason[:MAX_REASON], count, now, now + pause, source)
            self._refused[key] = refused
            self._met[key] = now
            self._is_changed = True
            if len(self._refused) > MAX_REMEMBERED:
                self._drop(next(iter(self._refused)))
            if self._saved is None or not 0 <= now - self._saved < SAVE_SECONDS:
                self._save()
            return refused

    def _meet(self, key: bytes, refused: Refused, now: float) -> None:
        self._met[key] = now
        self._is_changed |= not refused.is_offered
        refused.is_offered = True

    def _drop(self, key: bytes) -> None:
        self._is_changed |= self._refused.pop(key, None) is not None
        self._met.pop(key, None)

    def _retry(self) -> None:
        for refused in self._refused.values():
            self._is_changed |= refused.until > refused.last
            refused.until, refused.count = refused.last, 0

    def _load(self, directory: str) -> None:
        try:
            content = read_refused(directory, file_name(self._agent_id))
        except FileNotFoundError:
            return
        except (OSError, StorageError, IntegrityError) as error:
            log.warning(
                "peer %s: what was refused of it is forgotten, and tried again: %s", self._agent_id, error
            )
            return
        self._settings = content.settings
        latest = sorted(content.refused.items(), key=lambda each: each[1].last)
        self._refused.update(latest[-MAX_REMEMBERED:])

    def _save(self) -> None:
        """The lock is held."""
        if self._directory is None or not self._is_changed:
            return
        self._saved = self._clock()
        content = RefusedOfAgent(self._agent_id, self._settings, self._saved, dict(self._refused))
        try:
            write_refused(self._directory, content)
        except (OSError, StorageError) as error:
            if not self._is_broken:
                text = "peer %s: what is refused of it is not remembered after this process: %s"
                log.warning(text, self._agent_id, error)
            self._is_broken = True
            return
        self._is_changed = self._is_broken = False
