"""What the loop of a service has to do with signals, with systemd and with clients. No I/O."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Request = TypeVar("Request", covariant=True)


@dataclass(frozen=True, slots=True)
class ServiceKind:
    """A service that is asked over a control socket."""

    absence: str
    """What is the case where none runs."""
    socket_name: str
    advice: str
    """What to do then."""


class Wish(enum.Enum):
    """What a signal asks of a service."""

    END = "end"
    """SIGTERM, or SIGINT."""
    RELOAD = "reload"
    """SIGHUP."""


class Signals(Protocol):
    """The signals of the process, as something to poll for."""

    descriptor: int

    def take(self) -> frozenset[Wish]:
        """What was asked since the last time. Never blocks."""

    def renew(self) -> None:
        """Take the signals once more: code that was executed meanwhile may have changed that."""


class Manager(Protocol):
    """Who wants to hear how the service does; nothing of it waits."""

    watchdog_interval: float | None

    def ready(self) -> None: ...
    def reloading(self) -> None: ...
    def alive(self) -> None: ...
    def stopping(self) -> None: ...
    def status(self, text: str) -> None: ...


class Clients(Protocol[Request]):
    """The clients at a control socket, each with a number of its own, and their requests. Nothing waits."""

    def poll_set(self) -> dict[int, int]:
        """Descriptors to poll for, and the events of each."""

    def handle(self, ready: Mapping[int, int]) -> Sequence[tuple[int, Request]]:
        """Do what can be done for the descriptors that are ready; what was asked, and by whom."""

    def answer(self, number: int, message: Mapping[str, Any], *, is_watching: bool = False) -> None:
        """Answer a request; a client that is watching gets events and stays as long as it likes."""

    def tell(self, number: int, message: Mapping[str, Any], *, droppable: bool) -> None:
        """Send something that nobody asked for just now."""

    def release(self, number: int) -> None:
        """There is nothing more for this client: it goes when it has everything."""

    def is_there(self, number: int) -> bool:
        """Whether a client has not gone."""

    def wake_time(self) -> float | None:
        """When a client has used up its time."""

    def expire(self) -> None:
        """End those who used up their time."""

    def close(self) -> None:
        """Send what can be sent at once, and end all."""
