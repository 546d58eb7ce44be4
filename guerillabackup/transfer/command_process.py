"""A command whose stdin and stdout lead to a peer: started, explained, reaped with its group.

Touches: fcntl, os, select, signal, subprocess, time.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

from guerillabackup.errors import ConnectionLostError

PIPE_SIZE = 1 << 20
END_SECONDS = 5.0
"""That a command has to end by itself once its peer's stream is closed, and again after SIGTERM."""
EXPLAIN_SECONDS = 1.0
"""That a command which closed its output has to end, so that its status is known."""
MOMENT_SECONDS = 0.2
MAX_WORDS = 2000
"""Bytes of its last words that are kept."""


class CommandProcess:
    """A running command in a session of its own; who gets `input_fd` and `output_fd` owns them."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], end_seconds: float = END_SECONDS
    ) -> None:
        self._end_seconds = end_seconds
        self._is_hurried = False
        self._name = os.path.basename(argv[0])
        try:
            # Pipes and no socket: some programs open /dev/stdin, which a socket does not allow.
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, "LC_ALL": "C"},
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise ConnectionLostError(f"cannot start {argv[0]}: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._exit_fd = os.pidfd_open(self._process.pid)
        """Readable once the command has ended; it is reaped only by `end`."""
        self.input_fd = os.dup(self._process.stdout.fileno())
        self.output_fd = os.dup(self._process.stdin.fileno())
        self._process.stdout.close()
        self._process.stdin.close()
        for descriptor in (self.input_fd, self.output_fd):
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._words = _LastWords(self._process.stderr.fileno(), f"transfer-stderr-{self._process.pid}")

    def explain(self) -> str:
        """How it ended and what it said, when it ends soon; called when its stream broke."""
        has_ended = self._has_ended(EXPLAIN_SECONDS)
        end = f"{self._name} {self._describe_end() if has_ended else 'still runs'}"
        words = self._words.text(EXPLAIN_SECONDS if has_ended else 0.0)
        return f"{end}: {words}" if words else end

    def hurry(self) -> None:
        """Have `end` wait no longer than a moment for anything; from any thread, before it or meanwhile."""
        self._is_hurried = True

    def end(self) -> None:
        """Let it end, then make it; nothing of its group is left. Once, after the channel is closed."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            if self._ends_in_time():
                break
        # Not reaped so far, so that the number of its group is nobody else's.
        self._signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._exit_fd)
        self._words.close()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _ends_in_time(self) -> bool:
        until = time.monotonic() + self._end_seconds
        while not self._is_hurried and time.monotonic() < until:
            if self._has_ended(min(MOMENT_SECONDS, self._end_seconds)):
                return True
        return self._has_ended(MOMENT_SECONDS if self._is_hurried else 0.0)

    def _has_ended(self, timeout: float) -> bool:
        poll = select.poll()
        poll.register(self._exit_fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def _describe_end(self) -> str:
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code == os.CLD_EXITED:
            return f"exited with status {found.si_status if found else 'unknown'}"
        return f"was ended by {_signal_name(found.si_status)}"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class _LastWords:
    """Reads what a command says, so that it never waits for that, and keeps the end of it."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._kept = b""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def text(self, timeout: float) -> str:
        """What was kept, in one line; all of it when it ends within the time."""
        self._is_over.wait(timeout)
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines()]
        text = " / ".join(line for line in lines if line)
        return text if text.isprintable() else ascii(text)

    def close(self) -> None:
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        # Who was started by the command, and stays, may hold this open for ever.
        while self._wake not in dict(poll.poll()):
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                break
            self._kept = (self._kept + data)[-MAX_WORDS:]
        self._is_over.set()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
