"""A source that is looked at regularly, and stored when it changed; `test_custom_template.py` kills it."""

import base64

import pytest
from unit_bench import follow_chain, read_elements

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.events import ElementStored, SourceFailed, SourceStarted
from guerillabackup.generator.interface import SourceRequest, UnitContext
from guerillabackup.generator.state import STATE, DamagedStateError, StateDirectory
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.units.single_source import SingleSource

URL = SourceUrl("/host/inventory")
INTERVAL = 1000


class Bench:
    """A source whose content is `content`, or an error to raise."""

    def __init__(self, base):
        (base / "spool").mkdir()
        self.storage = DefaultFileStorage(str(base / "spool"))
        self.base, self.now, self.content, self.events, self.context = base, 10_000.0, b"one", [], {}

    def open(self):
        context = UnitContext(
            "unit",
            {},
            str(self.base),
            str(self.base / "state"),
            self.storage,
            lambda: self.now,
            listen=self.events.append,
            **self.context,
        )
        return SingleSource(context, URL, "inventory", INTERVAL, self.collect)

    def collect(self):
        if isinstance(self.content, Exception):
            raise self.content
        return self.content

    def chain(self):
        return follow_chain(read_elements(self.storage, URL.text))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def source(bench):
    source = bench.open()
    yield source
    source.close()


def test_it_is_stored_when_it_changed_and_its_elements_are_one_chain(bench, source):
    for content in (b"one", b"one", b"two"):
        bench.content = content
        assert source.seconds_until_due() == 0
        outcomes = source.run()
        assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
        assert (source.seconds_until_due(), source.run()) == (INTERVAL, [])
        bench.now += INTERVAL
    first, second = bench.chain()
    assert (first["Timestamp"], second["Timestamp"]) == (10_000, 12_000)
    assert {(element["ContentType"], element["BackupType"]) for element in (first, second)} == {
        ("inventory", "full")
    }
    assert [type(event) for event in bench.events if not hasattr(event, "stages")] == [
        SourceStarted,
        ElementStored,
    ] * 2


def test_it_goes_on_after_a_restart(bench, source):
    source.run()
    source.close()
    bench.now += INTERVAL - 1
    again = bench.open()
    assert again.seconds_until_due() == 1
    bench.now += 1
    assert (again.run(), len(bench.chain())) == ([], 1)
    again.close()


def test_what_it_kept_before_this_class_was_is_gone_on_with(bench):
    state = StateDirectory(str(bench.base / "state"))
    uuid = base64.b64encode(b"1234567890123456").decode()
    state.save(STATE, {"DataUuid": uuid, "Digest": "0" * 128, "Time": 9000})
    state.close()
    source = bench.open()
    source.run()
    source.close()
    (element,) = read_elements(bench.storage, URL.text)
    assert element["Predecessor"] == uuid


def test_what_is_asked_for_is_stored_though_it_is_neither_due_nor_changed(bench, source):
    source.run()
    source.close()
    bench.context["get_request"] = lambda url: SourceRequest.NOW
    asked = bench.open()
    assert asked.seconds_until_due() == 0
    asked.run()
    asked.close()
    assert len(bench.chain()) == 2


def test_it_is_looked_at_when_the_clock_was_set_back(bench, source):
    source.run()
    bench.now -= 1
    assert source.seconds_until_due() == 0


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), StorageError("No such file")])
def test_what_cannot_be_collected_is_told_and_tried_again_soon(bench, source, error):
    bench.content = error
    (outcome,) = source.run()
    assert "No such file" in str(outcome.error)
    assert 48 <= outcome.retry_after <= 60
    assert source.seconds_until_due() == outcome.retry_after
    assert [type(event) for event in bench.events] == [SourceFailed]
    assert bench.chain() == []


def test_nothing_is_stored_or_remembered_in_test_mode(bench):
    bench.context["test_mode"] = True
    source = bench.open()
    assert [outcome.element_id for outcome in source.run()] == [None]
    assert source.seconds_until_due() == INTERVAL
    source.close()
    assert bench.chain() == []
    again = bench.open()
    assert again.seconds_until_due() == 0
    again.close()


def test_a_source_of_another_unit_is_refused(bench):
    bench.context["foreign_sources"] = {URL: "Other"}
    with pytest.raises(ConfigError, match="source /host/inventory is one of unit Other already"):
        bench.open()


@pytest.mark.parametrize("value", [[], {"DataUuid": 7, "Digest": None, "Time": 0}, {"DataUuid": None}])
def test_a_damaged_state_is_refused(bench, value):
    state = StateDirectory(str(bench.base / "state"))
    state.save(STATE, value)
    state.close()
    with pytest.raises(DamagedStateError, match=r"state\.current"):
        bench.open()
