"""Run conditions: what each asks for, seen with every reader at hand, and once with the system's own."""

from datetime import datetime, timedelta

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.generator.conditions import (
    AverageLoadLimitCondition,
    FreeSpaceCondition,
    LogicalAndCondition,
    MainsPowerCondition,
    MinPowerOnTimeCondition,
    TimeWindowCondition,
    find_obstacle,
)
from guerillabackup.generator.interface import UnitRunConditionInterface

NOON = datetime(2026, 11, 20, 12, 0)  # a Friday


class Answer(UnitRunConditionInterface):
    """Says what it was made with, and counts how often it was asked."""

    def __init__(self, answer):
        self.answer, self.count = answer, 0

    def evaluate(self):
        self.count += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class OriginalCondition:
    def evaluate(self):
        return False


class Load:
    """A load and a clock to set."""

    def __init__(self, limit, seconds):
        self.now, self.text = 5000.0, ""
        self.condition = AverageLoadLimitCondition(
            limit, seconds, read_load=lambda: self.text, clock=lambda: self.now
        )

    def after(self, seconds, *loads):
        self.now += seconds
        self.text = " ".join(f"{load:.2f}" for load in loads) + " 1/234 5678\n"
        return self.condition.evaluate()


def test_conditions_hold_or_say_why_not_on_this_very_machine(tmp_path):
    assert find_obstacle(MinPowerOnTimeCondition(0)) is None
    assert "the machine has been on for" in find_obstacle(MinPowerOnTimeCondition(10**10))
    assert find_obstacle(AverageLoadLimitCondition(10**6, 900)) is None
    assert "the load averages are" in find_obstacle(AverageLoadLimitCondition(0, 0))
    assert find_obstacle(FreeSpaceCondition(str(tmp_path), 1)) is None
    assert "bytes are free in" in find_obstacle(FreeSpaceCondition(str(tmp_path), 2**80))
    assert find_obstacle(TimeWindowCondition("00:00", "24:00")) is None
    assert find_obstacle(MainsPowerCondition()) is None or "battery" in find_obstacle(MainsPowerCondition())


@pytest.mark.parametrize(("uptime", "holds"), [("599.99", False), ("600.00", True), ("1e6", True)])
def test_the_power_on_time_is_reached_to_the_second(uptime, holds):
    condition = MinPowerOnTimeCondition(600, read_uptime=lambda: f"{uptime} 1234.56\n")
    assert condition.evaluate() is holds


def test_the_power_on_time_that_is_missing_is_said():
    condition = MinPowerOnTimeCondition(600, read_uptime=lambda: "120.4 99.0\n")
    assert find_obstacle(condition) == "the machine has been on for 120 s, 600 s are wanted"


def test_a_load_that_is_watched_must_stay_below_the_limit_for_the_whole_time():
    load = Load(0.5, 240)
    assert not load.after(0, 0.4, 0.9, 0.9)
    assert not load.after(120, 0.4, 0.9, 0.9)
    assert not load.after(119, 0.4, 0.9, 0.9)
    assert load.after(1, 0.4, 0.9, 0.9)


def test_a_load_at_the_limit_begins_the_time_anew():
    load = Load(0.5, 60)
    assert not load.after(0, 0.4, 0.9, 0.9)
    assert not load.after(59, 0.5, 0.4, 0.4)
    assert not load.after(1, 0.4, 0.4, 0.4)
    assert not load.after(59, 0.4, 0.4, 0.4)
    assert load.after(1, 0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    ("loads", "seconds"),
    [((0.4, 0.9, 0.4), 0), ((0.4, 0.4, 0.9), 300), ((0.4, 0.4, 0.4), 900), ((0.6, 0.4, 0.4), -1)],
)
def test_a_single_reading_knows_as_much_as_the_longer_averages_say(loads, seconds):
    assert Load(0.5, max(seconds, 0)).after(0, *loads) is (seconds >= 0)
    assert not Load(0.5, seconds + 1).after(0, *loads)


def test_what_was_read_long_ago_says_nothing_of_the_time_between():
    load = Load(0.5, 300)
    assert not load.after(0, 0.4, 0.9, 0.9)
    assert not load.after(121, 0.4, 0.9, 0.9)
    assert not load.after(120, 0.4, 0.9, 0.9)
    assert load.after(86400, 0.4, 0.4, 0.9)


def test_a_clock_that_went_back_begins_the_time_anew():
    load = Load(0.5, 10)
    assert not load.after(0, 0.4, 0.9, 0.9)
    assert not load.after(-5, 0.4, 0.9, 0.9)
    assert not load.after(9, 0.4, 0.9, 0.9)
    assert load.after(1, 0.4, 0.9, 0.9)


def test_a_load_that_is_too_high_or_not_low_for_long_is_said():
    load = Load(0.5, 240)
    load.after(0, 0.75, 0.4, 0.4)
    assert load.condition.describe() == "the load averages are 0.75 0.40 0.40, the first is to be below 0.5"
    load.after(10, 0.4, 0.4, 0.4)
    load.after(30, 0.4, 0.4, 0.4)
    assert load.condition.describe() == (
        "the load averages are 0.40 0.40 0.40, the load is known to be below 0.5 for 30 s, 240 s are wanted"
    )


@pytest.mark.parametrize("text", ["", "x", "0.1 0.2", "nan 0.1 0.2 1/2 3", "0.1 0.2 inf"])
def test_a_load_that_is_no_load_is_an_error_that_shows_it(text):
    condition = AverageLoadLimitCondition(1, 0, read_load=lambda: text)
    with pytest.raises(ConfigError, match=r"AverageLoadLimitCondition cannot be evaluated: .* says"):
        find_obstacle(condition)


@pytest.mark.parametrize(
    ("window", "time", "holds"),
    [
        (("12:00", "13:00"), "11:59", False),
        (("12:00", "13:00"), "12:00", True),
        (("12:00", "13:00"), "12:59", True),
        (("12:00", "13:00"), "13:00", False),
        (("22:00", "06:00"), "21:59", False),
        (("22:00", "06:00"), "22:00", True),
        (("22:00", "06:00"), "00:00", True),
        (("22:00", "06:00"), "05:59", True),
        (("22:00", "06:00"), "06:00", False),
        (("22:00", "24:00"), "23:59", True),
        (("22:00", "24:00"), "00:00", False),
        (("22:00", "00:00"), "23:59", True),
        (("22:00", "00:00"), "00:00", False),
        (("00:00", "24:00"), "00:00", True),
    ],
)
def test_a_window_holds_from_its_begin_until_before_its_end(window, time, holds):
    now = datetime.strptime(f"2026-11-20 {time}:59", "%Y-%m-%d %H:%M:%S")
    assert TimeWindowCondition(*window, clock=lambda: now).evaluate() is holds


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on():
    now = [NOON]
    condition = TimeWindowCondition("22:00", "06:00", ["Friday", "sun"], clock=lambda: now[0])
    hours = []
    for hour in range(7 * 24):
        now[0] = datetime(2026, 11, 16) + timedelta(hours=hour)  # from a Monday on
        if condition.evaluate():
            hours.append(hour)
    friday, sunday = 4 * 24, 6 * 24
    last_sunday = range(6)
    assert hours == [*last_sunday, *range(friday + 22, friday + 30), *range(sunday + 22, sunday + 24)]


def test_a_window_that_is_not_now_is_said_with_its_days():
    condition = TimeWindowCondition("22:00", "06:00", ["sat", "Fri"], clock=lambda: NOON)
    assert find_obstacle(condition) == "it is Fri 12:00, the window is 22:00 to 06:00 on Fri, Sat"


def supply(directory, name, **attributes):
    (directory / name).mkdir(parents=True)
    for attribute, value in attributes.items():
        (directory / name / attribute).write_text(f"{value}\n")


MAINS = {"type": "Mains", "online": "1"}
NO_MAINS = {"type": "Mains", "online": "0"}
DISCHARGING = {"type": "Battery", "present": "1", "status": "Discharging"}
CHARGING = {"type": "Battery", "present": "1", "status": "Charging"}


@pytest.mark.parametrize(
    ("supplies", "holds"),
    [
        ([], True),
        ([NO_MAINS], True),
        ([MAINS, DISCHARGING], True),
        ([NO_MAINS, DISCHARGING], False),
        ([NO_MAINS, {"type": "USB", "online": "2"}, DISCHARGING], True),
        ([DISCHARGING], False),
        ([CHARGING], True),
        ([CHARGING, DISCHARGING], False),
        ([{**DISCHARGING, "present": "0"}], True),
        ([{**DISCHARGING, "scope": "Device"}], True),
        ([{**DISCHARGING, "type": "UPS"}], False),
        ([{"type": "Battery"}], True),
    ],
)
def test_a_machine_runs_on_mains_unless_a_battery_of_its_own_feeds_it(tmp_path, supplies, holds):
    for number, attributes in enumerate(supplies):
        supply(tmp_path, f"S{number}", **attributes)
    assert MainsPowerCondition(directory=str(tmp_path)).evaluate() is holds


def test_the_battery_that_feeds_the_machine_is_named(tmp_path):
    supply(tmp_path, "BAT0", **DISCHARGING)
    condition = MainsPowerCondition(directory=str(tmp_path))
    assert find_obstacle(condition) == "the machine runs on its battery (BAT0)"
    assert find_obstacle(MainsPowerCondition(directory=str(tmp_path / "none"))) is None


def test_free_space_is_enough_to_the_byte():
    assert FreeSpaceCondition("/x", 1000, find_free=lambda path: 1000).evaluate()
    short = FreeSpaceCondition("/x", 1000, find_free=lambda path: 999)
    assert find_obstacle(short) == "999 bytes are free in /x, 1000 are wanted"


def test_a_path_that_is_not_there_has_no_free_space_that_is_known(tmp_path):
    with pytest.raises(ConfigError, match=r"FreeSpaceCondition cannot be evaluated: .* No such file"):
        find_obstacle(FreeSpaceCondition(str(tmp_path / "none"), 0))


def test_all_conditions_are_evaluated_and_all_obstacles_said():
    conditions = [OriginalCondition(), Answer(True), Answer(False)]
    both = LogicalAndCondition(conditions)
    assert find_obstacle(both) == "OriginalCondition does not hold; Answer does not hold"
    assert conditions[1].count == conditions[2].count == 1
    assert LogicalAndCondition([]).evaluate()
    assert LogicalAndCondition([Answer(True), LogicalAndCondition([Answer(True)])]).evaluate()


def test_a_condition_that_raises_does_not_keep_the_others_from_watching():
    conditions = [Answer(ZeroDivisionError("of its own")), Answer(False)]
    with pytest.raises(ConfigError, match="Answer cannot be evaluated: ZeroDivisionError: of its own"):
        find_obstacle(LogicalAndCondition(conditions))
    assert conditions[1].count == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinPowerOnTimeCondition("600"), "seconds of MinPowerOnTimeCondition is '600', not a number"),
        (lambda: MinPowerOnTimeCondition(-1), "is -1, not a number from 0 on"),
        (lambda: AverageLoadLimitCondition(float("nan"), 1), "load of AverageLoadLimitCondition is nan"),
        (lambda: AverageLoadLimitCondition(1, True), "seconds of AverageLoadLimitCondition is True"),
        (lambda: FreeSpaceCondition("data", 1), "path of FreeSpaceCondition is 'data', not an absolute path"),
        (lambda: FreeSpaceCondition("/", None), "size of FreeSpaceCondition is None"),
        (lambda: TimeWindowCondition("6:00", "07:00"), "is '6:00', not one like '06:00'"),
        (lambda: TimeWindowCondition("06:00", "24:01"), "is '24:01', not one like"),
        (lambda: TimeWindowCondition(6, 7), "is 6, not one like"),
        (lambda: TimeWindowCondition("06:00", "06:00"), "is no window; a whole day is '00:00' to '24:00'"),
        (lambda: TimeWindowCondition("24:00", "06:00"), "is no window"),
        (
            lambda: TimeWindowCondition("06:00", "07:00", "Mon"),
            "are 'Mon', not a list like",
        ),
        (lambda: TimeWindowCondition("06:00", "07:00", []), r"are \[\], not a list"),
        (lambda: TimeWindowCondition("06:00", "07:00", ["Mo"]), "is 'Mo', not one of Mon, Tue"),
        (lambda: TimeWindowCondition("06:00", "07:00", [1]), "is 1, not one of Mon, Tue"),
        (lambda: LogicalAndCondition([MainsPowerCondition]), "takes conditions .* not <class"),
        (lambda: LogicalAndCondition(MainsPowerCondition()), "takes a list of conditions, not Mains"),
    ],
)
def test_what_is_no_condition_is_refused_when_the_configuration_is_read(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "text",
    [
        "AverageLoadLimitCondition(0.5, 240)",
        "FreeSpaceCondition('/', 5)",
        "LogicalAndCondition([MinPowerOnTimeCondition(600), MainsPowerCondition()])",
        "TimeWindowCondition('22:00', '06:00')",
        "TimeWindowCondition('22:00', '06:00', ['Fri', 'Sat'])",
    ],
)
def test_a_condition_is_shown_as_it_is_written(text):
    assert repr(eval(text)) == text
