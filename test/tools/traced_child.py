"""The half of tracer.py that is traced: does one operation when it is told to, and nothing else.

It reads lines of OPERATION, DIRECTORY and RESULT, with tabs between them. Everything is loaded once; every
operation has a forked child, which prints its process id and waits for SIGUSR1. Its end shows in its trace as
a call of getppid. Its outcome goes into the file RESULT: "done", or the error's classes and message.
"""

import ctypes
import gc
import os
import signal
import sys

PR_SET_PTRACER = 0x59616D61


def _run(make_operation, name, directory, result):
    action = make_operation(name, directory)
    os.write(1, b"%d\n" % os.getpid())
    signal.sigwait({signal.SIGUSR1})
    try:
        action()
        outcome = "done"
    except Exception as error:
        names = " ".join(kind.__name__ for kind in type(error).__mro__)
        outcome = f"{names}\n{error}"
    os.getppid()
    with open(result, "w", encoding="utf-8") as file:
        file.write(outcome)
    os._exit(0)


def serve(make_operation):
    """Do what is asked; `make_operation(name, directory)` hands back what to call, all else being ready."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    gc.disable()
    for line in sys.stdin:
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            _run(make_operation, *line.rstrip("\n").split("\t"))
