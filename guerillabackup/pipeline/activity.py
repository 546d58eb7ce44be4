"""How much a process or a thread has done, from /proc; what cannot be read is -1 or 0. Touches: os."""

import os
from collections import deque
from typing import NamedTuple

MAX_DESCENDANTS = 1000
_CPU_FIELDS = slice(11, 15)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Transferred(NamedTuple):
    """Bytes by read and write calls, children that were waited for included; -1 where unreadable."""

    bytes_read: int
    bytes_written: int


def read_transferred(process_id: int) -> Transferred:
    """The bytes a process has moved so far."""
    try:
        with open(f"/proc/{process_id}/io", "rb") as file:
            values = dict(line.split(b": ") for line in file.read().splitlines())
        return Transferred(int(values[b"rchar"]), int(values[b"wchar"]))
    except (OSError, ValueError, KeyError):
        return Transferred(-1, -1)


def read_cpu_seconds(process_id: int) -> float:
    """CPU time of a process and its living descendants, whose own work says nothing about its bytes."""
    total = 0.0
    waiting = deque([process_id])
    for _ in range(MAX_DESCENDANTS):
        if not waiting:
            break
        current = waiting.popleft()
        total += _read_stat(f"/proc/{current}/stat")
        waiting.extend(_list_children(current))
    return total


def find_session(session_id: int) -> list[tuple[int, str]]:
    """Number and name of each living process of a session; of those that may be seen."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                command, _, rest = file.read().partition(b" (")[2].rpartition(b") ")
        except OSError:
            continue  # it has ended
        state, _, _, session = rest.split()[:4]
        if int(session) == session_id and state not in (b"Z", b"X"):
            found.append((int(name), command.decode("utf-8", "backslashreplace")))
    return found


def read_thread_cpu_seconds(thread_id: int) -> float:
    """CPU time of a thread of this process, by its native id."""
    return _read_stat(f"/proc/self/task/{thread_id}/stat")


def _read_stat(path: str) -> float:
    try:
        with open(path, "rb") as file:
            fields = file.read().rsplit(b") ", 1)[-1].split()
        return sum(map(int, fields[_CPU_FIELDS])) / _TICKS_PER_SECOND
    except (OSError, ValueError):
        return 0.0


def _list_children(process_id: int) -> list[int]:
    children: list[int] = []
    try:
        for thread_id in os.listdir(f"/proc/{process_id}/task"):
            with open(f"/proc/{process_id}/task/{thread_id}/children", "rb") as file:
                children.extend(map(int, file.read().split()))
    except (OSError, ValueError):
        pass
    return children
