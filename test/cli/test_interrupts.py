"""A signal that asks for an end is answered, whenever it comes, and breaks nothing of Python's own."""

import signal
import subprocess
import sys
import textwrap

import pytest

from guerillabackup.cli.interrupts import ENDING

BEGIN = """
import os, signal, sys, threading, time
from guerillabackup.cli.interrupts import end_in_order
end_in_order()

def interrupt():
    os.kill(os.getpid(), NUMBER)

def wait():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted")
"""


def run(text, number=signal.SIGTERM, hangup=signal.SIG_DFL):
    program = BEGIN.replace("NUMBER", str(int(number))) + textwrap.dedent(text)
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # Who runs the tests may have it ignored, as nohup does.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
    )
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_interrupts_what_runs(number):
    assert run("threading.Timer(0.05, interrupt).start()\nwait()\n", number) == "interrupted\n"


@pytest.mark.parametrize("number", ENDING)
def test_an_import_is_finished_first(number, tmp_path):
    (tmp_path / "slow_module.py").write_text("import __main__\n__main__.interrupt()\nvalue = 1\n")
    program = f"""
    sys.path.insert(0, {str(tmp_path)!r})
    import slow_module
    print(slow_module.value)
    wait()
    """
    assert run(program, number) == "1\ninterrupted\n"


def test_other_threads_can_import_after_it(tmp_path):
    (tmp_path / "slow_module.py").write_text("import __main__\n__main__.interrupt()\n")
    program = f"""
    sys.path.insert(0, {str(tmp_path)!r})
    import slow_module
    wait()
    thread = threading.Thread(target=lambda: __import__("colorsys"))
    thread.start()
    thread.join()
    """
    assert run(program) == "interrupted\n"


def test_one_that_python_would_drop_comes_again():
    program = """
    class Thing:
        def __del__(self):
            interrupt()
            for _ in range(1000):
                pass

    try:
        Thing()
        wait()
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run(program) == "interrupted\n"


def test_what_is_ignored_stays_ignored():
    program = """
    interrupt()
    print("went on")
    """
    assert run(program, signal.SIGHUP, signal.SIG_IGN) == "went on\n"


def test_what_came_of_a_signal_is_told_from_what_code_of_others_raised():
    program = """
    from guerillabackup.cli.interrupts import is_interrupted

    print(is_interrupted(KeyboardInterrupt()), is_interrupted(ValueError()))
    try:
        interrupt()
    except KeyboardInterrupt as error:
        print(is_interrupted(error), is_interrupted(ValueError()))
    """
    assert run(program) == "False False\nTrue True\n"


def test_with_the_handlers_of_others_each_keyboard_interrupt_is_one():
    program = """
    from guerillabackup.cli.interrupts import is_interrupted

    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    print(is_interrupted(KeyboardInterrupt()), is_interrupted(ValueError()))
    """
    assert run(program.replace("ENDING", repr(tuple(map(int, ENDING))))) == "True False\n"
