"""What is said over the transfer service's control socket. No I/O.

After the answer to a `connect` that waits come `{"progress": …}`, `{"event": …}`, and for each peer
`{"ended": NAME, …}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.observe.interface import ServiceKind

TRANSFER = ServiceKind(
    "no transfer service runs",
    "transfer-control.socket",
    "start it with: guerillabackup transfer serve (as a systemd service, say)",
)
COMMANDS = ("connect", "limit", "status")
MAX_PEERS = 1000
MAX_RATE = 1 << 50
LOW_RATE = 1000
"""Bytes a second, below which a limit can hardly be meant: peers take this side for gone."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants; peers (none: all that are dialled) and wait are a connect's, rate is a limit's."""

    command: str
    peers: tuple[str, ...] = ()
    wait: bool = False
    rate: int | None = None
    tries_all: bool = False
    """A connect's: whether also that is tried which was refused lately."""

    def describe(self) -> dict[str, Any]:
        """As a message."""
        return {
            "command": self.command,
            "peers": list(self.peers),
            "wait": self.wait,
            "rate": self.rate,
            "tries_all": self.tries_all,
        }

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Request":
        """The request of a message; raises RemoteProtocolError."""
        command = values.get("command")
        if command not in COMMANDS:
            raise RemoteProtocolError(f"command {str(command)[:40]!r} is none of {', '.join(COMMANDS)}")
        peers, rate = values.get("peers", []), values.get("rate")
        if not isinstance(peers, list) or not all(isinstance(name, str) for name in peers):
            raise RemoteProtocolError("peers is no list of texts")
        if len(peers) > MAX_PEERS:
            raise RemoteProtocolError(f"{len(peers)} peers, limit {MAX_PEERS}")
        is_rate = isinstance(rate, int) and not isinstance(rate, bool) and 1 <= rate <= MAX_RATE
        if rate is not None and not is_rate:
            raise RemoteProtocolError(f"rate {str(rate)[:40]} is no number of 1 to {MAX_RATE}, nor null")
        waits, tries_all = values.get("wait") is True, values.get("tries_all") is True
        return cls(command, tuple(dict.fromkeys(peers)), waits, rate, tries_all)
