"""One unit for as long as the generator lives: made when first needed, asked, and invoked when it is due.

It joins the unit's code with the storage and the keys of each run.
"""

import logging
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import EventListener, UnitFailed, UnitSkipped
from guerillabackup.generator.conditions import find_obstacle
from guerillabackup.generator.handed_back import (
    bounded,
    check_outcomes,
    check_seconds,
    check_states,
    describe_error,
)
from guerillabackup.generator.interface import (
    MetainfoSigner,
    SchedulableGeneratorUnitInterface,
    SourceRequest,
    SourceState,
    UnitContext,
)
from guerillabackup.generator.keys import KeyringAhead
from guerillabackup.generator.outcome import UnitOutcome
from guerillabackup.generator.run_storage import RunStorage
from guerillabackup.generator.selection import LoadedUnit
from guerillabackup.generator.state import StateBusyError, seconds_since_start
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.signature_trust import TRUST_KEY
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.unexpected import explain

LONG_RUN_SECONDS = 86400.0
"""How long another run may be at work with a unit before it is taken for a hung one."""
CONDITION_SECONDS = 60.0
"""Seconds that one unit waits for a condition which is being evaluated for another one."""

_NUMBERS = re.compile(r"\d+(?:[.:]\d+)*")

GetRequest = Callable[[SourceUrl], SourceRequest]
ForeignSources = Mapping[SourceUrl, str]

log = logging.getLogger(__name__)


class ConditionLocks:
    """A lock for each condition: units that share one evaluate it one after the other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards the dict
        self._locks: dict[int, tuple[Any, threading.Lock]] = {}

    def get(self, condition: Any) -> threading.Lock:
        with self._guard:
            # With the condition itself, so that its number stays its own.
            return self._locks.setdefault(id(condition), (condition, threading.Lock()))[1]


def is_any_interrupt(error: BaseException) -> bool:
    """For `Surroundings.is_interrupted` where nobody knows of signals: each KeyboardInterrupt is one."""
    return isinstance(error, KeyboardInterrupt)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all units of a generator share.

    `open_storage` and `open_keys` are called for each run, the latter only when a key is needed, and are left
    when it has ended. `cancelled` says that the generator is ending, and `is_interrupted` of what was
    raised that it came of a signal, and is no unit's own.
    """

    config_directory: str
    open_storage: Callable[[], AbstractContextManager[StorageInterface]]
    open_keys: Callable[[], AbstractContextManager[KeyringAhead]]
    listen: EventListener
    clock: Callable[[], float]
    read_anchor: Callable[[], ClockAnchor | None]
    cancelled: Callable[[], bool] = field(default=lambda: False)
    is_interrupted: Callable[[BaseException], bool] = is_any_interrupt
    condition_locks: ConditionLocks = field(default_factory=ConditionLocks)


class UnitRunner:
    """A unit and what it needs. Used by one thread at a time, not always the same one.

    `predecessor` is the same unit as it was before its files were read anew: it is closed before this one is
    made, because both want the same state.
    """

    def __init__(
        self,
        unit: LoadedUnit,
        foreign: ForeignSources,
        surroundings: Surroundings,
        predecessor: "UnitRunner | None" = None,
    ) -> None:
        self.unit = unit
        self._foreign = foreign
        self._around = surroundings
        if predecessor is not None and not predecessor.is_used:
            # It has nothing to let go of but what it was itself to succeed.
            predecessor = predecessor._predecessor
        self._predecessor: UnitRunner | None = predecessor
        self.is_used: bool = False
        """Whether it was run; set by whoever starts the thread for it."""
        self._instance: SchedulableGeneratorUnitInterface | None = None
        self._storage = RunStorage()
        self._get_request: GetRequest = _when_due
        self._obstacle_kind: str | None = None
        self._state: tuple[int, int] | None = None
        self._stack = ExitStack()
        self._keys: KeyringAhead | None = None
        self._keys_lock = threading.Lock()  # guards the opening: elements are signed by several threads

    @property
    def has_predecessor(self) -> bool:
        """Whether there is one to be closed yet."""
        return self._predecessor is not None

    def look(
        self,
        get_request: GetRequest,
        *,
        is_asked: bool,
        heeds_condition: bool,
        leaves_to_others: bool = False,
    ) -> UnitOutcome:
        """Invoke the unit if it is due or `is_asked`; errors are in the outcome.

        With `leaves_to_others` it is no error that another run works with it, unless that one seems to hang.
        Whatever its own code raises is one; an interrupt by a signal is raised as KeyboardInterrupt.
        """
        if self.unit.error is not None:
            return self._failed(self.unit.error)
        self._get_request = get_request
        try:
            with ExitStack() as stack:
                self._stack = stack
                self._storage.current = stack.enter_context(self._around.open_storage())
                return self._look(is_asked, heeds_condition)
        except StateBusyError as error:
            outcome = self._left_to_another(error) if leaves_to_others else self._failed(error)
        except BaseException as error:  # a unit's own code may raise anything, and the others go on
            self._let_through(error)
            log.debug("unit %s", self.unit.name, exc_info=True)
            outcome = self._failed(_as_ours(error))
        finally:
            self._get_request = _when_due
            self._storage.current = self._keys = None
        # After such an error nobody knows what state it is in.
        self.close()
        return outcome

    def close(self) -> None:
        """Let go of the unit, and of what it was before. May be called twice; raises interrupts only."""
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            predecessor.close()
        instance, self._instance = self._instance, None
        if instance is not None:
            try:
                instance.close()
            except BaseException as error:  # a unit's own code may raise anything
                self._let_through(error)
                self._warn("could not be closed", error)

    def _look(self, is_asked: bool, heeds_condition: bool) -> UnitOutcome:
        name = self.unit.name
        instance = self._get_instance()
        if not is_asked and (seconds := _ask_time(instance)) > 0:
            return UnitOutcome(name, next_in=seconds, states=self._describe_sources(instance))
        condition = self.unit.configuration.get("DefaultUnitRunCondition") if heeds_condition else None
        obstacle = None if condition is None else self._find_obstacle(condition)
        if obstacle is not None:
            self._tell_obstacle(obstacle)
            self._around.listen(UnitSkipped(name, obstacle))
            return UnitOutcome(name, skipped=obstacle)
        if condition is not None:
            self._tell_obstacle(None)
        if not instance.prepares_signing:
            self._prepare_signing()
        sources = check_outcomes(instance.invoke_unit())
        self._get_request = _when_due
        try:
            seconds = _ask_time(instance)
        except BaseException as error:  # what it made is worth more than what it says of its time
            self._let_through(error)
            self._warn("does not say when it is due next", error)
            seconds = 0.0
        states = self._describe_sources(instance)
        return UnitOutcome(name, sources, was_invoked=True, next_in=seconds, states=states)

    def _describe_sources(
        self, instance: SchedulableGeneratorUnitInterface
    ) -> dict[SourceUrl, SourceState] | None:
        try:
            return check_states(instance.describe_sources())
        except BaseException as error:  # what it made is worth more than what it says of it
            self._let_through(error)
            self._warn("does not say how its sources are", error)
            return None

    def _get_instance(self) -> SchedulableGeneratorUnitInterface:
        if self._instance is not None and self._state not in (None, self._find_state()):
            # It would write to where nobody looks any more, and the next start would not know of it.
            log.warning(
                "unit %s: its state directory was removed or exchanged: it starts anew", self.unit.name
            )
            self.close()
        if self._instance is None:
            predecessor, self._predecessor = self._predecessor, None
            if predecessor is not None:
                predecessor.close()
            if self.unit.unit_class is None:
                raise ConfigError("it was not loaded")
            self._instance = self.unit.unit_class(self.unit.name, self._make_context())
        self._state = self._find_state()
        return self._instance

    def _find_state(self) -> tuple[int, int] | None:
        """Which directory the unit's state is in. It holds that open: no other one gets its number."""
        try:
            status = os.stat(self._state_directory)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @property
    def _state_directory(self) -> str:
        base: str = self.unit.configuration["GeneralPersistencyBaseDir"]
        return os.path.join(base, "generators", self.unit.name)

    def _find_obstacle(self, condition: Any) -> str | None:
        lock = self._around.condition_locks.get(condition)
        if not lock.acquire(timeout=CONDITION_SECONDS):
            return f"its condition has been evaluated for another unit for {CONDITION_SECONDS:.0f} s"
        try:
            return find_obstacle(condition)
        finally:
            lock.release()

    def _tell_obstacle(self, obstacle: str | None) -> None:
        """Log what keeps the unit from being run, None: nothing, when more of that changes than numbers."""
        kind = None if obstacle is None else _NUMBERS.sub("0", obstacle)
        if kind == self._obstacle_kind:
            return
        self._obstacle_kind = kind
        if obstacle is not None:
            log.info("unit %s is not run until its condition holds: %s", self.unit.name, obstacle)
        else:
            log.info("unit %s: its condition holds now", self.unit.name)

    def _warn(self, what: str, error: BaseException) -> None:
        """What its code raised, as one line; the way there is for who debugs."""
        log.debug("unit %s", self.unit.name, exc_info=True)
        log.warning("unit %s %s: %s", self.unit.name, what, bounded(_as_ours(error)))

    def _let_through(self, error: BaseException) -> None:
        if self._around.is_interrupted(error):
            raise KeyboardInterrupt from error

    def _left_to_another(self, error: StateBusyError) -> UnitOutcome:
        seconds = None if error.holder is None else seconds_since_start(error.holder)
        if seconds is None:
            return self._failed(error)
        text = f"another run (process {error.holder}, for {seconds / 60:.0f} min) works with it"
        if seconds >= LONG_RUN_SECONDS:
            return self._failed(GuerillaBackupError(f"{text}: is it hung"))
        self._around.listen(UnitSkipped(self.unit.name, text))
        return UnitOutcome(self.unit.name, skipped=text)

    def _failed(self, error: GuerillaBackupError) -> UnitOutcome:
        error = bounded(error)
        log.error("unit %s: %s", self.unit.name, error)
        self._around.listen(UnitFailed(self.unit.name, str(error)))
        return UnitOutcome(self.unit.name, error=error)

    def _make_context(self) -> UnitContext:
        around, configuration, name = self._around, self.unit.configuration, self.unit.name
        signing_key: str | None = configuration.get("GeneralSigningKey")
        if configuration.get("GeneralSignData") and signing_key is None:
            raise ConfigError("GeneralSignData is set, but GeneralSigningKey is not")
        return UnitContext(
            unit_name=name,
            configuration=configuration,
            config_directory=around.config_directory,
            state_directory=self._state_directory,
            storage=self._storage,
            clock=around.clock,
            sign=None if signing_key is None else self._make_signer(signing_key),
            data_signature=self._make_data_signer(signing_key)
            if configuration.get("GeneralSignData")
            else None,
            listen=around.listen,
            test_mode=bool(configuration.get("GeneralDebugTestModeFlag")),
            read_anchor=around.read_anchor,
            find_encryption_key=lambda key: self._get_keys().find_encryption_key(key, around.clock()),
            prepare_signing=self._prepare_signing,
            find_signers=self._find_signers,
            why_invalid=self._why_invalid,
            get_request=lambda url: self._get_request(url),
            foreign_sources=self._foreign,
            cancelled=around.cancelled,
        )

    def _make_signer(self, key: str) -> MetainfoSigner:
        def sign(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> BackupElementMetainfo:
            keys = self._get_keys()
            keys.warn_of_distrust(key, source_url, trusted, self._around.clock())
            return keys.make_signer(key)(metainfo, source_url)

        trusted = self.unit.configuration.get(TRUST_KEY)
        return sign

    def _make_data_signer(self, key: str | None) -> Callable[[int], bytes]:
        return lambda descriptor: self._get_keys().make_data_signer(str(key))(descriptor)

    def _prepare_signing(self) -> None:
        """Raises KeyUnusableError when what is made could not be signed."""
        key = self.unit.configuration.get("GeneralSigningKey")
        if key is not None:
            self._get_keys().check_signing_key(key, self._around.clock())
            self._get_keys().prepare_signing()

    def _find_signers(self) -> Collection[str]:
        key = self.unit.configuration.get("GeneralSigningKey")
        return () if key is None else self._get_keys().find_signers(key, self._around.clock())

    def _why_invalid(self, signers: Collection[str]) -> str | None:
        # Where nothing is signed any more nobody asks for signatures, and there need be no keyring.
        is_idle = not signers or self.unit.configuration.get("GeneralSigningKey") is None
        return None if is_idle else self._get_keys().why_invalid(signers)

    def _get_keys(self) -> KeyringAhead:
        with self._keys_lock:
            if self._keys is None:
                self._keys = self._stack.enter_context(self._around.open_keys())
            return self._keys


def _as_ours(error: BaseException) -> GuerillaBackupError:
    if isinstance(error, GuerillaBackupError):
        return error
    return GuerillaBackupError(f"{describe_error(error)}{explain(error)}")


def _when_due(url: SourceUrl) -> SourceRequest:
    return SourceRequest.WHEN_DUE


def _ask_time(instance: SchedulableGeneratorUnitInterface) -> float:
    """When a unit is to be invoked next; raises ConfigError for what is no number of seconds."""
    return check_seconds(instance.get_next_invocation_time())
