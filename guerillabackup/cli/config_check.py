"""Looks at a whole configuration: main file, overlays, programs and keys, and collects what is wrong.

It joins the configuration, the units' own checks and the keyrings.
"""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.cli.config_check_logs import find_shared_logs
from guerillabackup.cli.config_check_places import warn_of_places
from guerillabackup.cli.config_check_sources import (
    UNIT_KEYS,
    find_encryption_keys,
    find_shared_sources,
    find_source_problems,
    find_source_warnings,
    warn_of_nothing,
)
from guerillabackup.cli.config_check_transfer import check_transfer, receives
from guerillabackup.cli.interrupts import is_interrupted
from guerillabackup.config import Configuration, load_configuration
from guerillabackup.config_keys import elements_move_on
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.generator.handed_back import check_sources, describe_error
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface
from guerillabackup.generator.loader import list_units
from guerillabackup.generator.storage_place import find_storage_problem
from guerillabackup.original.loading import load_any_unit_class
from guerillabackup.pipeline.gpg import GpgEncryptionPipelineElement
from guerillabackup.signature import KeyPurpose, Keyring
from guerillabackup.signature_trust import TRUST_KEY, distrust_text, find_odd_patterns, signs_in_vain
from guerillabackup.signature_values import KeyInfo, expiry_warning
from guerillabackup.storage.registry import make_ownership

UNSIGNED = "elements will not be signed: GeneralSigningKey is not set"
_REQUIRED = ("GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir")


@dataclass(slots=True)
class CheckOutcome:
    """What was found, in the order in which it was."""

    problems: list[str] = field(default_factory=list)
    key_problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    signed: list[tuple[Configuration, SourceUrl]] = field(default_factory=list)
    """The sources that are known beforehand, and what holds for their units."""

    def raise_problems(self) -> None:
        """ConfigError with everything; KeyUnusableError when keys are all that is wrong."""
        if self.problems:
            raise ConfigError(*self.problems, *self.key_problems)
        if self.key_problems:
            raise KeyUnusableError(*self.key_problems)


def check_configuration(config_directory: str) -> CheckOutcome:
    """Look at everything; raises nothing."""
    outcome = CheckOutcome()
    try:
        configuration = load_configuration(config_directory)
    except ConfigError as error:
        outcome.problems += error.problems
        return outcome
    try:
        configuration.require(*_REQUIRED)
    except ConfigError as error:
        outcome.problems += error.problems
    if configuration.get("GeneralSigningKey") is None:
        outcome.warnings.append(UNSIGNED)
    outcome.problems += _missing_owners(configuration)
    outcome.problems += _storage_problems(configuration)
    transfer_problems, transfer_warnings = check_transfer(configuration)
    outcome.problems += transfer_problems
    outcome.warnings += transfer_warnings
    overlays = _check_units(configuration, outcome)
    outcome.warnings += _warn_of_test_mode((configuration, *overlays))
    outcome.warnings += _warn_of_loose_names((configuration, *overlays))
    outcome.warnings += warn_of_places(configuration, overlays)
    for effective in (configuration, *overlays):
        outcome.problems += _missing_programs(effective)
    outcome.problems = list(dict.fromkeys(outcome.problems))
    _check_keys(configuration, overlays, outcome)
    return outcome


def overlay_of(configuration: Configuration, unit_name: str) -> Configuration:
    """What holds for an activated unit; raises ConfigError when there is none of that name."""
    for unit in list_units(configuration.units_directory).units:
        if unit.name == unit_name:
            return configuration if unit.overlay is None else configuration.overlay(unit.overlay, UNIT_KEYS)
    raise ConfigError(f"unit {unit_name!r} is not in {configuration.units_directory}")


def describe_value(value: Any) -> Any:
    """A value as JSON has it, or else as a short text: a class by its name, an object with its attributes."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): describe_value(item) for name, item in value.items()}
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        attributes = sorted(name for name in vars(value) if not name.startswith("_"))
        inner = ", ".join(f"{name}={getattr(value, name)!r}" for name in attributes)
    except Exception:  # an object of the operator's own may do anything
        inner = ""
    return f"{type(value).__name__}({inner})"


def _check_units(configuration: Configuration, outcome: CheckOutcome) -> list[Configuration]:
    """Load the activated units without making them; hands back what holds for each."""
    overlays: dict[str, Configuration] = {}
    try:
        listing = list_units(configuration.units_directory)
    except ConfigError as error:
        outcome.problems += error.problems
        return []
    outcome.warnings += (*listing.warnings, *listing.unused_overlays)
    for unit in listing.units:
        outcome.units.append(unit.name)
        try:
            unit_class = load_any_unit_class(unit)
        except ConfigError as error:
            outcome.problems += error.problems
            unit_class = None
        try:
            overlays[unit.name] = overlay_of(configuration, unit.name)
        except ConfigError as error:
            outcome.problems += error.problems
        else:
            outcome.problems += _list_sources(unit.name, unit_class, overlays[unit.name], outcome)
    outcome.problems += find_shared_sources(overlays)
    outcome.warnings += find_shared_logs(overlays)
    for overlay in overlays.values():
        outcome.problems += find_source_problems(overlay)
        outcome.warnings += find_source_warnings(overlay)
    if len(overlays) == len(listing.units) and (overlays or not receives(configuration)):
        outcome.warnings += warn_of_nothing(configuration.directory, overlays)
    return list(overlays.values())


def _storage_problems(configuration: Configuration) -> list[str]:
    """Nothing makes the storage's directory but `config init`: where it is not there, it is not mounted."""
    directory, state = (
        configuration.get(key) for key in ("DefaultFileSystemSinkBaseDir", "GeneralPersistencyBaseDir")
    )
    if directory is None or state is None:
        return []
    problem = find_storage_problem(
        directory,
        state,
        elements_move_on=elements_move_on(configuration),
        apart=configuration.own_directories,
    )
    return [] if problem is None else [problem]


def _list_sources(
    name: str,
    unit_class: type[SchedulableGeneratorUnitInterface] | None,
    overlay: Configuration,
    outcome: CheckOutcome,
) -> list[str]:
    """Why the unit could not be made, as where it has no overlay that lists its sources."""
    try:
        if unit_class is not None:
            sources = check_sources(unit_class.list_sources(overlay))
            outcome.signed += [(overlay, source_url) for source_url in sources or ()]
    except ConfigError as error:
        return [f"unit {name}: {problem}" for problem in error.problems]
    except BaseException as error:  # a unit's own code may raise anything
        if is_interrupted(error):
            raise
        return [f"unit {name}: {describe_error(error)}"]
    return []


def _warn_of_test_mode(everywhere: Iterable[Configuration]) -> list[str]:
    """It is left on by those who tried something, and looks like success."""
    key = "GeneralDebugTestModeFlag"
    places = dict.fromkeys(each.origin(key) for each in everywhere if each.get(key))
    return [f"{place}: {key} is set: everything is run, nothing is stored" for place in places]


def _warn_of_loose_names(everywhere: Iterable[Configuration]) -> list[str]:
    """With arguments or a home of its own, gpg itself finds the key, by any part of a name."""
    warnings: dict[str, None] = {}
    key = "GeneralDefaultEncryptionElement"
    for effective in everywhere:
        element = effective.get(key)
        if not isinstance(element, GpgEncryptionPipelineElement):
            continue
        own = element.replace_key([*element.keys, *find_encryption_keys(effective)])
        for name in own.loose_names:
            text = (
                f"{key} has arguments or a home of its own, so gpg takes the first key whose user id has "
                f"{name!r} anywhere in it: write the key's fingerprint in place of that"
            )
            warnings[f"{effective.origin(key)}: {text}"] = None
    return list(warnings)


def _missing_owners(configuration: Configuration) -> list[str]:
    """Files of the storage can only be given to users and groups that this host has."""
    problems: list[str] = []
    for key in ("StorageOwner", "StorageGroup"):
        value = configuration.get(key)
        try:
            if key == "StorageOwner":
                make_ownership(owner=value)
            else:
                make_ownership(group=value)
        except ConfigError as error:
            problems += [f"{configuration.origin(key)}: {key}: {problem}" for problem in error.problems]
    return problems


def _missing_programs(configuration: Configuration) -> list[str]:
    problems = []
    for key in ("GeneralDefaultCompressionElement", "GeneralDefaultEncryptionElement"):
        element = configuration.get(key)
        required = getattr(element, "required_programs", None)
        try:
            programs = () if required is None else required()
        except ConfigError as error:
            problems += [f"{configuration.origin(key)}: {key}: {problem}" for problem in error.problems]
            continue
        problems += [
            f"{configuration.origin(key)}: {key} needs the program {program}, which is not there"
            for program in programs
            if shutil.which(program) is None
        ]
    return problems


def _check_keys(
    configuration: Configuration, overlays: Iterable[Configuration], outcome: CheckOutcome
) -> None:
    everywhere = (configuration, *overlays)
    wanted: dict[tuple[str, KeyPurpose], str] = {}
    for effective in everywhere:
        for name, origin in _encryption_keys(effective):
            wanted.setdefault((name, KeyPurpose.ENCRYPT), origin)
        if effective.get("GeneralSigningKey") is not None:
            name = effective["GeneralSigningKey"]
            wanted.setdefault((name, KeyPurpose.SIGN), f"{effective.origin('GeneralSigningKey')}: ")
    trusted = configuration.get(TRUST_KEY) or {}
    odd = find_odd_patterns(trusted)
    outcome.warnings += [f"{configuration.origin(TRUST_KEY)}: {text}" for text in odd]
    fingerprints = {item.upper() for items in trusted.values() for item in items}
    if wanted or fingerprints:
        try:
            with Keyring(configuration.keys_directory) as keyring:
                _check_wanted(keyring, configuration.keys_directory, wanted, outcome)
                outcome.key_problems += _find_distrusted(keyring, configuration, outcome)
                if not trusted:
                    outcome.warnings += _warn_of_signers(keyring)
                known = {part.fingerprint for key in keyring.list_keys() for part in key.parts}
        except ConfigError as error:
            outcome.key_problems += error.problems
        else:
            outcome.key_problems += [
                f"{configuration.origin(TRUST_KEY)}: {TRUST_KEY} names "
                f"{fingerprint}, which is not in keyring {configuration.keys_directory}"
                for fingerprint in sorted(fingerprints - known)
            ]
    if configuration.get("GeneralPrivateKeyringDir") is not None:
        _check_private_keyring(configuration["GeneralPrivateKeyringDir"], outcome)


def _check_wanted(
    keyring: Keyring, where: str, wanted: Mapping[tuple[str, KeyPurpose], str], outcome: CheckOutcome
) -> None:
    """`wanted` has in front of what is said of a key where it is set."""
    now = time.time()
    for (name, purpose), origin in wanted.items():
        try:
            key = keyring.check_usable(name, purpose, now)
        except KeyUnusableError as error:
            outcome.key_problems += [f"{origin}{problem}" for problem in error.problems]
        else:
            warning = expiry_warning(name, key, purpose, now, where)
            outcome.warnings += [] if warning is None else [warning]


def _warn_of_signers(keyring: Keyring) -> list[str]:
    """Any key that signs may sign any source, unless something says which."""
    names = [
        f"{', '.join(key.names)} ({key.fingerprint})"
        for key in keyring.list_keys()
        if KeyPurpose.SIGN in key.purposes and KeyPurpose.ENCRYPT not in key.purposes and not key.is_revoked
    ]
    if len(names) < 2:
        return []
    return [
        f"each of {len(names)} keys is believed for every source: {'; '.join(names)}; "
        f"{TRUST_KEY} says which may sign what"
    ]


def _find_distrusted(keyring: Keyring, configuration: Configuration, outcome: CheckOutcome) -> list[str]:
    """What is signed here is verified by the main configuration, which may trust others alone."""
    sources: dict[str, list[SourceUrl]] = {}
    keys: dict[str, KeyInfo] = {}
    for effective, source_url in outcome.signed:
        name = effective.get("GeneralSigningKey")
        if name is None:
            continue
        try:
            keys[name] = keyring.check_usable(name, KeyPurpose.SIGN)
        except KeyUnusableError:
            continue  # that is told of the key itself
        if signs_in_vain(keys[name], source_url, configuration.get(TRUST_KEY)):
            sources.setdefault(name, []).append(source_url)
    where = configuration.origin(TRUST_KEY)
    return [f"{where}: {distrust_text(name, keys[name], urls)}" for name, urls in sources.items()]


def _check_private_keyring(directory: str, outcome: CheckOutcome) -> None:
    if not os.path.isdir(directory):
        outcome.warnings.append(f"the private keyring {directory} is not there now: nothing can be restored")
        return
    try:
        with Keyring(directory) as keyring:
            keys = keyring.list_keys(secret=True)
    except ConfigError as error:
        outcome.key_problems += error.problems
        return
    if not any(KeyPurpose.ENCRYPT in key.purposes for key in keys):
        outcome.key_problems.append(f"the private keyring {directory} has no key that decrypts")


def _encryption_keys(configuration: Configuration) -> list[tuple[str, str]]:
    """Names of the keys of the keys directory that data is encrypted for, and where each is set."""
    element = configuration.get("GeneralDefaultEncryptionElement")
    # An element with a home or arguments of its own, or of another kind, has its keys where it says.
    has_own = getattr(element, "home", None) is not None or getattr(element, "argv", None) is not None
    names = [] if has_own else [name for name in getattr(element, "keys", ()) if isinstance(name, str)]
    where = f"{configuration.origin('GeneralDefaultEncryptionElement')}: " if names else ""
    return [*((name, where) for name in names), *((name, "") for name in find_encryption_keys(configuration))]
