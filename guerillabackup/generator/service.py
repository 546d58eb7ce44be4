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

from guerillabackup.config import Configuration, execute_definition
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError, KeyUnusableError
from guerillabackup.events import EventListener, UnitFailed, ignore_events
from guerillabackup.generator.interface import (
    MetainfoSigner,
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    UnitContext,
)
from guerillabackup.generator.loader import UnitFile, list_units, load_unit_class
from guerillabackup.signature import KeyPurpose, Keyring, sign_metainfo
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.registry import make_ownership, open_storage

REQUIRED = ("GeneralPersistencyBaseDir", "DefaultFileSystemSinkBaseDir")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What a unit's run came to; `error` when the unit as a whole could not be loaded or run."""

    unit_name: str
    sources: tuple[SourceOutcome, ...] = ()
    error: GuerillaBackupError | None = None

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
    listen: EventListener = ignore_events,
    clock: Callable[[], float] = time.time,
) -> RunOutcome:
    """Invoke every unit that is due, once, one after the other; all units, or those named.

    Raises ConfigError for what concerns all of them; what fails for one unit or source is in the outcome.
    """
    configuration.require(*REQUIRED)
    listing = list_units(configuration.units_directory)
    known = {unit.name for unit in listing.units}
    for name in unit_names:
        if name not in known:
            raise ConfigError(f"there is no unit {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    chosen = [unit for unit in listing.units if not unit_names or unit.name in unit_names]
    with ExitStack() as stack:
        workshop = _Workshop(configuration, listen, clock, stack)
        outcomes = [workshop.run_unit(unit) for unit in chosen]
    return RunOutcome(tuple(outcomes), listing.warnings)


class _Workshop:
    """What the units of one run share."""

    def __init__(
        self,
        configuration: Configuration,
        listen: EventListener,
        clock: Callable[[], float],
        stack: ExitStack,
    ) -> None:
        self._configuration = configuration
        self._listen = listen
        self._clock = clock
        self._keyring: Keyring | None = None
        signing_key = configuration.get("GeneralSigningKey")
        if signing_key is None:
            log.warning(
                "elements are not signed, because GeneralSigningKey is not set in %s", configuration.path
            )
        else:
            self._keyring = stack.enter_context(Keyring(configuration.keys_directory))
            self._keyring.check_usable(signing_key, KeyPurpose.SIGN, clock())
        self._signing_key = signing_key
        self._storage = _open_storage(configuration)
        stack.callback(self._storage.close)

    def run_unit(self, unit: UnitFile) -> UnitOutcome:
        """Load one unit and invoke it if it is due."""
        try:
            return UnitOutcome(unit.name, tuple(self._run_unit(unit)))
        except GuerillaBackupError as error:
            return self._failed(unit, error)
        except Exception as error:  # a unit's own code may raise anything, and the others go on
            log.debug("unit %s", unit.name, exc_info=True)
            return self._failed(unit, GuerillaBackupError(f"{type(error).__name__}: {error}"))

    def _run_unit(self, unit: UnitFile) -> list[SourceOutcome]:
        configuration = self._configuration
        if unit.overlay is not None:
            configuration = configuration.overlay(unit.overlay)
        unit_class = load_unit_class(unit, execute_definition)
        instance = unit_class(unit.name, self._make_context(unit, configuration))
        try:
            return self._invoke(instance)
        finally:
            instance.close()

    def _invoke(self, instance: SchedulableGeneratorUnitInterface) -> list[SourceOutcome]:
        if instance.get_next_invocation_time() > 0:
            return []
        return instance.invoke_unit()

    def _failed(self, unit: UnitFile, error: GuerillaBackupError) -> UnitOutcome:
        log.error("unit %s: %s", unit.name, error)
        self._listen(UnitFailed(unit.name, str(error)))
        return UnitOutcome(unit.name, error=error)

    def _make_context(self, unit: UnitFile, configuration: Mapping[str, Any]) -> UnitContext:
        state = os.path.join(self._configuration["GeneralPersistencyBaseDir"], "generators", unit.name)
        return UnitContext(
            unit_name=unit.name,
            configuration=configuration,
            config_directory=self._configuration.directory,
            state_directory=state,
            storage=self._storage,
            clock=self._clock,
            sign=self._make_signer(),
            data_signature=self._make_data_signer(configuration),
            listen=self._listen,
            test_mode=bool(configuration.get("GeneralDebugTestModeFlag")),
        )

    def _make_signer(self) -> MetainfoSigner | None:
        keyring, key = self._keyring, self._signing_key
        if keyring is None or key is None:
            return None

        def sign(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> BackupElementMetainfo:
            return sign_metainfo(keyring, key, metainfo, source_url)

        return sign

    def _make_data_signer(self, configuration: Mapping[str, Any]) -> Callable[[int], bytes] | None:
        keyring, key = self._keyring, self._signing_key
        if not configuration.get("GeneralSignData"):
            return None
        if keyring is None or key is None:
            raise ConfigError("GeneralSignData is set, but GeneralSigningKey is not")
        return lambda descriptor: keyring.sign_file(key, descriptor)


def _open_storage(configuration: Configuration) -> DefaultFileStorage:
    ownership = make_ownership(
        configuration["StorageDirectoryMode"],
        configuration["StorageFileMode"],
        configuration.get("StorageOwner"),
        configuration.get("StorageGroup"),
    )
    return open_storage(configuration["DefaultFileSystemSinkBaseDir"], ownership, create=True)
