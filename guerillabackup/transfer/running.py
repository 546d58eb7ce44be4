"""The connections of an agent that run now: how each ends, and how all are ended. Joins sessions and peers.

A peer that breaks the protocol, or a storage that fails it, ends that connection with one line in the log.
"""

import logging
import threading
import time
from collections.abc import Callable

from guerillabackup.errors import ConnectionLostError, GuerillaBackupError
from guerillabackup.transfer.interface import TransferContext
from guerillabackup.transfer.peers import PeerBook, PeerStatus, describe_counters, is_idle
from guerillabackup.transfer.session import client_of, end_session, run_session

FORCE_THREAD = "transfer-force"
MOVES_NOTHING = "sends nothing and takes nothing: one side has to send, the other to receive"
NO_LIMIT = -1.0
FAILED = "failed"
"""The topic of lines that tell of connections which did not go well."""

log = logging.getLogger(__name__)


class RunningConnections:
    """Which connections run; safe to use from several threads.

    `lock` guards everything that is said here; whoever decides by several answers holds it for all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        # A signal's handler may come in between within one thread.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._book = PeerBook(clock)
        self._contexts: list[TransferContext] = []
        self._idle: set[str] = set()
        """Agents in whose last connection nothing was to be done."""
        self._is_stopping = False
        self._force_at: float | None = None
        self._forcer: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether all connections are being ended, and none may begin."""
        return self._is_stopping

    def count(self, agent_id: str | None = None) -> int:
        """Connections that run, of one peer or all."""
        return len(self._contexts) if agent_id is None else self._book.connections(agent_id)

    def begin(self, context: TransferContext) -> None:
        """A connection runs from now on; `run` is to be called."""
        with self.lock:
            self._contexts.append(context)
            self._book.began(context)

    def run(self, context: TransferContext) -> Exception | None:
        """Run a connection that has begun to its end: what ended it, None when both sides had agreed to."""
        error = _run_to_end(context)
        with self.lock:
            self.forget(context, error)
            was_forced = self._is_stopping and isinstance(error, ConnectionLostError)
        moved = describe_counters(context.counters)
        if error is None and context.moves_nothing:
            context.lines.say(log, logging.WARNING, f"peer {context.agent_id} {MOVES_NOTHING}", "idle")
        elif error is None:
            context.lines.over(f"peer {context.agent_id}: a connection went well again", FAILED)
            text = f"peer {context.agent_id}: ended as agreed: {moved}"
            if self._is_idle_again(context):
                log.debug("%s", text)
            else:
                context.lines.say(log, logging.INFO, text, "agreed", repeats=True)
        else:
            level = logging.INFO if was_forced else logging.WARNING
            text = f"peer {context.agent_id}: connection ended: {error}; {moved}"
            context.lines.say(log, level, text, FAILED, loosely=True)
        return error

    def _is_idle_again(self, context: TransferContext) -> bool:
        """Whether nothing was to be done, as in the connection of that peer before: polls say it once."""
        with self.lock:
            was_idle = context.agent_id in self._idle
            if is_idle(context.counters):
                self._idle.add(context.agent_id)
                return was_idle
            self._idle.discard(context.agent_id)
            return False

    def forget(self, context: TransferContext, error: Exception | None = None) -> None:
        """A connection that had begun runs no more."""
        with self.lock:
            self._contexts = [each for each in self._contexts if each is not context]
            self._book.ended(context, error)
            self._changed.notify_all()

    def refuse(self, context: TransferContext, why: str) -> ConnectionLostError:
        """End a connection that did not begin."""
        text = f"peer {context.agent_id}: connection refused: {why}"
        context.lines.say(log, logging.WARNING, text, FAILED, loosely=True)
        with self.lock:
            self._book.failed(context.agent_id, f"refused: {why}")
        end_session(context)
        return ConnectionLostError(f"refused: {why}")

    def note_failure(self, agent_id: str, text: str) -> None:
        """Something of a peer's failed before there was a connection."""
        with self.lock:
            self._book.failed(agent_id, text)

    def note_waiting(self, context: TransferContext, change: int) -> None:
        """One connection more, or less, waits for others to end."""
        with self.lock:
            self._book.waits(context, change)

    def status(self) -> list[PeerStatus]:
        """Every peer that ever connected, as it is now."""
        with self.lock:
            return self._book.status()

    def stop(self, force_shutdown_time: float) -> None:
        """End all: nothing new, and force what runs after so many seconds; 0: at once, -1: never."""
        with self.lock:
            self._is_stopping = True
            for context in self._contexts:
                client_of(context).request_stop()
            if force_shutdown_time == NO_LIMIT:
                return
            force_at = time.monotonic() + force_shutdown_time
            self._force_at = force_at if self._force_at is None else min(force_at, self._force_at)
            if force_shutdown_time <= 0:
                self._force()
            elif self._forcer is None and self._contexts:
                self._forcer = threading.Thread(target=self._force_later, name=FORCE_THREAD, daemon=True)
                self._forcer.start()
            self._changed.notify_all()

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Wait until none runs; whether that is so."""
        with self.lock:
            is_idle = self._changed.wait_for(lambda: not self._contexts, timeout)
            forcer = self._forcer
        if is_idle and forcer is not None:
            forcer.join()
        return is_idle

    def _force(self) -> None:
        for context in self._contexts:
            log.info("peer %s: the connection is ended by force", context.agent_id)
            client_of(context).force_shutdown()

    def _force_later(self) -> None:
        with self.lock:
            while self._contexts and self._force_at is not None:
                left = self._force_at - time.monotonic()
                if left <= 0:
                    self._force()
                    return
                self._changed.wait(left)


def _run_to_end(context: TransferContext) -> Exception | None:
    try:
        run_session(context)
    except GuerillaBackupError as error:
        return error
    except Exception as error:  # a site's own policy may raise anything, and is nobody else's end
        log.debug("peer %s: this ended its connection", context.agent_id, exc_info=True)
        return GuerillaBackupError(f"{type(error).__name__}: {error}")
    finally:
        end_session(context)
    return None
