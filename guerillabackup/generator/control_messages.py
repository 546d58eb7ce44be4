"""What is said over the generator's control socket. No I/O.

After the answer to a trigger that waits come `{"event": …}`, `{"dropped": NUMBER}` where the client was too
slow for some of them, and `{"ended": TICKET, "outcome": …}` for each run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.errors import GuerillaBackupError, RemoteProtocolError
from guerillabackup.observe.interface import ServiceKind

MAX_NAMES = 1000
"""Units or sources in a request."""
GENERATOR = ServiceKind(
    "no generator runs as a service",
    "generator.socket",
    "start it with: guerillabackup generator run (as a systemd service, say), or make what is due now with: "
    "guerillabackup generator run --once",
)
COMMANDS = ("list", "status", "trigger", "reload")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants; units and the rest are those of a trigger."""

    command: str
    units: tuple[str, ...] = ()
    sources: tuple[SourceUrl, ...] = ()
    full: bool = False
    wait: bool = False
    accept_empty: bool = False

    def describe(self) -> dict[str, Any]:
        """As a message."""
        return {
            "command": self.command,
            "units": list(self.units),
            "sources": [str(source) for source in self.sources],
            "full": self.full,
            "wait": self.wait,
            "accept_empty": self.accept_empty,
        }

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Request":
        """The request of a message; raises RemoteProtocolError."""
        command = values.get("command")
        if command not in COMMANDS:
            raise RemoteProtocolError(f"command {str(command)[:40]!r} is none of {', '.join(COMMANDS)}")
        flags = [values.get(key) is True for key in ("full", "wait", "accept_empty")]
        try:
            sources = tuple(SourceUrl(text) for text in _read_names(values, "sources"))
        except GuerillaBackupError as error:
            raise RemoteProtocolError(str(error)) from error
        units = _read_names(values, "units")
        if flags[-1] and not sources:
            raise RemoteProtocolError("accept_empty goes with sources that are named")
        return cls(command, units, sources, *flags)


def _read_names(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = values.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RemoteProtocolError(f"{key} is no list of texts")
    if len(names) > MAX_NAMES:
        raise RemoteProtocolError(f"{len(names)} {key}, limit {MAX_NAMES}")
    return tuple(dict.fromkeys(names))
