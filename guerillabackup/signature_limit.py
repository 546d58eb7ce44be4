"""Ends a gpg that python-gnupg started and that makes no progress, so that nobody waits for it for ever.

Progress is processor time: who reads, hashes or signs takes some. Touches: os, select, signal, threading.
"""

import contextlib
import os
import select
import signal
import threading
from typing import Any

from guerillabackup.errors import KeyUnusableError

STALL_SECONDS = 300.0
"""For how long a gpg may do nothing at all; it is ended after twice that at the latest."""


def limit_calls(kind: type[Any]) -> type[Any]:
    """A gnupg.GPG that ends a gpg which stalls, and raises KeyUnusableError then."""

    class LimitedGpg(kind):  # type: ignore[misc]
        def _open_subprocess(self, *arguments: Any, **options: Any) -> Any:
            process = super()._open_subprocess(*arguments, **options)
            process.watch = _Watch(process.pid)
            return process

        def _collect_output(self, process: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return super()._collect_output(process, *arguments, **options)
            finally:
                process.watch.end()

    return LimitedGpg


class _Watch:
    """Looks after one process until it ends, in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._has_stalled = False
        # The descriptor means this process also when its number is given to another.
        self._descriptor = os.pidfd_open(pid)
        self._thread = threading.Thread(target=self._run, name="gpg-watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The process has ended; raises KeyUnusableError when it had to be."""
        self._thread.join()
        if self._has_stalled:
            raise KeyUnusableError(
                f"gpg did nothing for {STALL_SECONDS:g} seconds and was ended: does the storage of its "
                "keyring, or of what it reads, answer"
            )

    def _run(self) -> None:
        try:
            ended = select.poll()
            ended.register(self._descriptor, select.POLLIN)
            before = _processor_time(self._pid)
            while not ended.poll(STALL_SECONDS * 1000):
                now = _processor_time(self._pid)
                if now == before:
                    self._has_stalled = True
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
                    return
                before = now
        finally:
            os.close(self._descriptor)


def _processor_time(pid: int) -> tuple[str, ...]:
    """What the process took so far, in whatever unit; of one that ended nothing."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stream:
            return tuple(stream.read().rpartition(")")[2].split()[11:13])
    except OSError:
        return ()
