"""How the kernel shares the processor with what makes and reads elements. Touches: os."""

import os


def be_a_batch_job() -> None:
    """Let the calling thread, and all threads and processes it starts from now on, work in longer turns.

    A stage of a pipeline that wakes up for every line that the one before it writes takes the processor from
    it each time; as batch jobs both go on for as long as they have something to do. It needs no privilege
    and can be repeated. A policy that somebody chose already is left as it is.
    """
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # a container that forbids it: it is only slower
