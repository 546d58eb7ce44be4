"""What happened, as values: the parts report them to whoever listens, and never wait for an answer. No I/O.

A listener is a plain function; it must not raise and must not block, because bulk work calls it.
"""

from collections.abc import Callable
from typing import NamedTuple

from guerillabackup.element import ElementId, SourceUrl


class SourceStarted(NamedTuple):
    """A unit begins to make an element of a source."""

    unit_name: str
    source_url: SourceUrl
    backup_type: str


class StageProgress(NamedTuple):
    """How far one stage of a running pipeline is; bytes since its start, -1 where not known."""

    stage: str
    bytes_read: int
    bytes_written: int


class PipelineProgress(NamedTuple):
    """How far a pipeline is, seconds after its start; `expected` input bytes, where they are known."""

    source_url: SourceUrl
    seconds: float
    stages: tuple[StageProgress, ...]
    expected: int | None


class ElementStored(NamedTuple):
    """An element is durable in the storage; `content_size` bytes went in, `data_size` are stored."""

    unit_name: str
    element_id: ElementId
    content_size: int
    data_size: int
    seconds: float


class SourceWarning(NamedTuple):
    """Something about a source that an administrator should look at; its backup went on."""

    unit_name: str
    source_url: SourceUrl
    message: str


class SourceFailed(NamedTuple):
    """A source has no new element this time; tried again after `retry_after` seconds."""

    unit_name: str
    source_url: SourceUrl
    message: str
    retry_after: int


class UnitFailed(NamedTuple):
    """A whole unit could not be loaded or run; the others went on."""

    unit_name: str
    message: str


class UnitSkipped(NamedTuple):
    """A unit was due, and not run, because its run condition does not hold now."""

    unit_name: str
    reason: str


class ElementReceived(NamedTuple):
    """An element came from a peer and is durable; `seconds` since its data was asked for."""

    agent_id: str
    element_id: ElementId
    size: int
    seconds: float


class ElementRefused(NamedTuple):
    """An element of a peer was not taken, and not acknowledged; `kept_in` is its evidence, "" without any."""

    agent_id: str
    source_url: SourceUrl
    reason: str
    kept_in: str


class SourceDoubt(NamedTuple):
    """Something about what a peer sends of a source that an administrator should look at; it was taken."""

    agent_id: str
    source_url: SourceUrl
    message: str


class VerifyProgress(NamedTuple):
    """How much of an element's data was read and hashed."""

    element_id: ElementId
    bytes_read: int
    size: int


class RestoreProgress(NamedTuple):
    """How much of an element's data was unpacked."""

    element_id: ElementId
    bytes_read: int
    size: int


class ElementNotOffered(NamedTuple):
    """An element is left out of what a peer is offered, and stays where it is; told once for both."""

    agent_id: str
    element_id: ElementId
    reason: str


class ElementClaimed(NamedTuple):
    """A peer says that it holds an element, without evidence: the element stays until that is confirmed."""

    agent_id: str
    element_id: ElementId


class TransferProgress(NamedTuple):
    """How far a connection with a peer is; `current` is the element that moves just now, or ""."""

    agent_id: str
    elements_received: int
    bytes_received: int
    elements_sent: int
    bytes_sent: int
    current: str


class TransferEnded(NamedTuple):
    """A connection with a peer is over, by `error` if both sides had not agreed to that."""

    agent_id: str
    error: str | None


Event = (
    SourceStarted
    | PipelineProgress
    | ElementStored
    | SourceWarning
    | SourceFailed
    | UnitFailed
    | UnitSkipped
    | ElementReceived
    | ElementRefused
    | SourceDoubt
    | VerifyProgress
    | RestoreProgress
    | ElementNotOffered
    | ElementClaimed
    | TransferProgress
    | TransferEnded
)
"""Everything that is reported."""
EventListener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The listener of those who do not listen."""
