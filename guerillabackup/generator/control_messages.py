"""What is said over the control socket: each message a JSON object on a line of its own. No I/O.

A client sends a request and gets an answer, `{"ok": true, …}` or `{"ok": false, "error": …}`. After that of a
trigger that waits come `{"event": …}`, `{"dropped": NUMBER}` where the client was too slow for some of them,
and `{"ended": TICKET, "outcome": …}` for each run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import GuerillaBackupError, RemoteProtocolError

MAX_REQUEST = 64 << 10
"""Bytes of a request."""
MAX_NAMES = 1000
"""Units or sources in a request."""
COMMANDS = ("list", "status", "trigger")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants; units, sources, full and wait are those of a trigger."""

    command: str
    units: tuple[str, ...] = ()
    sources: tuple[SourceUrl, ...] = ()
    full: bool = False
    wait: bool = False

    def serialize(self) -> bytes:
        """As a line."""
        return encode(
            {
                "command": self.command,
                "units": list(self.units),
                "sources": [str(source) for source in self.sources],
                "full": self.full,
                "wait": self.wait,
            }
        )

    @classmethod
    def parse(cls, line: bytes) -> "Request":
        """Raises RemoteProtocolError."""
        values = decode(line)
        command = values.get("command")
        if command not in COMMANDS:
            raise RemoteProtocolError(f"command {str(command)[:40]!r} is none of {', '.join(COMMANDS)}")
        try:
            sources = tuple(SourceUrl(text) for text in _read_names(values, "sources"))
        except GuerillaBackupError as error:
            raise RemoteProtocolError(str(error)) from error
        units = _read_names(values, "units")
        return cls(command, units, sources, values.get("full") is True, values.get("wait") is True)


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


def _read_names(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = values.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RemoteProtocolError(f"{key} is no list of texts")
    if len(names) > MAX_NAMES:
        raise RemoteProtocolError(f"{len(names)} {key}, limit {MAX_NAMES}")
    return tuple(dict.fromkeys(names))
