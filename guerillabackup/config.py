"""The configuration: the main file, then the overlay of a unit or service executed over a copy of it.

Nothing is defaulted that a tool needs: `require` names what is missing and the line to add. All problems are
reported at once, with file and line where they are known. It joins config_file.py and config_keys.py.
"""

import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import guerillabackup
from guerillabackup.config_file import Execution, execute_file, find_write_permissions
from guerillabackup.config_key import NO_DEFAULT, Key
from guerillabackup.config_keys import KEYS
from guerillabackup.errors import ConfigError
from guerillabackup.original.names import provide_modules

MAIN_FILE = "config"
KEYS_DIRECTORY = "keys"
LIBRARY_DIRECTORY = "lib-enabled"
UNITS_DIRECTORY = "units"

_PACKAGE_NAME = "guerillabackup"
_SIMILARITY = 0.8


class Configuration(Mapping[str, Any]):
    """What the files say, and for known keys without a value their default, if they have one.

    A mapping of every name the files bound (helper variables too). Values are the files' own objects: do not
    change them.
    """

    def __init__(
        self,
        directory: str,
        namespace: dict[str, Any],
        origins: Mapping[str, str],
        extra_keys: Mapping[str, Key],
        main_file: str = MAIN_FILE,
    ) -> None:
        self._directory = directory
        self._main_file = main_file
        self._namespace = namespace
        self._origins = origins
        self._keys = MappingProxyType({**KEYS, **extra_keys})
        self._values = {
            **{key.name: key.default for key in self._keys.values() if key.default is not NO_DEFAULT},
            **{name: value for name, value in namespace.items() if _is_visible(name)},
        }

    @property
    def directory(self) -> str:
        """The configuration directory, absolute."""
        return self._directory

    @property
    def path(self) -> str:
        """The main file."""
        return os.path.join(self._directory, self._main_file)

    @property
    def keys_directory(self) -> str:
        """The keyring with the keys to encrypt for and to sign with."""
        return os.path.join(self._directory, KEYS_DIRECTORY)

    @property
    def units_directory(self) -> str:
        """Where the generator units are enabled."""
        return os.path.join(self._directory, UNITS_DIRECTORY)

    @property
    def own_directories(self) -> Mapping[str, str]:
        """By what they are: directories of the configuration and of what runs, apart from storages."""
        own = {"the keyring": self.keys_directory, "the units": self.units_directory}
        key = "GeneralRuntimeDataDir"
        runtime = self.get(key)
        return own | ({key: runtime} if isinstance(runtime, str) else {})

    @property
    def known_keys(self) -> Mapping[str, Key]:
        """The keys that were checked: the table, and what an overlay added to it."""
        return self._keys

    def origin(self, key: str) -> str:
        """Where a value comes from: `file:line`, or `default`; KeyError for a key without a value."""
        self[key]
        return self._origins.get(key, "default")

    def require(self, *names: str) -> None:
        """Raise ConfigError that lists everything of these that is not set, with the line to add."""
        problems = []
        for name in names:
            if self.get(name) is None:
                key = self._keys.get(name)
                line = f"{name} = …" if key is None else key.line
                problems.append(f"{self.path}: {name} is not set; add the line: {line}")
        if problems:
            raise ConfigError(*problems)

    def overlay(self, path: str, extra_keys: Sequence[Key] = ()) -> "Configuration":
        """This configuration with another file executed over a copy of it; raises ConfigError.

        `extra_keys` are those the owner of the overlay knows beyond the table. Lists, dicts and sets are
        copied, so that a file that changes one changes its own.
        """
        known = {**self._keys, **{key.name: key for key in extra_keys}}
        try:
            namespace = _copy_namespace(self._namespace)
        except RecursionError as error:
            raise ConfigError(f"{self.path}: holds lists or dicts nested too deeply to copy") from error
        return _execute(self._directory, path, namespace, self._origins, known, self._main_file)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def load_configuration(
    config_directory: str, presets: Mapping[str, Any] | None = None, *, main_file: str = MAIN_FILE
) -> Configuration:
    """Execute the main file of a configuration directory; raises ConfigError with every problem.

    Its `lib-enabled` goes to the end of the import path, once, where it exists. `presets` are values that
    hold where the files do not set others.
    """
    directory = os.path.abspath(config_directory)
    problems = _enable_library(os.path.join(directory, LIBRARY_DIRECTORY))
    path = os.path.join(directory, main_file)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = f"make a configuration with: guerillabackup config init --config-dir {directory}"
        if main_file != MAIN_FILE or directory == "/":
            remedy = "name the main file of a configuration"
        raise ConfigError(f"{path}: is not there; {remedy}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; run it as the user whose configuration that is, or "
            "name another one with --config-dir"
        ) from error
    namespace = {**(presets or {}), **_bind_package()}
    try:
        configuration = _execute(directory, path, namespace, {}, KEYS, main_file)
    except ConfigError as error:
        raise ConfigError(*dict.fromkeys((*problems, *error.problems))) from error
    if problems:
        raise ConfigError(*problems)
    return configuration


def load_configuration_if_any(config_directory: str) -> Configuration:
    """The same, or the defaults alone where there is no main file; for what arguments are enough for."""
    directory = os.path.abspath(config_directory)
    try:
        os.lstat(os.path.join(directory, MAIN_FILE))
    except (FileNotFoundError, NotADirectoryError):
        return default_configuration(directory)
    except OSError:
        pass  # load_configuration says what it is
    return load_configuration(directory)


def default_configuration(config_directory: str) -> Configuration:
    """The defaults alone, as for a directory without a main file."""
    return Configuration(os.path.abspath(config_directory), {}, {}, {})


def find_forbidden(config_directory: str) -> str | None:
    """Why this user may not read the main file; None when that may be, or there is none."""
    path = os.path.join(os.path.abspath(config_directory), MAIN_FILE)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK))
    except PermissionError as error:
        return f"{path}: cannot be read: {error.strerror}"
    except OSError:
        pass
    return None


def execute_definition(path: str) -> dict[str, Any]:
    """What a unit's definition file binds, executed by itself with the package's name; raises ConfigError."""
    namespace = _bind_package()
    execution = execute_file(path, namespace)
    if execution.problems:
        raise ConfigError(*execution.problems)
    return namespace


def _bind_package() -> dict[str, Any]:
    """What every executed file sees: the package, of which it may also import the original's modules."""
    provide_modules()
    return {_PACKAGE_NAME: guerillabackup}


def _execute(
    directory: str,
    path: str,
    namespace: dict[str, Any],
    origins: Mapping[str, str],
    known: Mapping[str, Key],
    main_file: str,
) -> Configuration:
    before = dict(namespace)
    namespace.update({"__file__": path, "__name__": _PACKAGE_NAME + "_config"})
    execution = execute_file(path, namespace)
    for name in [name for name in namespace if not isinstance(name, str)]:
        del namespace[name]  # globals() takes any key
    changed = [name for name in namespace if namespace[name] is not before.get(name, before)]
    new_origins = {
        **origins,
        **{name: execution.where(name) for name in changed if _is_visible(name)},
        **{name: execution.where(name) for name in execution.lines if name in namespace},
    }
    problems = [
        *execution.problems,
        *_check_values(execution, namespace, new_origins, known),
        *_find_misspelt(execution, namespace, known),
    ]
    if problems:
        raise ConfigError(*problems)
    return Configuration(directory, namespace, new_origins, known, main_file)


def _check_values(
    execution: Execution,
    namespace: Mapping[str, Any],
    origins: Mapping[str, str],
    known: Mapping[str, Key],
) -> Iterator[str]:
    for name, key in known.items():
        if name not in namespace:
            continue
        try:
            problems = key.check(namespace[name])
        except Exception as error:  # a value's own code may raise anything
            problems = [f"cannot be checked: {type(error).__name__}"]
        for problem in problems:
            where = execution.where_wrong(name, problem) or origins.get(name, MAIN_FILE)
            yield f"{where}: {name} {problem}"


def _find_misspelt(
    execution: Execution, namespace: Mapping[str, Any], known: Mapping[str, Key]
) -> Iterator[str]:
    """Assigned names that are no key but look like one; others are the operator's own."""
    folded = {_fold(name): name for name in known}
    for name in sorted(execution.lines, key=lambda name: execution.lines[name]):
        if name in known or name not in namespace or not _is_visible(name):
            continue
        similar = folded.get(_fold(name))
        if similar is None and name[0].isupper():
            similar = next(iter(difflib.get_close_matches(name, known, 1, _SIMILARITY)), None)
        if similar is not None:
            yield f"{execution.where(name)}: {name} is no known key; did you mean {similar}?"


def _fold(name: str) -> str:
    return name.replace("_", "").casefold()


def _is_visible(name: str) -> bool:
    return not name.startswith("_") and name != _PACKAGE_NAME


def _enable_library(path: str) -> list[str]:
    """Let the operator's modules be imported; hands back why they must not be."""
    if not os.path.isdir(path):
        return []
    try:
        problems = find_write_permissions(path)
    except OSError as error:
        return [f"{path}: cannot be looked at: {error.strerror}"]
    if not problems and path not in sys.path:
        sys.path.append(path)
    return problems


def _copy_namespace(namespace: Mapping[str, Any]) -> dict[str, Any]:
    copies: dict[int, Any] = {}
    return {name: _copy(value, copies) for name, value in namespace.items() if name != "__builtins__"}


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    """A copy of plain containers and all plain containers in them; what else there is stays the same."""
    if id(value) in copies:
        return copies[id(value)]
    if type(value) is dict:
        copies[id(value)] = new_dict = {}
        new_dict.update({_copy(key, copies): _copy(item, copies) for key, item in value.items()})
        return new_dict
    if type(value) is list:
        copies[id(value)] = new_list = []
        new_list += [_copy(item, copies) for item in value]
        return new_list
    if type(value) is set:
        return set(value)
    if type(value) is tuple:
        return tuple(_copy(item, copies) for item in value)
    return value
