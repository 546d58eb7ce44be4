"""What happened, as values: the parts report them to whoever listens, and never wait for an answer. No I/O.

A listener is a plain function; it must not raise and must not block, because bulk work calls it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from guerillabackup.element import ElementId, SourceUrl


@dataclass(frozen=True, slots=True)
class Event:
    """The common class of everything that is reported."""


@dataclass(frozen=True, slots=True)
class SourceStarted(Event):
    """A unit begins to make an element of a source."""

    unit_name: str
    source_url: SourceUrl
    backup_type: str


@dataclass(frozen=True, slots=True)
class StageProgress(Event):
    """How far one stage of a running pipeline is; bytes since its start, -1 where not known."""

    stage: str
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class PipelineProgress(Event):
    """How far a pipeline is, seconds after its start; `expected` input bytes, where they are known."""

    source_url: SourceUrl
    seconds: float
    stages: tuple[StageProgress, ...]
    expected: int | None


@dataclass(frozen=True, slots=True)
class ElementStored(Event):
    """An element is durable in the storage; `content_size` bytes went in, `data_size` are stored."""

    unit_name: str
    element_id: ElementId
    content_size: int
    data_size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceWarning(Event):
    """Something about a source that an administrator should look at; its backup went on."""

    unit_name: str
    source_url: SourceUrl
    message: str


@dataclass(frozen=True, slots=True)
class SourceFailed(Event):
    """A source has no new element this time; tried again after `retry_after` seconds."""

    unit_name: str
    source_url: SourceUrl
    message: str
    retry_after: int


@dataclass(frozen=True, slots=True)
class UnitFailed(Event):
    """A whole unit could not be loaded or run; the others went on."""

    unit_name: str
    message: str


@dataclass(frozen=True, slots=True)
class UnitSkipped(Event):
    """A unit was due, and not run, because its run condition does not hold now."""

    unit_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ElementReceived(Event):
    """An element came from a peer and is durable; `seconds` since its data was asked for."""

    agent_id: str
    element_id: ElementId
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ElementRefused(Event):
    """An element of a peer was not taken, and not acknowledged; `kept_in` is its evidence, "" without any."""

    agent_id: str
    source_url: SourceUrl
    reason: str
    kept_in: str


@dataclass(frozen=True, slots=True)
class SourceDoubt(Event):
    """Something about what a peer sends of a source that an administrator should look at; it was taken."""

    agent_id: str
    source_url: SourceUrl
    message: str


@dataclass(frozen=True, slots=True)
class VerifyProgress(Event):
    """How much of an element's data was read and hashed."""

    element_id: ElementId
    bytes_read: int
    size: int


@dataclass(frozen=True, slots=True)
class RestoreProgress(Event):
    """How much of an element's data was unpacked."""

    element_id: ElementId
    bytes_read: int
    size: int


@dataclass(frozen=True, slots=True)
class ElementNotOffered(Event):
    """An element is left out of what a peer is offered, and stays where it is; told once for both."""

    agent_id: str
    element_id: ElementId
    reason: str


@dataclass(frozen=True, slots=True)
class ElementClaimed(Event):
    """A peer says that it holds an element, without evidence: the element stays until that is confirmed."""

    agent_id: str
    element_id: ElementId


@dataclass(frozen=True, slots=True)
class TransferProgress(Event):
    """How far a connection with a peer is; `current` is the element that moves just now, or ""."""

    agent_id: str
    elements_received: int
    bytes_received: int
    elements_sent: int
    bytes_sent: int
    current: str


@dataclass(frozen=True, slots=True)
class TransferEnded(Event):
    """A connection with a peer is over, by `error` if both sides had not agreed to that."""

    agent_id: str
    error: str | None


EventListener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The listener of those who do not listen."""
