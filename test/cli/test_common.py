"""How commands write: one JSON document, or aligned text."""

import enum
import json
import logging

import pytest

from guerillabackup.cli.common import ExitStatus, Invocation, exit_status_for, json_text, shared
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementIdError, GuerillaBackupError, KeyUnusableError, StorageError

RECORDS = [{"name": "a", "size": 1}, {"name": "bcd", "size": None}]


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture(params=[True, False], ids=["json", "text"])
def invocation(request):
    return Invocation("/etc/guerillabackup", request.param, False)


@pytest.fixture
def root_logging():
    """What a test sets up for the whole program is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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


HOSTILE = "a\x1b[2J\x07\nforged \u202e"
ESCAPED = "a\\x1b[2J\\x07\\nforged \\u202e"


def test_names_from_outside_neither_steer_a_terminal_nor_forge_lines(capsys):
    invocation = Invocation("/etc/guerillabackup", False, False)
    invocation.say(HOSTILE)
    invocation.warn(HOSTILE)
    invocation.write_record({HOSTILE: HOSTILE})
    invocation.write_records([{"name": HOSTILE}], ["name"])
    invocation.stream_records([{"name": HOSTILE}], lambda record: f"violation: {record['name']}")
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        ESCAPED,
        f"{ESCAPED}:  {ESCAPED}",
        "NAME",
        ESCAPED,
        f"violation: {ESCAPED}",
    ]
    assert captured.err == f"guerillabackup: warning: {ESCAPED}\n"


def test_what_the_parts_log_is_one_line_for_each_message(capsys, root_logging):
    @shared(example="guerillabackup example")
    def logs(invocation):
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logging.getLogger("part").warning("source %s", HOSTILE, exc_info=True)

    logs(config_dir="/etc/guerillabackup", as_json=False, debug=True)
    first, *trace = capsys.readouterr().err.splitlines()
    assert first == f"guerillabackup: warning: source {ESCAPED}"
    assert all(line.startswith("  ") and line.isprintable() for line in trace)
    assert trace[0] == "  Traceback (most recent call last):"
