"""What other programs can learn of what units remember."""

import json

import pytest

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.generator.last_elements import read_last_elements, read_last_of
from guerillabackup.generator.state import StateDirectory

URL = SourceUrl("/host/a")


def write(base, unit, value):
    directory = base / "generators" / unit
    directory.mkdir(parents=True)
    (directory / "state.current").write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize(
    "state",
    [
        {"/host/a": [1, 2, "dXVpZA=="]},
        {"/host/a": {"LastTime": 1, "LastUuid": "dXVpZA=="}},
        [5, {"/host/a": "dXVpZA=="}],
    ],
    ids=["archives", "commands", "log files"],
)
def test_each_unit_tells_of_its_sources(tmp_path, state):
    write(tmp_path, "Unit", state)
    assert read_last_elements(str(tmp_path)) == {URL: frozenset([b"uuid"])}


def test_a_unit_at_work_is_asked_too(tmp_path):
    with StateDirectory(str(tmp_path / "generators" / "Unit")) as state:
        state.save("state.current", {"/host/a": [1, 2, "dXVpZA=="]})
        assert read_last_elements(str(tmp_path)) == {URL: frozenset([b"uuid"])}


def test_of_two_units_with_a_source_both_are_told(tmp_path):
    write(tmp_path, "Old", {"/host/a": [1, 2, "b2xk"]})
    write(tmp_path, "Unit", {"/host/a": [1, 2, "dXVpZA=="]})
    assert read_last_elements(str(tmp_path)) == {URL: frozenset([b"uuid", b"old"])}


@pytest.mark.parametrize(
    "state",
    ["{", "[]", "3", "[1, 2]", {"DataUuid": "eA=="}, {"/host/a": [1, None, ""]}, {"/a b": [1, 2, "eA=="]}],
)
def test_what_cannot_be_understood_tells_nothing_and_hinders_no_other(tmp_path, state):
    write(tmp_path, "Bad", state)
    write(tmp_path, "Unit", {"/host/a": [1, 2, "dXVpZA=="]})
    assert read_last_elements(str(tmp_path)) == {URL: frozenset([b"uuid"])}


def test_where_no_unit_ever_ran_there_is_nothing(tmp_path):
    assert read_last_elements(str(tmp_path)) == {}


@pytest.mark.parametrize(
    "extras", ["{", "[]", {"/host/a": 3}, {"/host/a": {"LastElement": ["nothing", "dXVpZA=="]}}, None]
)
def test_what_is_known_of_the_last_ones_is_of_the_hosts_own_storage(tmp_path, extras):
    name = ElementId.parse("/host/20260201120000-a-full")
    write(tmp_path, "Unit", {"/host/a": [1, 2, "dXVpZA=="]})
    text = {"/host/a": {"LastElement": [str(name), "dXVpZA=="]}} if extras is None else extras
    path = tmp_path / "generators" / "Unit" / "extras.current"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    own, state = str(tmp_path), str(tmp_path)
    found = read_last_of(own, own, state, move_on=True)
    assert found == LastElements(
        {URL: frozenset([b"uuid"])}, {b"uuid": name} if extras is None else {}, move_on=True
    )
    for others in (("/", own, state), (own, None, state), (own, own, None), (own + "/none", own, state)):
        assert read_last_of(*others, move_on=True) == LastElements()
