"""What systemd is told about a service, and how often it wants to hear of it. Touches: os, sdnotify, time.

Without systemd nothing is said to anybody. Nothing here ever waits.
"""

import os
import time
from collections.abc import Mapping

import sdnotify

MAX_STATUS = 500


class ServiceManager:
    """The messages of one service to systemd."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # The library leaves a socket open where it is told of none.
        self._notifier = sdnotify.SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            # A manager that reads nothing must not stop the service.
            self._notifier.socket.setblocking(False)
            self._notifier.socket.set_inheritable(False)
        self._status = ""
        self.watchdog_interval = _read_watchdog(environment)
        """Seconds between two signs of life, half of what systemd waits; None: it does not wait for any."""

    def ready(self) -> None:
        """The service does its work from now on, with its configuration as it is now."""
        self._notify("READY=1")

    def reloading(self) -> None:
        """It reads its configuration anew."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Its loop goes round."""
        self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """It has begun to end."""
        self._notify("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; said again only when it has changed."""
        line = " ".join(text.split()).encode("ascii", "replace").decode("ascii")[:MAX_STATUS]
        if line != self._status:
            self._status = line
            self._notify(f"STATUS={line}")

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _notify(self, text: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(text)


def _read_watchdog(environment: Mapping[str, str]) -> float | None:
    process_id = environment.get("WATCHDOG_PID")
    if process_id is not None and process_id != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    if not text.isdigit() or int(text) == 0:
        return None
    return int(text) / 2 / 1e6
