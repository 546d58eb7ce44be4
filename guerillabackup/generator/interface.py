"""What a generator unit is, and what it is given to work with. No I/O.

A unit makes the elements of one or more sources. Its definition file in `units/` binds the class to
`backupGeneratorUnitClass`.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.events import EventListener, ignore_events
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.storage.interface import StorageInterface

MetainfoSigner = Callable[[BackupElementMetainfo, SourceUrl], BackupElementMetainfo]
"""Hands back the metadata with its source and the signature over both."""

STANDING = {"is_standing": True}
"""`extra` of a log record that is the same at each run until settings change; --quiet may hold it back."""

GIVEN_UP = "given up because the generator ends; after the next start it is made when it is due"
"""What to say of a source then: also of one that was only asked for, and may be due much later."""


class SourceRequest(enum.Enum):
    """What this run is to do for a source."""

    WHEN_DUE = "what is due"
    NOW = "a backup now, due or not"
    FULL = "a full backup now"
    FULL_AS_IT_IS = "a full backup now, also of what is empty although it was not at the last one"
    NOT_NOW = "nothing, also when it is due"


@dataclass(frozen=True, slots=True)
class UnitContext:
    """All that a unit gets from the generator that runs it.

    `configuration` is the main configuration with the unit's overlay; `state_directory` is this unit's own,
    made by the generator; `clock` gives UTC seconds; `sign` is None when nothing is signed; `data_signature`
    makes a detached signature over a stored file's data, None when it is not wanted. `read_anchor` says how
    the clock stands to the start of the machine, so that a unit notices when it was set back; None: unknown.
    `find_signers` hands back the fingerprints that signatures made now can have, none when none is made, and
    `why_invalid` why signatures with some of such fingerprints are not valid any more, None when they are.
    `find_encryption_key` hands back the fingerprint of the usable key that a name means, or raises
    KeyUnusableError; None: names are left to gpg. `prepare_signing` has what signs made ready, and raises
    KeyUnusableError when nothing could be signed. `get_request` says what was asked for a source;
    `foreign_sources` are those that another unit has, with its name: this one refuses them. `cancelled` says
    that the generator is ending: what is not stored yet is given up, as after a failure, and nothing more is
    begun; it never blocks, and any thread may ask it.
    """

    unit_name: str
    configuration: Mapping[str, Any]
    config_directory: str
    state_directory: str
    storage: StorageInterface
    clock: Callable[[], float]
    sign: MetainfoSigner | None = None
    data_signature: Callable[[int], bytes] | None = None
    listen: EventListener = field(default=ignore_events)
    test_mode: bool = False
    read_anchor: Callable[[], ClockAnchor | None] = field(default=lambda: None)
    find_encryption_key: Callable[[str], str] | None = None
    prepare_signing: Callable[[], None] = field(default=lambda: None)
    find_signers: Callable[[], Collection[str]] = field(default=frozenset)
    why_invalid: Callable[[Collection[str]], str | None] = field(default=lambda signers: None)
    get_request: Callable[[SourceUrl], SourceRequest] = field(default=lambda url: SourceRequest.WHEN_DUE)
    foreign_sources: Mapping[SourceUrl, str] = field(default_factory=dict)
    cancelled: Callable[[], bool] = field(default=lambda: False)


class UnitRunConditionInterface(ABC):
    """What must hold before a unit that is due is run; one thread at a time calls it."""

    @abstractmethod
    def evaluate(self) -> bool:
        """Whether it holds now. (evaluate)

        It may change from one call to the next, and may remember when it was called. What it raises is an
        error of the unit that it is evaluated for.
        """

    def describe(self) -> str:
        """Why it did not hold when it was last evaluated: a sentence without its full stop. (describe)"""
        return f"{type(self).__name__} does not hold"


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What one invocation did for one source: an element, or an error and in how many seconds to try again.

    Neither of them in test mode, where everything runs and nothing is stored. `remarks` are what is worth
    saying of an element, but no reason to look today.
    """

    source_url: SourceUrl
    element_id: ElementId | None
    error: GuerillaBackupError | None = None
    retry_after: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a unit knows of a source between two runs.

    `next_in`: in how many seconds it is due, None: with the unit. `has_failed`: since it last went well.
    `waits_for`: why something of it is left for a later run, without being an error.
    """

    next_in: float | None = None
    has_failed: bool = False
    waits_for: str | None = None


class SchedulableGeneratorUnitInterface(ABC):
    """A unit: says when it is due, and makes elements when it is invoked.

    One thread at a time calls it, not always the same one. It lives as long as the generator: what the
    context's functions hand out (keys, for example) holds for one invocation. The constructor checks the
    unit's configuration and raises ConfigError with every problem; it raises StateError when what it
    remembers cannot be used.
    """

    prepares_signing: ClassVar[bool] = False
    """Whether it calls the context's `prepare_signing` itself, before it relies on it; else it was called."""

    @abstractmethod
    def __init__(self, unit_name: str, context: UnitContext) -> None: ...

    @classmethod
    def list_sources(cls, configuration: Mapping[str, Any]) -> Sequence[SourceUrl] | None:
        """The sources that a unit of this configuration would have, refused ones too; changes nothing.

        None, as here: it cannot be said beforehand. Raises ConfigError where the unit could not be made.
        """
        return None

    @abstractmethod
    def get_next_invocation_time(self) -> float:
        """Seconds until the unit is to be invoked again, 0 for now. (getNextInvocationTime)"""

    @abstractmethod
    def invoke_unit(self) -> list[SourceOutcome]:
        """Make the elements that are due, all sources, whatever one of them does. (invokeUnit)

        What fails for one source is in its outcome; only what concerns the whole unit is raised.
        """

    def describe_sources(self) -> Mapping[SourceUrl, SourceState] | None:
        """How its sources are now, for who asks the service; asked after each run, and when none was due.

        A source that is not named is due with the unit, waits for nothing, and has not failed but in the run
        just ended. None, as here: nothing is known, and what failed has failed until it went well.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of what the unit holds; it is not used after. May be called twice."""
