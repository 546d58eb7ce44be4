"""How slow a peer may be before its connection ends: what is waited for has its own limit each. No I/O.

Only time in which this side does nothing but wait counts. So a disk that is slow here is never held against
the peer, and a byte a second does not keep a connection for ever.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from guerillabackup.errors import ConnectionLostError


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Seconds of waiting until a peer is given up."""

    silence_seconds: float = 600.0
    """In which not one byte moves in either direction. The peer may sync, or list its storage, so long."""
    first_seconds: float = 600.0
    """Until the peer says anything at all. One that has many connections may let this one wait."""
    message_seconds: float = 120.0
    """For one message, whatever its size, from its first byte to its last."""
    progress_seconds: float = 300.0
    """For each `progress_bytes` of the data of an element."""
    progress_bytes: int = 1 << 16
    purpose_seconds: float = 600.0
    """In which nothing is asked for but who this is, in all."""
    purpose_requests: int = 1000
    """Times in a row that the peer may ask who this is."""


class Awaited(enum.Enum):
    """What a side can be waiting for; the value says in a message what the peer did not do."""

    ANYTHING = "said and took nothing"
    PURPOSE = "asked for nothing but who this is"
    MESSAGE_IN = "did not complete a message"
    MESSAGE_OUT = "did not take a message"
    STREAM_IN = "sent too little of an element's data"
    STREAM_OUT = "took too little of an element's data"


_INCOMING = (Awaited.MESSAGE_IN, Awaited.STREAM_IN)
_STREAMS = (Awaited.STREAM_IN, Awaited.STREAM_OUT)


class PaceWatch:
    """Adds up the waiting of one connection, and says when it is enough."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = {
            Awaited.ANYTHING: limits.silence_seconds,
            Awaited.PURPOSE: limits.purpose_seconds,
            Awaited.MESSAGE_IN: limits.message_seconds,
            Awaited.MESSAGE_OUT: limits.message_seconds,
            Awaited.STREAM_IN: limits.progress_seconds,
            Awaited.STREAM_OUT: limits.progress_seconds,
        }
        self._progress_bytes = limits.progress_bytes
        self._waited: dict[Awaited, float] = {Awaited.ANYTHING: 0.0, Awaited.PURPOSE: 0.0}
        self._purpose_requests = limits.purpose_requests
        self._chatter = 0
        self._first_seconds = min(limits.first_seconds, limits.silence_seconds)
        self._was_heard = False
        self._moved = dict.fromkeys(_STREAMS, 0)

    def set_awaited(self, awaited: Mapping[Awaited, bool]) -> None:
        """Which of them are being waited for from now on; one that goes on keeps what was waited for it."""
        for what, is_awaited in awaited.items():
            if is_awaited:
                self._waited.setdefault(what, 0.0)
            elif self._waited.pop(what, None) is not None and what in self._moved:
                self._moved[what] = 0

    def moved(self, what: Awaited, count: int) -> None:
        """So many bytes of it came or went."""
        if count:
            self._waited[Awaited.ANYTHING] = 0.0
            if what in self._moved:
                self.has_purpose()
            self._was_heard = self._was_heard or what in _INCOMING
        if what in self._moved and what in self._waited:
            self._moved[what] += count
            if self._moved[what] >= self._progress_bytes:
                self._moved[what] = 0
                self._waited[what] = 0.0

    def has_purpose(self) -> None:
        """Something was said that the connection is there for."""
        self._waited[Awaited.PURPOSE] = 0.0
        self._chatter = 0

    def chatted(self) -> None:
        """The peer asked only who this is; raises ConnectionLostError when that was too often in a row."""
        self._chatter += 1
        if self._chatter > self._purpose_requests:
            raise ConnectionLostError(f"the peer {Awaited.PURPOSE.value} {self._purpose_requests} times")

    def timeout(self) -> float:
        """Seconds that may be waited now."""
        return max(0.0, min(self._limit(what) - waited for what, waited in self._waited.items()))

    def waited(self, seconds: float) -> None:
        """So long nothing was ready; raises ConnectionLostError when that was too long for something."""
        for what in self._waited:
            self._waited[what] += seconds

    def check(self) -> None:
        """Raise ConnectionLostError when something was waited for too long."""
        for what, waited in self._waited.items():
            limit = self._limit(what)
            if waited >= limit and not self._was_heard and what is Awaited.ANYTHING:
                raise ConnectionLostError(
                    f"the peer said nothing for {limit:g} s: is it a transfer service? "
                    "was the forced command forgotten?"
                )
            if waited >= limit:
                detail = f", {self._progress_bytes} bytes were due" if what in self._moved else ""
                raise ConnectionLostError(f"the peer {what.value} for {limit:g} s{detail}")

    def _limit(self, what: Awaited) -> float:
        is_first = what is Awaited.ANYTHING and not self._was_heard
        return self._first_seconds if is_first else self._limits[what]
