"""What a unit and its programs write gets to standard error, and what a command says to standard output."""

import subprocess
import sys

KEPT = """
import os, subprocess, sys
from guerillabackup.cli.own_output import kept_for_us
print("before")
with kept_for_us():
    print("of a unit")
    subprocess.run(["echo", "of a child"])
    os.write(1, b"at the descriptor\\n")
print("after")
"""
MOVED = """
import os, sys
from guerillabackup.cli.own_output import move_standard_error
move_standard_error()
os.closerange(0, 3)
path = sys.argv[1]
files = [open(f"{path}/{number}", "w") for number in range(3)]
print("of ours", file=sys.stderr)
"""


def run(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_only_what_is_said_outside_of_it_gets_to_standard_output():
    result = run(KEPT)
    assert result.stdout == "before\nafter\n"
    assert sorted(result.stderr.splitlines()) == ["at the descriptor", "of a child", "of a unit"]


def test_it_does_no_harm_where_standard_output_is_closed():
    code = "from guerillabackup.cli.own_output import kept_for_us\nwith kept_for_us(): pass"
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_messages_get_to_where_standard_error_was_and_not_into_a_file_of_its_number(tmp_path):
    result = run(MOVED, str(tmp_path))
    assert result.stderr == "of ours\n"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["", "", ""]
