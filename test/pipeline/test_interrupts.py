"""What a signal asks for waits for what must not be interrupted, and is not forgotten."""

import os
import signal
import threading

import pytest

from guerillabackup.pipeline.interrupts import interrupts_put_off


def interrupt_this():
    os.kill(os.getpid(), signal.SIGINT)


def run_to_its_end(steps):
    with interrupts_put_off():
        interrupt_this()
        steps.append("went on")


def fail():
    with interrupts_put_off():
        interrupt_this()
        raise ValueError("within")


def test_an_interrupt_comes_at_the_end_of_the_context():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        run_to_its_end(steps)
    assert steps == ["went on"]
    with pytest.raises(KeyboardInterrupt):
        interrupt_this()


def test_what_is_ignored_stays_ignored_and_other_handlers_come_back():
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts_put_off():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_within_is_not_lost_to_an_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, ValueError)


def test_in_another_thread_there_is_nothing_to_do():
    steps = []

    def work():
        with interrupts_put_off():
            steps.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == ["worked"]
