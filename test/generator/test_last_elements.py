"""What other programs can learn of what units remember."""

import json

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.generator.last_elements import read_last_elements
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
