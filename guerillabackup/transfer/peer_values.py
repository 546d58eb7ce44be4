"""What is known of a peer that is connected, and what was moved with it. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemotePolicyInfo:
    """What the peer's getPolicyInfo said: its policy's name, and what an announcing peer adds."""

    policy_name: str | None
    """None when it sends nothing, and in what a request announced."""
    is_announcing: bool = False
    """Whether the peer is ours, by the object it answered with (or the announcement it made)."""
    features: frozenset[str] = frozenset()


@dataclass(slots=True)
class TransferCounters:
    """What one connection has moved so far; written by its thread, read by any."""

    elements_received: int = 0
    bytes_received: int = 0
    elements_sent: int = 0
    bytes_sent: int = 0
    elements_refused: int = 0
    elements_claimed: int = 0
    current: str = ""
    """The element that moves just now, "" when none does."""
    elements_left_alone: int = 0
    """Those that were refused before, and not asked for again."""
    refused_anew: int = 0
    """Those of the refused that are left alone from now on."""
    last_received: float | None = None
    """When the last element was, in UTC seconds; in `last_sent` when the peer acknowledged one last."""
    last_sent: float | None = None

    def note_received(self, now: float) -> None:
        """One more element is here."""
        self.elements_received += 1
        self.last_received = now
