"""How commands write: one JSON document, or aligned text."""

import enum
import json

import pytest

from guerillabackup.cli.common import ExitStatus, Invocation, exit_status_for, json_text
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementIdError, GuerillaBackupError, KeyUnusableError, StorageError

RECORDS = [{"name": "a", "size": 1}, {"name": "bcd", "size": None}]


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture(params=[True, False], ids=["json", "text"])
def invocation(request):
    return Invocation("/etc/guerillabackup", request.param, False)


def test_a_record_is_an_object_or_lines(invocation, capsys):
    invocation.write_record({"name": "a b", "size": 12, "valid": True})
    out = capsys.readouterr().out
    if invocation.as_json:
        assert json.loads(out) == {"name": "a b", "size": 12, "valid": True}
    else:
        assert out == "name:   a b\nsize:   12\nvalid:  yes\n"


def test_records_are_an_array_or_a_table(invocation, capsys):
    invocation.write_records(RECORDS, ["name", "size"])
    out = capsys.readouterr().out
    if invocation.as_json:
        assert json.loads(out) == RECORDS
    else:
        assert out == "NAME  SIZE\na     1\nbcd   -\n"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stream_of_records_is_one_document_of_any_length_too(invocation, capsys, count):
    records = [{"n": number} for number in range(count)]
    assert invocation.stream_records(iter(records), lambda record: f"n={record['n']}") == count
    out = capsys.readouterr().out
    if invocation.as_json:
        assert json.loads(out) == records
    else:
        assert out == "".join(f"n={number}\n" for number in range(count))


def test_words_for_a_reader_are_not_in_the_document(invocation, capsys):
    invocation.say("done")
    invocation.warn("look")
    captured = capsys.readouterr()
    assert captured.out == ("" if invocation.as_json else "done\n")
    assert captured.err == "guerillabackup: warning: look\n"


def test_without_a_terminal_progress_is_quiet(invocation, capsys):
    with invocation.progress() as listen:
        listen(None)
    assert capsys.readouterr() == ("", "")


def test_any_value_of_ours_has_a_json_form():
    values = {"b": b"\xff", "e": Colour.RED, "s": {2, 1}, "u": SourceUrl("/a"), "t": (1, None)}
    assert json.loads(json_text(values)) == {"b": "/w==", "e": "red", "s": [1, 2], "u": "/a", "t": [1, None]}


def test_the_exit_status_tells_whose_fault_it_was():
    assert [
        exit_status_for(error)
        for error in (GuerillaBackupError(), StorageError(), KeyUnusableError(), ElementIdError())
    ] == [ExitStatus.ERROR, ExitStatus.ERROR, ExitStatus.KEY_UNUSABLE, ExitStatus.INTEGRITY]


def test_the_documented_numbers_never_change():
    assert {status.name: int(status) for status in ExitStatus} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "SOME_FAILED": 3,
        "INTEGRITY": 4,
        "KEY_UNUSABLE": 5,
        "INTERRUPTED": 130,
    }
