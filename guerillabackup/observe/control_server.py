"""The clients at the control socket: requests come in, answers and events go out. Touches: select, socket.

Nothing here waits for a client, and none of them takes more than its share of memory or time: one that is too
slow, too long or too many is ended, and no other notices.
"""

import logging
import select
import socket
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.observe.control_lines import MAX_REQUEST, LineQueue, LineReader, decode
from guerillabackup.observe.control_socket import ServiceSocket

MAX_CLIENTS = 64
"""Those beyond wait at the door until one goes."""
MAX_REQUESTS = 100
"""Requests of one client."""
MAX_QUEUED = 16 << 20
"""Bytes that wait for a client before it is ended."""
MAX_QUEUED_EVENTS = 256 << 10
"""Bytes that wait for a client before events are dropped."""
REQUEST_SECONDS = 10.0
"""For a client to send a request, or to take something of what waits for it."""

ACCEPT_PAUSE_SECONDS = 1.0
"""After a failure to let somebody in: they go on waiting at the door, and the loop must not spin there."""

log = logging.getLogger(__name__)

Request = TypeVar("Request")


class _Client:
    def __init__(self, number: int, connection: socket.socket, now: float) -> None:
        self.number = number
        self.connection = connection
        self.reader = LineReader(MAX_REQUEST)
        self.queue = LineQueue(MAX_QUEUED, MAX_QUEUED_EVENTS)
        self.requests = 0
        self.moved_at = now
        self.is_watching = False
        self.is_leaving = False

    @property
    def events(self) -> int:
        reading = 0 if self.is_leaving else select.POLLIN
        return reading | (select.POLLOUT if len(self.queue) else 0)

    @property
    def is_waited_for(self) -> bool:
        """Whether it is the client's turn, and has a time limit."""
        return len(self.queue) > 0 or not self.is_watching


class ControlServer(Generic[Request]):
    """All clients of a service. `clock` is one that nobody sets.

    `parse` makes a request of a message, or raises RemoteProtocolError.
    """

    def __init__(
        self,
        service_socket: ServiceSocket,
        clock: Callable[[], float],
        parse: Callable[[Mapping[str, Any]], Request],
    ) -> None:
        self._parse = parse
        self._socket = service_socket
        self._clock = clock
        self._clients: dict[int, _Client] = {}
        self._count = 0
        self._accept_at = 0.0

    def poll_set(self) -> dict[int, int]:
        """Descriptors to poll for, and the events of each."""
        has_room = len(self._clients) < MAX_CLIENTS and self._clock() >= self._accept_at
        listening = {self._socket.listener.fileno(): select.POLLIN} if has_room else {}
        return {**listening, **{client.connection.fileno(): client.events for client in self._all()}}

    def handle(self, ready: Mapping[int, int]) -> list[tuple[int, Request]]:
        """Do what can be done for the descriptors that are ready; what was asked, and by whom."""
        requests: list[tuple[int, Request]] = []
        for client in self._all():
            events = ready.get(client.connection.fileno(), 0)
            if events & select.POLLOUT:
                self._send(client)
            if client.number in self._clients and events & ~select.POLLOUT:
                requests += [(client.number, request) for request in self._receive(client)]
        if self._socket.listener.fileno() in ready:
            self._accept()
        return requests

    def answer(self, number: int, message: Mapping[str, Any], *, is_watching: bool = False) -> None:
        """Answer a request; a client that is watching gets events and stays as long as it likes."""
        client = self._clients.get(number)
        if client is not None:
            client.is_watching = is_watching
            self._put(client, message, droppable=False)

    def tell(self, number: int, message: Mapping[str, Any], *, droppable: bool) -> None:
        """Send something that nobody asked for just now."""
        client = self._clients.get(number)
        if client is not None:
            self._put(client, message, droppable=droppable)

    def release(self, number: int) -> None:
        """There is nothing more for this client: it goes when it has everything."""
        client = self._clients.get(number)
        if client is not None:
            client.is_watching = False
            client.is_leaving = True
            if not len(client.queue):
                self._end(client)

    def is_there(self, number: int) -> bool:
        """Whether a client has not gone."""
        return number in self._clients

    def wake_time(self) -> float | None:
        """When a client has used up its time."""
        times = [
            client.moved_at + REQUEST_SECONDS for client in self._clients.values() if client.is_waited_for
        ]
        if self._clock() < self._accept_at:
            times.append(self._accept_at)
        return min(times, default=None)

    def expire(self) -> None:
        """End those who used up their time."""
        now = self._clock()
        for client in self._all():
            if client.is_waited_for and now - client.moved_at >= REQUEST_SECONDS:
                self._end(client)

    def close(self) -> None:
        """Send what can be sent at once, and end all."""
        for client in self._all():
            self._send(client)
            self._end(client)
        self._socket.close()

    def _accept(self) -> None:
        while len(self._clients) < MAX_CLIENTS:
            try:
                connection = self._socket.accept()
            except OSError as error:
                log.warning("no client can be let in for %g s: %s", ACCEPT_PAUSE_SECONDS, error.strerror)
                self._accept_at = self._clock() + ACCEPT_PAUSE_SECONDS
                return
            if connection is None:
                return
            self._count += 1
            self._clients[self._count] = _Client(self._count, connection, self._clock())

    def _receive(self, client: _Client) -> list[Request]:
        try:
            data = client.connection.recv(MAX_REQUEST)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._end(client)
            return []
        try:
            requests = [self._parse(decode(line)) for line in client.reader.feed(data)]
        except RemoteProtocolError as error:
            client.is_leaving = True
            self._put(client, {"ok": False, "error": str(error), "kind": "RemoteProtocolError"}, False)
            return []
        if requests:
            client.moved_at = self._clock()
            del requests[MAX_REQUESTS - client.requests :]
            client.requests += len(requests)
            client.is_leaving = client.requests >= MAX_REQUESTS
        return requests

    def _put(self, client: _Client, message: Mapping[str, Any], droppable: bool) -> None:
        had_to_send = len(client.queue) > 0
        if not had_to_send:
            client.moved_at = self._clock()
        if not client.queue.put(message, droppable=droppable):
            log.warning("a client of the control socket took nothing of %d bytes and was ended", MAX_QUEUED)
            self._end(client)
        elif not had_to_send:
            self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            while data := client.queue.peek():
                count = client.connection.send(data, socket.MSG_NOSIGNAL)
                client.queue.sent(count)
                client.moved_at = self._clock()
        except BlockingIOError:
            return
        except OSError:
            self._end(client)
            return
        if client.is_leaving and not client.is_watching:
            self._end(client)

    def _all(self) -> list[_Client]:
        return list(self._clients.values())

    def _end(self, client: _Client) -> None:
        self._clients.pop(client.number, None)
        client.connection.close()
