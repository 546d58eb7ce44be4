"""One unit over many runs: what it is given, what becomes of its errors, and how it is exchanged."""

import asyncio
import logging
from contextlib import contextmanager

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, KeyUnusableError, StorageError
from guerillabackup.events import UnitFailed, UnitSkipped
from guerillabackup.generator.interface import (
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
)
from guerillabackup.generator.runner import Surroundings, UnitRunner, is_any_interrupt
from guerillabackup.generator.selection import LoadedUnit
from guerillabackup.storage.memory import MemoryStorage

URL = SourceUrl("/host/a")


class World:
    """What a unit sees, and what it did: each is noted in `notes`."""

    def __init__(self):
        self.notes = []
        self.events = []
        self.behaviour = {}

    is_interrupted = staticmethod(is_any_interrupt)

    @contextmanager
    def open_storage(self):
        self.notes.append("storage")
        try:
            yield MemoryStorage()
        finally:
            self.notes.append("storage closed")

    @contextmanager
    def open_keys(self):
        self.notes.append("keys")
        try:
            yield self
        finally:
            self.notes.append("keys closed")

    def find_encryption_key(self, name, now):
        return f"fingerprint of {name}"

    def check_signing_key(self, name, now):
        raise KeyUnusableError(f"key {name!r} has expired")

    def runner(self, predecessor=None, **configuration):
        world = self

        class Unit(SchedulableGeneratorUnitInterface):
            def __init__(self, name, context):
                world.notes.append("made")
                world.behaviour.get("make", lambda context: None)(context)
                self.context = context

            def get_next_invocation_time(self):
                return world.behaviour.get("time", lambda: 0)()

            def invoke_unit(self):
                world.notes.append(self.context.get_request(URL).name)
                return world.behaviour.get("invoke", lambda context: [])(self.context)

            def close(self):
                world.notes.append("closed")
                world.behaviour.get("close", lambda: None)()

        configuration = {"GeneralPersistencyBaseDir": "/state", **configuration}
        return UnitRunner(LoadedUnit("A", Unit, configuration), {}, self.surroundings(), predecessor)

    def surroundings(self):
        return Surroundings(
            "/conf",
            self.open_storage,
            self.open_keys,
            self.events.append,
            lambda: 1e9,
            lambda: None,
            is_interrupted=self.is_interrupted,
        )


@pytest.fixture
def world():
    return World()


def look(runner, request=SourceRequest.WHEN_DUE, **how):
    runner.is_used = True
    return runner.look(lambda url: request, **{"is_asked": False, "heeds_condition": True, **how})


def test_a_unit_is_made_once_and_gets_the_storage_of_each_run(world):
    runner = world.runner()
    for _ in range(2):
        assert look(runner).was_invoked
    once = ["storage", "WHEN_DUE", "storage closed"]
    assert world.notes == ["storage", "made", "WHEN_DUE", "storage closed", *once]


def test_the_keyring_is_opened_when_a_key_is_wanted_and_anew_for_each_run(world):
    runner = world.runner()
    world.behaviour["invoke"] = lambda context: [context.find_encryption_key("backup") for _ in range(2)][:0]
    look(runner)
    look(runner)
    assert world.notes.count("keys") == world.notes.count("keys closed") == 2


def test_between_two_runs_there_is_no_storage(world):
    kept = []
    world.behaviour["make"] = kept.append
    look(world.runner())
    with pytest.raises(StorageError, match="only while it runs"):
        kept[0].storage.get_sink_handle(URL)


def test_what_is_not_due_is_not_invoked_and_what_is_asked_for_is(world):
    world.behaviour["time"] = lambda: 77
    runner = world.runner()
    outcome = look(runner)
    assert (outcome.was_invoked, outcome.next_in) == (False, 77)
    outcome = look(runner, SourceRequest.FULL, is_asked=True)
    assert (outcome.was_invoked, outcome.next_in) == (True, 77)
    assert "FULL" in world.notes


@pytest.mark.parametrize("answer", [None, "soon", float("nan"), [1]])
def test_a_time_that_is_none_is_the_units_error(world, answer):
    world.behaviour["time"] = lambda: answer
    assert isinstance(look(world.runner()).error, ConfigError)


def test_what_a_unit_made_counts_also_when_it_fails_to_say_its_time_after_it(world):
    times = iter([0])
    world.behaviour["time"] = lambda: next(times)
    world.behaviour["invoke"] = lambda context: [SourceOutcome(URL, None)]
    outcome = look(world.runner())
    assert (outcome.error, len(outcome.sources), outcome.next_in) == (None, 1, 0)


@pytest.mark.parametrize("where", ["make", "time", "invoke"])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("own"), SystemExit(3), StorageError("full"), GeneratorExit(), asyncio.CancelledError()],
)
def test_whatever_a_unit_raises_is_its_error_and_it_is_made_anew_next_time(world, where, error):
    def fail(*arguments):
        raise error

    world.behaviour[where] = fail
    runner = world.runner()
    outcome = look(runner)
    assert isinstance(outcome.error, GuerillaBackupError)
    assert [type(event) for event in world.events] == [UnitFailed]
    assert world.notes[-1] == ("storage closed" if where == "make" else "closed")
    world.behaviour.clear()
    assert look(runner).error is None
    assert world.notes.count("made") == 2


@pytest.mark.parametrize("where", ["make", "time", "invoke"])
def test_a_unit_that_raises_what_a_signal_raises_has_failed_like_others(world, where):
    def fail(*arguments):
        raise KeyboardInterrupt

    world.is_interrupted = lambda error: False
    world.behaviour[where] = fail
    assert str(look(world.runner()).error) == "KeyboardInterrupt: "


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("cleaning up"), StorageError("full")])
def test_whatever_a_unit_makes_of_an_interrupt_by_a_signal_it_stays_one(world, error):
    def fail(*arguments):
        raise error

    world.is_interrupted = lambda error: True
    world.behaviour["invoke"] = fail
    with pytest.raises(KeyboardInterrupt):
        look(world.runner())
    assert world.events == []


def test_a_condition_that_does_not_hold_skips_what_is_due_but_not_what_is_asked_for(world):
    class Never:
        def evaluate(self):
            return False

    runner = world.runner(DefaultUnitRunCondition=Never())
    assert look(runner).skipped == "Never does not hold"
    assert [type(event) for event in world.events] == [UnitSkipped]
    assert look(runner, is_asked=True, heeds_condition=False).was_invoked


def test_a_condition_that_goes_on_not_to_hold_is_logged_once_whatever_numbers_it_tells(world, caplog):
    caplog.set_level(logging.INFO)
    texts = iter(["load is 4.2", "load is 3.14", "on battery", None, "load is 9"])

    class Told:
        def evaluate(self):
            self.text = next(texts)
            return self.text is None

        def describe(self):
            return self.text

    runner = world.runner(DefaultUnitRunCondition=Told())
    for _ in range(5):
        look(runner)
    assert [message.split(": ", 1)[1] for message in caplog.messages if "condition holds" in message] == [
        "load is 4.2",
        "on battery",
        "its condition holds now",
        "load is 9",
    ]
    assert len([event for event in world.events if isinstance(event, UnitSkipped)]) == 4


def test_a_key_that_cannot_sign_is_an_error_before_any_work(world):
    outcome = look(world.runner(GeneralSigningKey="signing"))
    assert isinstance(outcome.error, KeyUnusableError)
    assert "WHEN_DUE" not in world.notes


def test_a_unit_read_anew_closes_what_it_was_before_it_is_made(world):
    first = world.runner()
    look(first)
    second = world.runner(first)
    third = world.runner(second)  # the second one was never used
    look(third)
    assert [note for note in world.notes if note in ("made", "closed")] == ["made", "closed", "made"]
    third.close()
    third.close()
    assert world.notes.count("closed") == 2


@pytest.mark.parametrize(
    ("where", "said"), [("close", "could not be closed"), ("time", "does not say when it is due next")]
)
def test_what_a_unit_raises_beside_its_run_is_one_line_of_the_log(world, caplog, where, said):
    def fail():
        if where == "close" or "WHEN_DUE" in world.notes:
            raise RuntimeError("broken\nin two")
        return 0

    world.behaviour[where] = fail
    runner = world.runner()
    look(runner)
    runner.close()
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    assert record.getMessage().startswith(f"unit A {said}: RuntimeError: broken")
    assert record.exc_info is None


def test_a_unit_that_could_not_be_loaded_fails_with_the_reason(world):
    runner = UnitRunner(LoadedUnit("A", error=ConfigError("wrong")), {}, world.surroundings())
    assert str(look(runner).error) == "wrong"
