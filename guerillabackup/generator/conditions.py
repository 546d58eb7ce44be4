"""What can be asked for before a unit is run: uptime, load, time of day, mains power, free space.

A configuration sets one as DefaultUnitRunCondition, for all units or in the overlay of one. Where they look
is an argument of each, so that they can be tried out. Touches: os, time.
"""

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from guerillabackup.errors import ConfigError, GuerillaBackupError, StorageError
from guerillabackup.generator.handed_back import describe_error
from guerillabackup.generator.interface import UnitRunConditionInterface

UPTIME_PATH = "/proc/uptime"
LOAD_PATH = "/proc/loadavg"
POWER_SUPPLY_DIRECTORY = "/sys/class/power_supply"
MAX_GAP = 120
"""Seconds between two readings of the load beyond which what was in between is not known."""
AVERAGED = ((1, 300), (2, 900))
"""Which of the kernel's averages says something about how many seconds."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")
_MAX_TEXT = 4096


def find_obstacle(condition: Any) -> str | None:
    """Why a condition does not hold now, None when it holds; also one written for the original.

    Raises ConfigError that names the condition when it cannot be evaluated.
    """
    name = type(condition).__name__
    try:
        if condition.evaluate():
            return None
        describe = getattr(condition, "describe", None)
        return f"{name} does not hold" if describe is None else str(describe())
    except GuerillaBackupError as error:
        raise ConfigError(f"run condition {name} cannot be evaluated: {error}") from error
    except Exception as error:  # a condition's own code may raise anything
        raise ConfigError(f"run condition {name} cannot be evaluated: {describe_error(error)}") from error


class LogicalAndCondition(UnitRunConditionInterface):
    """Holds when all of its conditions do.

    Each is evaluated every time, whatever the others say: some of them watch something for a while.
    """

    def __init__(self, conditions: Sequence[Any]) -> None:
        if isinstance(conditions, str) or not isinstance(conditions, Sequence):
            raise ConfigError(f"LogicalAndCondition takes a list of conditions, not {conditions!r}")
        for condition in conditions:
            if isinstance(condition, type) or not callable(getattr(condition, "evaluate", None)):
                raise ConfigError(
                    f"LogicalAndCondition takes conditions (objects with evaluate), not {condition!r}"
                )
        self.conditions = tuple(conditions)
        self._obstacles: list[str] = []

    def evaluate(self) -> bool:
        obstacles, errors = [], []
        for condition in self.conditions:
            try:
                obstacle = find_obstacle(condition)
            except ConfigError as error:
                errors.append(error)
            else:
                if obstacle is not None:
                    obstacles.append(obstacle)
        if errors:
            raise ConfigError(*(problem for error in errors for problem in error.problems))
        self._obstacles = obstacles
        return not obstacles

    def describe(self) -> str:
        return "; ".join(self._obstacles)

    def __repr__(self) -> str:
        return f"LogicalAndCondition({list(self.conditions)!r})"


class MinPowerOnTimeCondition(UnitRunConditionInterface):
    """Holds when the machine has been on for so many seconds."""

    def __init__(self, seconds: float, *, read_uptime: Callable[[], str] | None = None) -> None:
        self.seconds = _check_number("MinPowerOnTimeCondition", "seconds", seconds)
        self._read_uptime = read_uptime or (lambda: _read_text(UPTIME_PATH))
        self._uptime = 0.0

    def evaluate(self) -> bool:
        self._uptime = _parse_numbers(self._read_uptime(), UPTIME_PATH, 1)[0]
        return self._uptime >= self.seconds

    def describe(self) -> str:
        return f"the machine has been on for {self._uptime:.0f} s, {self.seconds:g} s are wanted"

    def __repr__(self) -> str:
        return f"MinPowerOnTimeCondition({self.seconds!r})"


class AverageLoadLimitCondition(UnitRunConditionInterface):
    """Holds when the average load of one minute has stayed below `load` for `seconds`.

    Whoever evaluates it at least each MAX_GAP seconds knows that from the readings. After a longer gap, as at
    the first time, the kernel's longer averages stand in for the readings: that of 5 minutes for 300 seconds,
    that of 15 minutes for 900. One that wants more can hold only where it is evaluated again and again.
    """

    def __init__(
        self,
        load: float,
        seconds: float,
        *,
        read_load: Callable[[], str] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.load = _check_number("AverageLoadLimitCondition", "load", load)
        self.seconds = _check_number("AverageLoadLimitCondition", "seconds", seconds)
        self._read_load = read_load or (lambda: _read_text(LOAD_PATH))
        # Time in which the machine sleeps counts: nobody read the load then.
        self._clock = clock or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self._last_reading: float | None = None
        self._below_since: float | None = None
        self._loads: Sequence[float] = (0.0, 0.0, 0.0)

    def evaluate(self) -> bool:
        now = self._clock()
        self._loads = _parse_numbers(self._read_load(), LOAD_PATH, 3)
        was_watched = self._last_reading is not None and 0 <= now - self._last_reading <= MAX_GAP
        self._last_reading = now
        if self._loads[0] >= self.load:
            self._below_since = None
        elif not was_watched:
            self._below_since = now - self._averaged_seconds()
        elif self._below_since is None:
            self._below_since = now
        return self._below_since is not None and now - self._below_since >= self.seconds

    def describe(self) -> str:
        loads = " ".join(f"{load:.2f}" for load in self._loads)
        if self._below_since is None or self._last_reading is None:
            return f"the load averages are {loads}, the first is to be below {self.load:g}"
        known = self._last_reading - self._below_since
        return (
            f"the load averages are {loads}, the load is known to be below {self.load:g} for {known:.0f} s, "
            f"{self.seconds:g} s are wanted"
        )

    def __repr__(self) -> str:
        return f"AverageLoadLimitCondition({self.load!r}, {self.seconds!r})"

    def _averaged_seconds(self) -> int:
        """For how long the load was below the limit by the longer averages."""
        known = 0
        for index, seconds in AVERAGED:
            if self._loads[index] >= self.load:
                break
            known = seconds
        return known


class TimeWindowCondition(UnitRunConditionInterface):
    """Holds from `begin` until before `end`, local times like '22:00', each day or on some weekdays.

    A window that ends at or before the time it begins at goes over midnight, and belongs to the day it begins
    on. The whole day is '00:00' to '24:00'. A time that a change of the clock leaves out does not come then.
    """

    def __init__(
        self,
        begin: str,
        end: str,
        weekdays: Sequence[str] | None = None,
        *,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.begin, self.end = begin, end
        self._begin, self._end = _parse_time(begin), _parse_time(end)
        if self._begin in (self._end, 24 * 60):
            raise ConfigError(
                f"TimeWindowCondition from {begin} to {end} is no window; a whole day is '00:00' to '24:00'"
            )
        self.weekdays = None if weekdays is None else tuple(DAYS[day] for day in _parse_days(weekdays))
        self._clock = clock
        self._now: datetime | None = None

    def evaluate(self) -> bool:
        self._now = now = self._clock()
        minute = now.hour * 60 + now.minute
        if self._begin < self._end:
            return self._begin <= minute < self._end and self._is_on(now.weekday())
        if minute >= self._begin:
            return self._is_on(now.weekday())
        return minute < self._end and self._is_on(now.weekday() - 1)

    def describe(self) -> str:
        now = self._now or self._clock()
        days = "" if self.weekdays is None else f" on {', '.join(self.weekdays)}"
        return f"it is {DAYS[now.weekday()]} {now:%H:%M}, the window is {self.begin} to {self.end}{days}"

    def __repr__(self) -> str:
        days = "" if self.weekdays is None else f", {list(self.weekdays)!r}"
        return f"TimeWindowCondition({self.begin!r}, {self.end!r}{days})"

    def _is_on(self, day: int) -> bool:
        return self.weekdays is None or DAYS[day] in self.weekdays


class MainsPowerCondition(UnitRunConditionInterface):
    """Holds unless the machine runs on a battery; so also on one that has none, or does not tell.

    It runs on a battery when one discharges and no other supply is there. Batteries of a mouse and the like
    do not count.
    """

    def __init__(self, *, directory: str = POWER_SUPPLY_DIRECTORY) -> None:
        self._directory = directory
        self._discharging: list[str] = []

    def evaluate(self) -> bool:
        self._discharging = []
        is_supplied = False
        for name in self._list_supplies():
            if self._read(name, "scope") == "Device":
                continue
            if self._read(name, "type") in ("Battery", "UPS"):
                if self._read(name, "present") != "0" and self._read(name, "status") == "Discharging":
                    self._discharging.append(name)
            elif self._read(name, "online") not in (None, "0"):
                is_supplied = True
        return is_supplied or not self._discharging

    def describe(self) -> str:
        return f"the machine runs on its battery ({', '.join(self._discharging)})"

    def __repr__(self) -> str:
        return "MainsPowerCondition()"

    def _list_supplies(self) -> list[str]:
        try:
            return sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._directory} cannot be listed: {error.strerror}") from error

    def _read(self, supply: str, attribute: str) -> str | None:
        """One attribute; None where there is none, or the device does not answer."""
        try:
            with open(os.path.join(self._directory, supply, attribute), encoding="ascii") as file:
                return file.read(_MAX_TEXT).strip()
        except (OSError, ValueError):
            return None


class FreeSpaceCondition(UnitRunConditionInterface):
    """Holds when at least so many bytes are free in the file system that a path is in."""

    def __init__(self, path: str, size: int, *, find_free: Callable[[str], int] | None = None) -> None:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigError(f"path of FreeSpaceCondition is {path!r}, not an absolute path")
        self.path = path
        self.size = _check_number("FreeSpaceCondition", "size", size)
        self._find_free = find_free or _find_free
        self._free = 0

    def evaluate(self) -> bool:
        self._free = self._find_free(self.path)
        return self._free >= self.size

    def describe(self) -> str:
        return f"{self._free} bytes are free in {self.path}, {self.size:.0f} are wanted"

    def __repr__(self) -> str:
        return f"FreeSpaceCondition({self.path!r}, {self.size!r})"


def _check_number(condition: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"{name} of {condition} is {value!r}, not a number from 0 on")
    return value


def _parse_time(text: Any) -> int:
    """Minutes since midnight."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"time of TimeWindowCondition is {text!r}, not one like '06:00'")
    hour, minute = (int(group) for group in match.groups() if group is not None)
    return hour * 60 + minute


def _parse_days(names: Any) -> list[int]:
    """The numbers of weekdays that are named by their English names, or three letters of them."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ConfigError(f"weekdays of TimeWindowCondition are {names!r}, not a list like ['Sat', 'Sun']")
    days = set()
    for name in names:
        folded = name.casefold() if isinstance(name, str) else ""
        if folded not in _DAY_NAMES and folded not in [day[:3] for day in _DAY_NAMES]:
            raise ConfigError(f"weekday of TimeWindowCondition is {name!r}, not one of {', '.join(DAYS)}")
        days.add([day[:3] for day in _DAY_NAMES].index(folded[:3]))
    return sorted(days)


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(_MAX_TEXT)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def _parse_numbers(text: str, path: str, count: int) -> list[float]:
    """The first numbers of a line of /proc."""
    try:
        numbers = [float(word) for word in text.split()[:count]]
    except ValueError:
        numbers = []
    if len(numbers) < count or not all(math.isfinite(number) for number in numbers):
        raise StorageError(f"{path} says {text[:80]!r}, which does not begin with {count} numbers")
    return numbers


def _find_free(path: str) -> int:
    """Bytes that whoever runs us can still write."""
    try:
        status = os.statvfs(path)
    except OSError as error:
        raise StorageError(f"free space of {path} is not known: {error.strerror}") from error
    return status.f_bavail * status.f_frsize
