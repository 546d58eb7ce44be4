"""What is told of an error that nobody answered for."""

import errno
import os
import resource
import subprocess
import sys
import weakref

import pytest

from guerillabackup import osfile
from guerillabackup.unexpected import explain, forget_frames


def test_of_an_error_of_the_system_the_place_is_told():
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        osfile.write_all(-1, b"x")
    assert explain(caught.value).startswith("; the system refused this in osfile.py, write_all(), line ")


def test_of_one_from_nowhere_and_of_all_others_there_is_nothing_to_add():
    assert explain(OSError(errno.EIO, os.strerror(errno.EIO))) == ""
    assert explain(ValueError("x")) == ""


def test_where_there_is_no_thread_to_be_had_the_limits_are_told():
    text = explain(RuntimeError("can't start new thread"))
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    assert "TasksMax" in text
    assert (f"{limit} processes" if limit != resource.RLIM_INFINITY else "no limit") in text


def test_a_command_that_gets_no_thread_says_which_limit(tmp_path):
    program = (
        "import threading\n"
        "from guerillabackup.cli import main\n"
        'def refuse(thread): raise RuntimeError("can\'t start new thread")\n'
        "def work(*arguments): threading.Thread(target=print).start()\n"
        "threading.Thread.start = refuse\n"
        "main._invoke = work\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "can't start new thread; this user has" in done.stderr


def test_what_the_frames_of_an_error_and_of_its_causes_hold_is_let_go():
    class Content:
        pass

    def fail(content: Content) -> None:
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise RuntimeError("outer") from error

    content = Content()
    reference = weakref.ref(content)
    try:
        fail(content)
    except RuntimeError as error:
        kept = error
    del content
    assert reference() is not None
    forget_frames(kept)
    assert reference() is None
    assert (str(kept), str(kept.__cause__)) == ("outer", "inner")
    forget_frames(None)
