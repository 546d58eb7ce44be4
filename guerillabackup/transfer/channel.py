"""A byte stream to a peer, over a socket or a pair of pipes. Touches: os, select, socket, time.

Nothing blocks but `wait`, which has a time limit, and which `force` of any thread ends.
"""

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from guerillabackup.errors import ConnectionLostError
from guerillabackup.transfer.bandwidth import BandwidthLimit

SEND_BUFFER = 1 << 20
"""Bytes that a socket should hold for a peer that is busy, where the system allows."""
COPY_SIZE = 1 << 18
"""Bytes of a file at a time, to where sendfile(2) cannot send."""

_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT)

Buffer = bytes | bytearray | memoryview


class Channel:
    """Owns its descriptors, which it makes non-blocking. One thread uses it; `force` is for all others.

    Raises ConnectionLostError when the stream broke, and from all that moves bytes once it was forced.
    """

    def __init__(self, input_fd: int, output_fd: int, explain: Callable[[], str] | None = None) -> None:
        self.send_limit: BandwidthLimit | None = None
        """Bytes a second of files that are sent."""
        self._explain = explain
        self._input = input_fd
        self._output = output_fd
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        """Guards that nobody wakes a descriptor that was closed."""
        self._is_closed = False
        self._forced: str | None = None
        self._can_sendfile = True
        self._poll = select.poll()
        self._events: dict[int, int] = {}
        self._poll.register(self._wake, select.POLLIN)
        for descriptor in {input_fd, output_fd}:
            os.set_blocking(descriptor, False)

    @classmethod
    def of_socket(cls, connection: socket.socket) -> "Channel":
        """The channel of a connected socket, whose descriptor it takes over."""
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        descriptor = connection.detach()
        return cls(descriptor, descriptor)

    def explain(self) -> str:
        """What whoever is in between says of a connection that was lost; "" when nothing."""
        if self._explain is None or self._forced is not None:
            return ""
        # A tunnel whose other side has gone may still wait for the end of this one.
        self._close_output()
        return self._explain()

    def wait(self, *, for_input: bool, for_output: bool, timeout: float) -> tuple[bool, bool, float]:
        """Until bytes can be received or sent, or the time is up: whether each can, and the seconds waited.

        An end or an error of the stream counts as what can be received.
        """
        self._watch(for_input, for_output)
        began = time.monotonic()
        ready = dict(self._poll.poll(max(0.0, timeout) * 1000))
        waited = time.monotonic() - began
        self.check()
        can_receive = for_input and bool(ready.get(self._input, 0) & ~select.POLLOUT)
        can_send = for_output and bool(ready.get(self._output, 0) & ~select.POLLIN)
        return can_receive, can_send, waited

    def receive(self, buffers: Sequence[memoryview | bytearray]) -> int | None:
        """Fill the buffers in their order with what came: the bytes, 0 at the end, None when nothing came."""
        self.check()
        try:
            return os.readv(self._input, buffers)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _explain(error) from error

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send what goes of the buffers, in their order; the bytes, 0 when none go now."""
        self.check()
        try:
            return os.writev(self._output, buffers)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _explain(error) from error

    def send_file(self, descriptor: int, offset: int, count: int) -> int | None:
        """Send what goes of a file's bytes: how many, 0 when none go now, None at the file's end.

        Waits as the limit says that it has.
        """
        self.check()
        if self.send_limit is None:
            return self._send_file(descriptor, offset, count)
        sent = self._send_file(descriptor, offset, self.send_limit.portion(count))
        self.send_limit.spend(sent or 0, lambda: self._forced is not None)
        return sent

    def _send_file(self, descriptor: int, offset: int, count: int) -> int | None:
        try:
            if self._can_sendfile:
                return os.sendfile(self._output, descriptor, offset, count) or None
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise _explain(error) from error
            self._can_sendfile = False
        try:
            data = os.pread(descriptor, min(count, COPY_SIZE), offset)
        except OSError as error:
            raise ConnectionLostError(f"cannot read the data to send: {error.strerror}") from error
        return self.send([data]) if data else None

    def force(self, reason: str) -> None:
        """End it at once: whatever waits or moves bytes raises with that reason. At any time."""
        with self._lock:
            if self._is_closed:
                return
            self._forced = self._forced or reason
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close the descriptors; may be called twice."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._forced = self._forced or "the connection is closed"
        for descriptor in {self._input, self._output, self._wake}:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _close_output(self) -> None:
        with self._lock:
            if not self._is_closed and self._output != self._input:
                self._watch(for_input=False, for_output=False)
                output, self._output = self._output, self._input
                os.close(output)

    def check(self) -> None:
        """Raise ConnectionLostError when it was forced to end, or closed."""
        if self._forced is not None:
            raise ConnectionLostError(self._forced)

    def _watch(self, for_input: bool, for_output: bool) -> None:
        # One that is registered for nothing would still end every wait once the peer has closed it.
        wanted = {self._input: select.POLLIN} if for_input else {}
        if for_output:
            wanted[self._output] = wanted.get(self._output, 0) | select.POLLOUT
        if wanted == self._events:
            return
        for descriptor in self._events.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            self._poll.register(descriptor, events)
        self._events = wanted


def _explain(error: OSError) -> ConnectionLostError:
    if error.errno in _GONE:
        return ConnectionLostError(f"the connection broke: {error.strerror}")
    return ConnectionLostError(f"moving bytes over the connection failed: {error.strerror}")
