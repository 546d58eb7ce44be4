"""The form of what is said over a control socket: each message a JSON object on a line of its own. No I/O.

A client sends a request and gets an answer, `{"ok": true, …}` or `{"ok": false, "error": …}`; what may follow
is the service's own affair, and `{"dropped": NUMBER}` where the client was too slow for some of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from guerillabackup.errors import RemoteProtocolError

MAX_REQUEST = 64 << 10
"""Bytes of a request."""


class LineReader:
    """Cuts received bytes into lines, in whatever pieces they come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole by now, without their ends; raises RemoteProtocolError for a long one."""
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        if any(len(line) > self._limit for line in (*lines, rest)):
            raise RemoteProtocolError(f"a line is longer than {self._limit} bytes")
        return lines


class LineQueue:
    """What waits to be sent to one client: bounded, whatever that one reads.

    `put` hands back False when it is full, which is the client's end; what may be dropped is dropped before,
    and counted, and told of when there is room again.
    """

    def __init__(self, limit: int, droppable_limit: int) -> None:
        self._limit = limit
        self._droppable_limit = droppable_limit
        self._buffer = bytearray()
        self._dropped = 0

    def put(self, message: Mapping[str, Any], *, droppable: bool = False) -> bool:
        """Add a message."""
        if droppable and len(self._buffer) > self._droppable_limit:
            self._dropped += 1
            return True
        if self._dropped:
            self._buffer += encode({"dropped": self._dropped})
            self._dropped = 0
        self._buffer += encode(message)
        return len(self._buffer) <= self._limit

    def peek(self) -> bytes:
        """What is to be sent next; empty when there is nothing."""
        return bytes(self._buffer[: 64 << 10])

    def sent(self, count: int) -> None:
        """So many bytes of it were."""
        del self._buffer[:count]

    def __len__(self) -> int:
        return len(self._buffer)


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message, sort_keys=True).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of a line; raises RemoteProtocolError."""
    try:
        values = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not a line of JSON: {line[:40]!r}") from error
    if not isinstance(values, dict):
        raise RemoteProtocolError(f"not a JSON object: {line[:40]!r}")
    return values
