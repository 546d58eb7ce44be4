"""The generator: reads the configuration, builds storage, keys and units, and runs what is due.

It joins the parts.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from guerillabackup.config import Configuration
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, KeyUnusableError
from guerillabackup.events import EventListener, UnitFailed, UnitSkipped, ignore_events
from guerillabackup.generator.clock import read_anchor
from guerillabackup.generator.conditions import find_obstacle
from guerillabackup.generator.interface import (
    STANDING,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    SourceRequest,
    UnitContext,
)
from guerillabackup.generator.keys import KeyringAhead
from guerillabackup.generator.loader import UnitFile, list_units
from guerillabackup.generator.selection import (
    LoadedUnit,
    NothingToRunError,
    choose_units,
    find_foreign_sources,
    make_request,
)
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.original.elements import adapt_elements
from guerillabackup.original.storage import DefaultFileSystemSink
from guerillabackup.original.unit import load_any_unit_class
from guerillabackup.pipeline.scheduling import be_a_batch_job
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.registry import make_ownership, open_storage

REQUIRED = ("GeneralPersistencyBaseDir", "DefaultFileSystemSinkBaseDir")

GetRequest = Callable[[SourceUrl], SourceRequest]
ForeignSources = Mapping[SourceUrl, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What a unit's run came to; `error` when the unit as a whole could not be loaded or run.

    `skipped` says why a unit that is due was not run: its condition did not hold.
    """

    unit_name: str
    sources: tuple[SourceOutcome, ...] = ()
    error: GuerillaBackupError | None = None
    skipped: str | None = None

    @property
    def errors(self) -> tuple[GuerillaBackupError, ...]:
        """All errors, the unit's own and its sources'."""
        own = () if self.error is None else (self.error,)
        return (*own, *(source.error for source in self.sources if source.error is not None))


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run of the generator came to."""

    units: tuple[UnitOutcome, ...]
    warnings: tuple[str, ...]

    @property
    def errors(self) -> tuple[GuerillaBackupError, ...]:
        return tuple(error for unit in self.units for error in unit.errors)

    @property
    def only_keys_failed(self) -> bool:
        """Whether there were errors, and every one of them a key's."""
        return bool(self.errors) and all(isinstance(error, KeyUnusableError) for error in self.errors)


def run_once(
    configuration: Configuration,
    *,
    unit_names: tuple[str, ...] = (),
    source_urls: tuple[SourceUrl, ...] = (),
    full: bool = False,
    listen: EventListener = ignore_events,
    clock: Callable[[], float] | None = None,
    keys: KeyringAhead | None = None,
) -> RunOutcome:
    """Invoke every unit that is due, once, one after the other; all units, or those named.

    With `source_urls` only these sources, due or not; with `full` a full backup of each. A unit whose
    DefaultUnitRunCondition does not hold is skipped, unless it or a source of it is named. `clock` gives UTC
    seconds in place of the system's; `keys` is the configuration's keyring where the caller opened it, and
    closes it. Raises ConfigError for what concerns all of them, NothingToRunError when no unit has a source;
    what fails for one unit or source is in the outcome.
    """
    configuration.require(*REQUIRED)
    listing = list_units(configuration.units_directory)
    if not listing.units:
        raise NothingToRunError(
            f"no unit is enabled in {configuration.units_directory}",
            *listing.warnings,
            *listing.unused_overlays,
        )
    be_a_batch_job()
    with ExitStack() as stack:
        if keys is None:
            keys = stack.enter_context(KeyringAhead(configuration.keys_directory))
        loaded = [_load(configuration, unit) for unit in listing.units]
        foreign = find_foreign_sources(loaded)
        chosen = choose_units(loaded, unit_names, source_urls)
        get_request = make_request(source_urls, full=full)
        workshop = (
            _Workshop(configuration, listen, time.time, read_anchor, keys, stack)
            if clock is None
            else _Workshop(configuration, listen, clock, lambda: None, keys, stack)
        )
        is_asked_for = bool(unit_names or source_urls)
        outcomes = [workshop.run_unit(unit, get_request, foreign[unit.name], is_asked_for) for unit in chosen]
    return RunOutcome(tuple(outcomes), listing.warnings)


def _load(configuration: Configuration, unit: UnitFile) -> LoadedUnit:
    """Read a unit's files; nothing is raised, because what is wrong with one must not stop the others."""
    try:
        own = configuration if unit.overlay is None else configuration.overlay(unit.overlay)
        unit_class = load_any_unit_class(unit)
        listed = unit_class.list_sources(own)
    except GuerillaBackupError as error:
        return LoadedUnit(unit.name, error=error)
    except (Exception, SystemExit) as error:  # a unit's own code may raise anything, and the others go on
        log.debug("unit %s", unit.name, exc_info=True)
        return LoadedUnit(unit.name, error=GuerillaBackupError(f"{type(error).__name__}: {error}"))
    return LoadedUnit(unit.name, unit_class, own, None if listed is None else tuple(listed))


class _Workshop:
    """What the units of one run share."""

    def __init__(
        self,
        configuration: Configuration,
        listen: EventListener,
        clock: Callable[[], float],
        read_anchor: Callable[[], ClockAnchor | None],
        keys: KeyringAhead,
        stack: ExitStack,
    ) -> None:
        self._configuration = configuration
        self._listen = listen
        self._clock = clock
        self._read_anchor = read_anchor
        self._keys = keys
        if self._usable_signing_key(configuration) is None:
            log.warning(
                "elements are not signed, because GeneralSigningKey is not set in %s",
                configuration.path,
                extra=STANDING,
            )
        for warning in configuration.unused_keys():
            log.warning("%s", warning, extra=STANDING)
        self._storage = _open_storage(configuration)
        stack.callback(self._storage.close)

    def run_unit(
        self, unit: LoadedUnit, get_request: GetRequest, foreign: ForeignSources, is_asked_for: bool
    ) -> UnitOutcome:
        """Make one unit and invoke it if it is due and its condition holds, or somebody named it."""
        name = unit.name
        if unit.error is not None or unit.unit_class is None:
            return self._failed(name, unit.error or ConfigError("it was not loaded"))
        try:
            context = self._make_context(name, unit.configuration, get_request, foreign)
            condition = None if is_asked_for else unit.configuration.get("DefaultUnitRunCondition")
            return self._run_unit(name, unit.unit_class(name, context), condition)
        except GuerillaBackupError as error:
            return self._failed(name, error)
        except (Exception, SystemExit) as error:  # a unit's own code may raise anything, and the others go on
            log.debug("unit %s", name, exc_info=True)
            return self._failed(name, GuerillaBackupError(f"{type(error).__name__}: {error}"))

    def _run_unit(
        self, name: str, instance: SchedulableGeneratorUnitInterface, condition: Any
    ) -> UnitOutcome:
        try:
            if instance.get_next_invocation_time() > 0:
                return UnitOutcome(name)
            obstacle = None if condition is None else find_obstacle(condition)
            if obstacle is not None:
                return self._skipped(name, obstacle)
            if self._configuration.get("GeneralSigningKey") is not None:
                self._keys.prepare_signing()
            return UnitOutcome(name, tuple(instance.invoke_unit()))
        finally:
            instance.close()

    def _skipped(self, unit_name: str, reason: str) -> UnitOutcome:
        log.info("unit %s is not run now: %s", unit_name, reason)
        self._listen(UnitSkipped(unit_name, reason))
        return UnitOutcome(unit_name, skipped=reason)

    def _failed(self, unit_name: str, error: GuerillaBackupError) -> UnitOutcome:
        log.error("unit %s: %s", unit_name, error)
        self._listen(UnitFailed(unit_name, str(error)))
        return UnitOutcome(unit_name, error=error)

    def _make_context(
        self,
        unit_name: str,
        configuration: Mapping[str, Any],
        get_request: GetRequest,
        foreign: ForeignSources,
    ) -> UnitContext:
        signing_key = self._usable_signing_key(configuration)
        return UnitContext(
            unit_name=unit_name,
            configuration=adapt_elements(configuration),
            config_directory=self._configuration.directory,
            state_directory=os.path.join(configuration["GeneralPersistencyBaseDir"], "generators", unit_name),
            storage=self._storage,
            clock=self._clock,
            sign=None if signing_key is None else self._keys.make_signer(signing_key),
            data_signature=self._make_data_signer(signing_key, configuration),
            listen=self._listen,
            test_mode=bool(configuration.get("GeneralDebugTestModeFlag")),
            read_anchor=self._read_anchor,
            find_encryption_key=self._find_encryption_key,
            get_request=get_request,
            foreign_sources=foreign,
        )

    def _find_encryption_key(self, name: str) -> str:
        return self._keys.find_encryption_key(name, self._clock())

    def _usable_signing_key(self, configuration: Mapping[str, Any]) -> str | None:
        """The key that a unit's elements are signed with; raises KeyUnusableError before any work is done."""
        key: str | None = configuration.get("GeneralSigningKey")
        if key is not None:
            self._keys.check_signing_key(key, self._clock())
        return key

    def _make_data_signer(
        self, key: str | None, configuration: Mapping[str, Any]
    ) -> Callable[[int], bytes] | None:
        if not configuration.get("GeneralSignData"):
            return None
        if key is None:
            raise ConfigError("GeneralSignData is set, but GeneralSigningKey is not")
        return self._keys.make_data_signer(key)


def _open_storage(configuration: Configuration) -> DefaultFileStorage:
    sink_class = configuration.get("GeneratorSinkClass")
    if sink_class not in (None, DefaultFileStorage, DefaultFileSystemSink):
        raise ConfigError(
            f"GeneratorSinkClass is {sink_class!r}: elements go to guerillabackup.DefaultFileSystemSink only"
        )
    ownership = make_ownership(
        configuration["StorageDirectoryMode"],
        configuration["StorageFileMode"],
        configuration.get("StorageOwner"),
        configuration.get("StorageGroup"),
    )
    return open_storage(configuration["DefaultFileSystemSinkBaseDir"], ownership, create=True)
