"""The schedule under any order of events and times: nobody runs twice, nobody waits for ever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.schedule import (
    CONDITION_SECONDS,
    IN_PROGRESS,
    MAX_ASKED,
    MAX_LOOK,
    MIN_INTERVAL,
    NEXT,
    EndKind,
    Schedule,
    UnitEvent,
    UnitPlan,
    UnitState,
)

NAMES = [f"U{number}" for number in range(6)]
STALL = 100.0
SOUND = UnitPlan(None, STALL)
WRONG = UnitPlan("its file is wrong", STALL)
SOURCE = SourceUrl("/host/a")


def schedule(*names, workers=2, now=0.0):
    made = Schedule(workers)
    made.load(dict.fromkeys(names, SOUND), now)
    return made


def start_all(made, now):
    started = []
    while (start := made.next_start(now)) is not None:
        started.append(start.unit_name)
    return started


def states(made, now=0.0):
    return {view.name: view.state for view in made.views(now)}


class Machine(RuleBasedStateMachine):
    """A schedule and those who run the units: any unit may take any time, fail, hang or never come back."""

    @initialize(workers=st.integers(1, 3))
    def begin(self, workers):
        self.now = 0.0
        self.schedule = Schedule(workers)
        self.running = {}
        self.overtaken = {}
        self.tickets = set()
        self.load(frozenset(NAMES), frozenset())

    @rule(names=st.frozensets(st.sampled_from(NAMES)), wrong=st.frozensets(st.sampled_from(NAMES)))
    def load(self, names, wrong):
        plans = {name: WRONG if name in wrong else SOUND for name in names}
        for asked in self.schedule.load(plans, self.now):
            self.tickets.remove(asked.ticket)

    @rule(seconds=st.floats(0, 5000))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def set_the_clock(self):
        self.schedule.clock_was_set(self.now)

    @rule()
    def start(self):
        before = {view.name for view in self.schedule.views(self.now) if view.state is UnitState.QUEUED}
        start = self.schedule.next_start(self.now)
        if start is None:
            return
        assert start.unit_name not in self.running
        self.running[start.unit_name] = start.asked
        for name in before - {start.unit_name}:
            self.overtaken[name] = self.overtaken.get(name, 0) + 1
            # Two queues in turn, each with each unit at most once.
            assert self.overtaken[name] <= 2 * len(NAMES)
        self.overtaken[start.unit_name] = 0

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=st.sampled_from(EndKind), seconds=st.floats(0, 1e12), jitter=st.floats(0, 1))
    def end(self, data, kind, seconds, jitter):
        name = data.draw(st.sampled_from(sorted(self.running)))
        asked = self.running.pop(name)
        assert self.schedule.end(name, kind, seconds, self.now, jitter) is asked
        if asked is not None:
            self.tickets.remove(asked.ticket)

    @rule(name=st.sampled_from(NAMES), full=st.booleans())
    def ask(self, name, full):
        try:
            self.tickets.add(self.schedule.ask(name, (), full, self.now).ticket)
        except ConfigError:
            assert name not in self.schedule.names or states(self.schedule)[name] in (
                UnitState.BROKEN,
                *IN_PROGRESS,
            )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def show_life(self, data):
        self.schedule.note_life(data.draw(st.sampled_from(sorted(self.running))), self.now)

    @rule()
    def find_stalled(self):
        for name in self.schedule.find_stalled(self.now):
            assert name in self.running

    @invariant()
    def what_runs_is_what_was_started_and_no_more_than_there_are_workers_for(self):
        in_progress = {view.name for view in self.schedule.views(self.now) if view.state in IN_PROGRESS}
        assert in_progress == set(self.running)
        running = [state for state in states(self.schedule).values() if state is UnitState.RUNNING]
        assert len(running) <= self.schedule.workers

    @invariant()
    def every_waiting_unit_has_its_time_and_the_schedule_wakes_for_it(self):
        wake = self.schedule.wake_time()
        for view in self.schedule.views(self.now):
            if view.state is UnitState.WAITING:
                assert view.next_in <= MAX_LOOK
                assert wake <= self.now + view.next_in + 1e-6

    def teardown(self):
        """Everybody gets their turn in the end, and every ticket ends once."""
        if not hasattr(self, "schedule"):
            return
        self.schedule.load(dict.fromkeys(NAMES, SOUND), self.now)
        waiting = set(NAMES) - set(self.running)
        for _ in range(20 * len(NAMES)):
            self.now += MAX_LOOK
            for name, asked in list(self.running.items()):
                del self.running[name]
                self.schedule.end(name, EndKind.DONE, 0.0, self.now, 0.0)
                if asked is not None:
                    self.tickets.remove(asked.ticket)
            while (start := self.schedule.next_start(self.now)) is not None:
                self.running[start.unit_name] = start.asked
                waiting.discard(start.unit_name)
        assert not waiting
        for asked in self.schedule.stop():
            self.tickets.remove(asked.ticket)
        self.tickets -= {asked.ticket for asked in self.running.values() if asked is not None}
        assert not self.tickets


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_every_state_has_an_answer_to_what_can_happen_to_it_and_no_other():
    always = {UnitEvent.LOADED, UnitEvent.REFUSED}
    allowed = {
        UnitState.WAITING: always | {UnitEvent.DUE, UnitEvent.ASKED},
        UnitState.QUEUED: always | {UnitEvent.ASKED, UnitEvent.STARTED},
        UnitState.RUNNING: always | {UnitEvent.ASKED, UnitEvent.STALLED, UnitEvent.ENDED},
        UnitState.HUNG: always | {UnitEvent.ASKED, UnitEvent.ENDED},
        UnitState.BROKEN: always,
    }
    assert {state: {event for of, event in NEXT if of is state} for state in UnitState} == allowed


def test_no_more_run_at_once_than_there_are_workers_and_the_next_takes_a_free_place():
    made = schedule(*NAMES, workers=2)
    assert start_all(made, 0.0) == ["U0", "U1"]
    made.end("U1", EndKind.NOT_DUE, 500.0, 1.0, 0.0)
    assert start_all(made, 1.0) == ["U2"]


def test_a_hung_run_gives_its_place_back_and_is_not_started_again_before_it_ends():
    made = schedule("A", "B", workers=1)
    assert start_all(made, 0.0) == ["A"]
    made.note_life("A", 50.0)
    assert made.find_stalled(149.0) == []
    assert made.wake_time() == 150.0
    assert made.find_stalled(150.0) == ["A"]
    assert start_all(made, 150.0) == ["B"]
    made.end("B", EndKind.DONE, 0.0, 151.0, 0.0)
    assert start_all(made, 1e6) == ["B"]
    made.end("A", EndKind.DONE, 0.0, 1e6, 0.0)
    made.end("B", EndKind.DONE, 1e5, 1e6, 0.0)
    assert start_all(made, 2e6) == ["A"]


def test_what_fails_is_tried_again_after_a_growing_delay_and_a_success_ends_that():
    made = schedule("A")
    now, delays = 0.0, []
    for _ in range(9):
        assert start_all(made, now) == ["A"]
        made.end("A", EndKind.FAILED, 0.0, now, 0.0)
        delays.append(made.wake_time() - now)
        now = made.wake_time()
    assert delays == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    start_all(made, now)
    made.end("A", EndKind.DONE, 0.0, now, 0.0)
    assert made.wake_time() - now == MIN_INTERVAL
    start_all(made, now + MIN_INTERVAL)
    made.end("A", EndKind.FAILED, 0.0, now + MIN_INTERVAL, 1.0)
    assert 0 < made.wake_time() - now - MIN_INTERVAL < 60


def test_a_condition_that_does_not_hold_is_asked_again_after_a_while():
    made = schedule("A")
    start_all(made, 0.0)
    made.end("A", EndKind.SKIPPED, 0.0, 5.0, 0.0)
    assert made.wake_time() == 5.0 + CONDITION_SECONDS


@pytest.mark.parametrize(("seconds", "wait"), [(0.0, 10.0), (7.0, 10.0), (77.0, 77.0), (1e9, MAX_LOOK)])
def test_what_a_unit_says_of_its_time_is_taken_within_reason(seconds, wait):
    made = schedule("A")
    start_all(made, 0.0)
    made.end("A", EndKind.DONE, seconds, 0.0, 0.0)
    assert made.wake_time() == wait


def test_after_the_clock_was_set_those_that_wait_are_asked_again_and_what_failed_waits_on():
    made = schedule("A", "B", "C", workers=3)
    start_all(made, 0.0)
    made.end("A", EndKind.NOT_DUE, 5000.0, 0.0, 0.0)
    made.end("B", EndKind.FAILED, 0.0, 0.0, 0.0)
    made.clock_was_set(10.0)
    assert start_all(made, 10.0) == ["A"]


@pytest.mark.parametrize("kind", [EndKind.DONE, EndKind.NOT_DUE])
def test_a_time_worked_out_while_the_clock_was_set_is_asked_for_again(kind):
    made = schedule("A")
    for _ in range(2):
        start_all(made, 0.0)
        made.clock_was_set(1.0)
        made.end("A", kind, 86400.0, 2.0, 0.0)
        assert made.wake_time() <= 2.0 + MIN_INTERVAL
        start_all(made, 20.0)
        made.end("A", kind, 500.0, 20.0, 0.0)
        assert made.wake_time() == 520.0
        made.clock_was_set(0.0)


def test_a_machine_that_slept_has_no_hung_runs():
    made = schedule("A")
    start_all(made, 0.0)
    made.clock_was_set(30_000.0)
    assert made.find_stalled(30_000.0) == []
    assert made.find_stalled(30_000.0 + STALL) == ["A"]


def test_what_is_asked_for_runs_before_what_is_due_but_not_each_time():
    made = schedule(*NAMES, workers=1)
    assert start_all(made, 0.0) == ["U0"]
    made.ask("U4", (), False, 0.0)
    made.ask("U5", (SOURCE,), True, 0.0)
    order = []
    current = "U0"
    for _ in range(5):
        made.end(current, EndKind.NOT_DUE, 1e4, 1.0, 0.0)
        start = made.next_start(1.0)
        current = start.unit_name
        order.append(current)
    assert order == ["U4", "U1", "U5", "U2", "U3"]


def test_a_unit_that_is_asked_for_while_it_runs_runs_once_more_for_each_request():
    made = schedule("A")
    start_all(made, 0.0)
    first = made.ask("A", (SOURCE,), False, 1.0)
    assert made.ask("A", (SOURCE,), False, 2.0) is first
    second = made.ask("A", (), False, 2.0)
    assert made.next_start(3.0) is None
    assert made.end("A", EndKind.DONE, 1e4, 3.0, 0.0) is None
    for asked in (first, second):
        assert made.next_start(3.0).asked is asked
        assert made.end("A", EndKind.DONE, 1e4, 3.0, 0.0) is asked
    assert made.next_start(3.0) is None


def test_what_cannot_be_asked_for_is_an_error_that_says_why():
    made = Schedule(1)
    made.load({"Sound": SOUND, "Wrong": WRONG}, 0.0)
    with pytest.raises(ConfigError, match="there is no unit 'None'; there are: Sound, Wrong"):
        made.ask("None", (), False, 0.0)
    with pytest.raises(ConfigError, match="unit Wrong cannot be run: its file is wrong"):
        made.ask("Wrong", (), False, 0.0)
    for number in range(MAX_ASKED):
        made.ask("Sound", (SourceUrl(f"/host/{number}"),), False, 0.0)
    with pytest.raises(ConfigError, match=f"{MAX_ASKED} requests"):
        made.ask("Sound", (), False, 0.0)
    assert len(made.stop()) == MAX_ASKED
    with pytest.raises(ConfigError, match="ending"):
        made.ask("Sound", (), False, 0.0)
    assert made.next_start(0.0) is None


def test_a_unit_whose_files_are_mended_is_looked_at_at_once():
    made = Schedule(1)
    made.load({"A": WRONG}, 0.0)
    assert start_all(made, 0.0) == []
    assert states(made) == {"A": UnitState.BROKEN}
    made.load({"A": SOUND}, 5.0)
    assert start_all(made, 5.0) == ["A"]
    made.load({"A": WRONG}, 6.0)
    assert states(made) == {"A": UnitState.RUNNING}
    made.end("A", EndKind.DONE, 0.0, 7.0, 0.0)
    assert states(made) == {"A": UnitState.BROKEN}


def test_a_unit_that_is_gone_runs_to_its_end_and_is_forgotten_then():
    made = schedule("A", "B", workers=1)
    start_all(made, 0.0)
    asked = made.ask("A", (), True, 0.0)
    assert made.load({}, 1.0) == [asked]
    assert made.names == []
    assert made.in_progress == ["A"]
    made.end("A", EndKind.DONE, 0.0, 2.0, 0.0)
    assert made.views(2.0) == []


@given(st.lists(st.tuples(st.sampled_from(EndKind), st.floats(allow_nan=True), st.floats(0, 1)), max_size=20))
def test_whatever_a_unit_says_it_is_looked_at_again_within_a_day(ends):
    made = schedule("A")
    now = 0.0
    for kind, seconds, jitter in ends:
        assert start_all(made, now) == ["A"]
        made.end("A", kind, seconds, now, jitter)
        assert now < made.wake_time() <= now + MAX_LOOK
        now = made.wake_time()
