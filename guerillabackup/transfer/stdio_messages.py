"""What `transfer stdio` and the service say to each other: one line of JSON each. No I/O."""

import json
from dataclasses import dataclass

from guerillabackup.errors import RemoteProtocolError

MAX_LINE = 4096
MAX_NAME = 200
MAX_ERROR = 1000


@dataclass(frozen=True, slots=True)
class StdioRequest:
    """Take the descriptors that come with this as the connection of that agent."""

    agent_id: str

    def encode(self) -> bytes:
        return _encode({"agent": self.agent_id})


@dataclass(frozen=True, slots=True)
class StdioEnd:
    """The connection is over; `error` is what it ended by, None when both sides had agreed to."""

    error: str | None

    def encode(self) -> bytes:
        return _encode({"error": None if self.error is None else self.error[:MAX_ERROR]})


def parse_request(line: bytes) -> StdioRequest:
    """The request of a whole line; raises RemoteProtocolError."""
    agent_id = _parse(line).get("agent")
    if not isinstance(agent_id, str) or not 0 < len(agent_id) <= MAX_NAME or not agent_id.isprintable():
        raise RemoteProtocolError(f"a line without the name of an agent of at most {MAX_NAME} characters")
    return StdioRequest(agent_id)


def parse_end(line: bytes) -> StdioEnd:
    """What a whole line of the service says; raises RemoteProtocolError."""
    values = _parse(line)
    error = values.get("error")
    if "error" not in values or not (error is None or isinstance(error, str)):
        raise RemoteProtocolError("a line of the service that does not say how the connection ended")
    return StdioEnd(error)


def _encode(values: dict[str, str | None]) -> bytes:
    return json.dumps(values).encode("ascii") + b"\n"


def _parse(line: bytes) -> dict[str, object]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("a line that is no JSON") from error
    if not isinstance(values, dict):
        raise RemoteProtocolError("a line that is no JSON object")
    return values
