"""A program at a terminal of its own, with somebody who answers what it asks."""

import os
import pty
import select
import subprocess
import sys

PROGRAM = (sys.executable, "-c", "from guerillabackup.cli.main import main; main()")


def run_at_terminal(arguments, answers=()):
    """Run our program; a dialogue is pairs of a prompt and what is typed after it.

    Hands back exit status, standard output (no terminal) and all that the terminal showed.
    """
    ours, theirs = pty.openpty()
    # The first terminal that the leader of a session opens becomes its controlling one.
    script = 'exec "$@" <"$TERMINAL" 2>"$TERMINAL"'
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TERMINAL": os.ttyname(theirs), "TERM": "dumb"},
    )
    shown = b""
    for prompt, answer in answers:
        before = len(shown)
        while prompt.encode() not in shown[before:] and process.poll() is None:
            shown += _read(ours, 0.1)
        os.write(ours, answer.encode() + b"\n")
    output, _ = process.communicate()
    while piece := _read(ours, 0):
        shown += piece
    os.close(ours)
    os.close(theirs)
    return process.returncode, output.decode(), shown.decode()


def _read(descriptor, seconds):
    """What comes within that time, empty if nothing does."""
    readable, _, _ = select.select([descriptor], [], [], seconds)
    return os.read(descriptor, 4096) if readable else b""
