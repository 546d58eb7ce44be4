"""The log of a service as lines of JSON."""

import json
import logging
import os
import subprocess
import sys

import pytest

from guerillabackup.cli.json_log import log_as_json_lines

CODE = """
import logging, os, sys
from guerillabackup.cli.json_log import log_as_json_lines
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="plain: %(message)s")
with log_as_json_lines(True):
    logging.info("one %d\\n\u00e4", 1)
    print("printed")
    os.system("echo said")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.error("two", exc_info=True)
logging.info("after")
print("the end")
"""


def run(**streams):
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, text=True, timeout=60, check=True, stderr=subprocess.PIPE, **streams)


def test_each_record_is_an_object_on_a_line_and_nothing_else_is_between_them():
    result = run(stdout=subprocess.PIPE)
    one, two, end = result.stdout.splitlines()
    assert json.loads(one) | {"time": 0} == {"time": 0, "level": "info", "message": "one 1\nä"}
    assert json.loads(two)["level"] == "error"
    assert "ZeroDivisionError" in json.loads(two)["traceback"]
    assert end == "the end"
    assert sorted(result.stderr.splitlines()) == ["plain: after", "printed", "said"]


def test_what_nobody_takes_is_logged_as_before():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(stdout=write_end)  # its last words are not taken either
    os.close(write_end)
    assert "plain: one 1" in caught.value.stderr
    assert "plain: two" in caught.value.stderr


def test_where_it_is_not_wanted_nothing_changes():
    before = list(logging.getLogger().handlers)
    with log_as_json_lines(False):
        assert logging.getLogger().handlers == before
