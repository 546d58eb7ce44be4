"""The generator: reads the configuration, builds storage, keys and units, and runs what is due.

It joins the parts.
"""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from guerillabackup.config import UNITS_DIRECTORY, Configuration, load_configuration
from guerillabackup.config_keys import elements_move_on
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import EventListener, ignore_events
from guerillabackup.generator.clock import read_anchor
from guerillabackup.generator.handed_back import bounded, check_sources, describe_error
from guerillabackup.generator.interface import STANDING
from guerillabackup.generator.keys import KeyringAhead
from guerillabackup.generator.loader import UnitFile, list_units
from guerillabackup.generator.lock import GeneratorLock
from guerillabackup.generator.outcome import RunOutcome, UnitOutcome
from guerillabackup.generator.runner import Surroundings, UnitRunner, is_any_interrupt
from guerillabackup.generator.selection import (
    LoadedUnit,
    NothingToRunError,
    choose_units,
    find_foreign_sources,
    make_request,
    trigger_command,
)
from guerillabackup.generator.storage_place import find_overlap, find_storage_problem, remember_storage
from guerillabackup.original.elements import adapt_elements
from guerillabackup.original.loading import load_any_unit_class
from guerillabackup.original.storage import DefaultFileSystemSink
from guerillabackup.pipeline.scheduling import be_a_batch_job
from guerillabackup.signature_values import KeyPurpose
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.registry import make_ownership, open_storage

if TYPE_CHECKING:
    from guerillabackup.generator.floor import Plant

REQUIRED = ("GeneralPersistencyBaseDir", "DefaultFileSystemSinkBaseDir")
TEST_MODE = "GeneralDebugTestModeFlag"
SERVICE_REQUIRED = (*REQUIRED, "GeneralRuntimeDataDir")

log = logging.getLogger(__name__)


def run_once(
    configuration: Configuration,
    *,
    unit_names: tuple[str, ...] = (),
    source_urls: tuple[SourceUrl, ...] = (),
    full: bool = False,
    accept_empty: bool = False,
    listen: EventListener = ignore_events,
    clock: Callable[[], float] | None = None,
    keys: KeyringAhead | None = None,
    is_interrupted: Callable[[BaseException], bool] = is_any_interrupt,
) -> RunOutcome:
    """Invoke every unit that is due, once, one after the other; all units, or those named.

    With `source_urls` only these sources, due or not; with `full` a full backup of each, with
    `accept_empty` also of what is empty all of a sudden. A unit whose
    DefaultUnitRunCondition does not hold is skipped, unless it or a source of it is named. `clock` gives UTC
    seconds in place of the system's; `keys` is the configuration's keyring where the caller opened it, and
    closes it; `is_interrupted` tells what came of a signal from what a unit raised. Raises ConfigError for
    what concerns all of them, NothingToRunError when no unit has a source; what fails for one unit or source
    is in the outcome.
    """
    configuration.require(*REQUIRED)
    listing = list_units(configuration.units_directory)
    if not listing.units:
        raise NothingToRunError(
            f"no unit is enabled in {configuration.units_directory}",
            *listing.warnings,
            *listing.unused_overlays,
        )
    _forbid_overlap(configuration)
    be_a_batch_job()
    with ExitStack() as stack:
        named = unit_names if unit_names or source_urls else tuple(unit.name for unit in listing.units)
        instead = trigger_command(configuration.directory, named, source_urls, full, accept_empty)
        state = configuration["GeneralPersistencyBaseDir"]
        stack.enter_context(GeneratorLock(state, is_service=False, instead=instead))
        if keys is None:
            keys = stack.enter_context(KeyringAhead(configuration.keys_directory))
        loaded = [_load(configuration, unit, is_interrupted) for unit in listing.units]
        foreign = find_foreign_sources(loaded)
        chosen = choose_units(loaded, unit_names, source_urls)
        _warn(configuration)
        storage, shared_keys = stack.enter_context(_open_storage(configuration)), keys
        surroundings = Surroundings(
            configuration.directory,
            lambda: nullcontext(storage),
            lambda: nullcontext(shared_keys),
            listen,
            clock or time.time,
            read_anchor if clock is None else lambda: None,
            is_interrupted=is_interrupted,
        )
        get_request = make_request(source_urls, full=full, accept_empty=accept_empty)
        heeds_condition = not (unit_names or source_urls)
        outcomes = []
        for unit in chosen:
            with closing(UnitRunner(unit, foreign[unit.name], surroundings)) as runner:
                outcomes.append(
                    runner.look(
                        get_request,
                        is_asked=False,
                        heeds_condition=heeds_condition,
                        leaves_to_others=heeds_condition and not full,
                    )
                )
            _warn_of_test_mode(unit, outcomes[-1])
        signing_key = configuration.get("GeneralSigningKey")
        if signing_key is not None and not any(outcome.was_invoked for outcome in outcomes):
            # Sooner than the day on which something is due. Without warnings: they are for runs that make it.
            keys.get().check_usable(signing_key, KeyPurpose.SIGN, (clock or time.time)())
    return RunOutcome(tuple(outcomes), listing.warnings)


def run_service(
    config_directory: str,
    *,
    presets: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Run units when they are due, until SIGTERM or SIGINT; SIGHUP has the configuration read anew.

    In the main thread. `presets` are values where the configuration sets none. Raises ConfigError and
    StateBusyError where it cannot begin; what is wrong with one unit is reported, and the others are run.
    """
    # A single run has no use for these, and is not kept waiting for them.
    from guerillabackup.generator import forked
    from guerillabackup.generator.control_messages import GENERATOR, Request
    from guerillabackup.generator.loop import GeneratorLoop
    from guerillabackup.generator.timer import uptime
    from guerillabackup.observe.control_server import ControlServer
    from guerillabackup.observe.control_socket import ServiceSocket
    from guerillabackup.observe.signals import SignalPipe
    from guerillabackup.observe.systemd import ServiceManager

    with ExitStack() as stack:
        # First, so that a signal is answered in order from here on.
        signals = stack.enter_context(SignalPipe())
        plant = load_plant(config_directory, clock, presets)
        stack.enter_context(GeneratorLock(plant.state_directory, is_service=True))
        service_socket = stack.enter_context(
            closing(ServiceSocket(plant.runtime_directory, GENERATOR.socket_name))
        )
        for descriptor in service_socket.descriptors():
            forked.hold(descriptor)
        manager = stack.enter_context(closing(ServiceManager(os.environ)))

        def load_again() -> "Plant":
            nonlocal plant
            again = load_plant(config_directory, clock, presets, plant.units)
            units_directory = os.path.join(config_directory, UNITS_DIRECTORY)
            if plant.units and not again.units and not os.path.isdir(units_directory):
                raise ConfigError(f"{units_directory} is not there: is the configuration mounted?")
            for before, now in (
                (plant.state_directory, again.state_directory),
                (plant.runtime_directory, again.runtime_directory),
            ):
                if before != now:
                    raise ConfigError(f"{now} is to be used in place of {before}, which takes a restart")
            plant = again
            return again

        GeneratorLoop(
            plant, load_again, ControlServer(service_socket, uptime, Request.parse), manager, clock
        ).run(signals)


def load_plant(
    config_directory: str,
    clock: Callable[[], float],
    presets: Mapping[str, Any] | None = None,
    before: Mapping[str, LoadedUnit] | None = None,
) -> "Plant":
    """The configuration and the units as their files say now; raises ConfigError.

    A unit whose files are wrong is as it was `before`, if it was in order.
    """
    from guerillabackup.generator.floor import Plant

    configuration = load_configuration(config_directory, presets)
    configuration.require(*SERVICE_REQUIRED)
    _forbid_overlap(configuration)
    listing = list_units(configuration.units_directory)
    for warning in (*listing.warnings, *listing.unused_overlays):
        log.warning("%s", warning)
    if not listing.units:
        log.warning(
            "no unit is enabled in %s; enable one and send SIGHUP (systemctl reload)",
            configuration.units_directory,
        )
    _warn(configuration)
    if (problem := _find_storage_problem(configuration)) is not None:
        log.error("no unit can be run now: %s", problem)
    loaded = {
        unit.name: _prefer_working(_load(configuration, unit, _never), (before or {}).get(unit.name))
        for unit in listing.units
    }
    for unit in loaded.values():
        if unit.error is not None:
            log.error("unit %s is not run: %s", unit.name, unit.error)
        if unit.refused is not None:
            log.error("unit %s is refused, and runs with its files of before: %s", unit.name, unit.refused)
        if unit.test_mode is not None:
            log.warning("unit %s stores nothing: %s is set (%s)", unit.name, TEST_MODE, unit.test_mode)
    surroundings = Surroundings(
        configuration.directory,
        lambda: _open_storage(configuration),
        lambda: KeyringAhead(configuration.keys_directory),
        ignore_events,
        clock,
        read_anchor if clock is time.time else lambda: None,
        is_interrupted=_never,
    )
    return Plant(
        loaded,
        find_foreign_sources(loaded.values()),
        surroundings,
        configuration["GeneratorWorkers"],
        configuration["GeneralPersistencyBaseDir"],
        configuration["GeneralRuntimeDataDir"],
        be_a_batch_job,
    )


def _never(error: BaseException) -> bool:
    """The service is interrupted by nothing: signals are read from a pipe."""
    return False


def _load(
    configuration: Configuration, unit: UnitFile, is_interrupted: Callable[[BaseException], bool]
) -> LoadedUnit:
    """Read a unit's files; nothing is raised, because what is wrong with one must not stop the others."""
    try:
        own = configuration if unit.overlay is None else configuration.overlay(unit.overlay)
        unit_class = load_any_unit_class(unit)
        sources = check_sources(unit_class.list_sources(own))
        test_mode = own.origin(TEST_MODE) if own.get(TEST_MODE) else None
        return LoadedUnit(unit.name, unit_class, adapt_elements(own), sources, test_mode=test_mode)
    except GuerillaBackupError as error:
        return LoadedUnit(unit.name, error=bounded(error))
    except BaseException as error:  # a unit's own code may raise anything, and the others go on
        if is_interrupted(error):
            raise
        log.debug("unit %s", unit.name, exc_info=True)
        return LoadedUnit(unit.name, error=GuerillaBackupError(describe_error(error)))


def _prefer_working(unit: LoadedUnit, before: LoadedUnit | None) -> LoadedUnit:
    """A mistake in a file is no reason to make no backups until somebody sees it."""
    if unit.error is None or before is None or before.error is not None:
        return unit
    return dataclasses.replace(before, refused=str(unit.error))


def _warn(configuration: Configuration) -> None:
    """Of what is set to no use, and of what is left out."""
    if configuration.get("GeneralSigningKey") is None:
        log.warning(
            "elements are not signed, because GeneralSigningKey is not set in %s",
            configuration.path,
            extra=STANDING,
        )


def _warn_of_test_mode(unit: LoadedUnit, outcome: UnitOutcome) -> None:
    """Of what was due and is not stored: each time, since whoever forgot the flag has no backup."""
    if unit.test_mode is None:
        return
    sources = [str(source.source_url) for source in outcome.sources if source.error is None]
    if sources:
        log.warning(
            "unit %s ran for %s and stored nothing: %s is set (%s)",
            unit.name,
            ", ".join(dict.fromkeys(sources)),
            TEST_MODE,
            unit.test_mode,
        )


@contextmanager
def _open_storage(configuration: Configuration) -> Iterator[DefaultFileStorage]:
    """The storage for one run; raises ConfigError for one that is not there, or empty all of a sudden."""
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
    if (problem := _find_storage_problem(configuration)) is not None:
        raise ConfigError(problem)
    place = configuration["DefaultFileSystemSinkBaseDir"], configuration["GeneralPersistencyBaseDir"]
    remember_storage(*place)
    with open_storage(place[0], ownership, state_directory=place[1]) as storage:
        yield storage
    remember_storage(*place)


def _forbid_overlap(configuration: Configuration) -> None:
    """Before the lock is taken: where the state is in the storage, that would already be written there."""
    places = configuration["DefaultFileSystemSinkBaseDir"], configuration["GeneralPersistencyBaseDir"]
    if (overlap := find_overlap(*places, configuration.own_directories)) is not None:
        raise ConfigError(overlap)


def _find_storage_problem(configuration: Configuration) -> str | None:
    return find_storage_problem(
        configuration["DefaultFileSystemSinkBaseDir"],
        configuration["GeneralPersistencyBaseDir"],
        elements_move_on=elements_move_on(configuration),
        apart=configuration.own_directories,
    )
