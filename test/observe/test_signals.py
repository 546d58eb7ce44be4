"""Signals are read from a descriptor, and what was there before is there after."""

import os
import select
import signal

from guerillabackup.observe.interface import Wish
from guerillabackup.observe.signals import SignalPipe


def test_a_signal_makes_the_descriptor_readable_and_interrupts_nothing():
    before = signal.getsignal(signal.SIGTERM)
    with SignalPipe() as signals:
        assert signals.take() == frozenset()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        poll = select.poll()
        poll.register(signals.descriptor, select.POLLIN)
        assert poll.poll(60_000)
        assert signals.take() == {Wish.END, Wish.RELOAD}
        assert signals.take() == frozenset()
    assert signal.getsignal(signal.SIGTERM) is before


def test_any_number_of_signals_is_taken():
    with SignalPipe() as signals:
        for _ in range(10_000):
            os.kill(os.getpid(), signal.SIGHUP)
        while signals.take():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert Wish.END in signals.take()
