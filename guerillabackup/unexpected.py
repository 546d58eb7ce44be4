"""What to tell of an error that nobody answered for: what the system refused, where, and which limit it met.

Touches: os, resource.
"""

import os
import resource
from types import TracebackType

_PACKAGE = f"{os.sep}{__package__}{os.sep}"
_NO_THREAD = "can't start new thread"


def explain(error: BaseException) -> str:
    """More on an error than it says itself, to follow its text; empty where there is nothing to add."""
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return explain_no_thread()
    if isinstance(error, OSError) and (place := _find_place(error.__traceback__)):
        return f"; the system refused this in {place}"
    return ""


def forget_frames(error: BaseException | None) -> None:
    """Let go of all that the frames of an error and of those behind it hold; what they say stays.

    What keeps an error keeps these frames, often itself among them: memory that only a full collection gives
    back, and that whoever sent what was wrong chose the size of.
    """
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            todo += [one.__cause__, one.__context__]


def explain_no_thread() -> str:
    """Which limits keep a process from another thread, to follow the text that says it has none."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    own = "no limit of processes" if limit == resource.RLIM_INFINITY else f"a limit of {limit} processes"
    return (
        f"; this user has {own} and threads (ulimit -u), beside that of the service's or container's tasks "
        "(TasksMax, pids.max) and of memory (ulimit -v): raise the one that is met"
    )


def _find_place(trace: TracebackType | None) -> str | None:
    """The innermost function of this package that was at work."""
    place = None
    while trace is not None:
        code = trace.tb_frame.f_code
        if _PACKAGE in code.co_filename:
            path = code.co_filename.rpartition(_PACKAGE)[2]
            place = f"{path}, {code.co_name}(), line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
