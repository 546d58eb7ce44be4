"""Activates and deactivates generator units: the links to definition files in `units/`, and their overlays.

A unit is activated from the moment its link is there; its overlay is made before that, so that a crash leaves
an overlay that no unit uses yet, and the same command goes on from there. Nothing is ever replaced.
Touches: os.
"""

import ast
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.generator.loader import OVERLAY_SUFFIX, UnitFile, UnitListing, is_unit_name
from guerillabackup.osfile import (
    PRIVATE,
    link_unnamed,
    make_directory_below,
    open_directory,
    open_unnamed,
    remove_file,
    stat_file,
    write_all,
)

DEFINITION_SUFFIX = ".py"
TEMPLATE_SUFFIX = ".config.template"
MAX_TEMPLATE_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class UnitDefinition:
    """A definition file that comes with GuerillaBackup; `template` is that of its settings, if it has one."""

    name: str
    path: str
    summary: str
    template: str | None


@dataclass(frozen=True, slots=True)
class Activation:
    """An activated unit: its link, where that leads, its overlay if it has one, and what of it is new."""

    unit: UnitFile
    definition: str
    is_new: bool
    is_overlay_new: bool


def find_definitions(units_directory: str) -> tuple[UnitDefinition, ...]:
    """The definition files of this installation, or of the checkout the package is in, sorted by name.

    A template that is not with them is looked for in the folder of the activated units.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "templates", "units")
    if os.path.isdir(installed):
        return _find_definitions(installed, (installed, units_directory))
    top = os.path.dirname(package)
    templates = os.path.join(top, "etc", "guerillabackup", "units")
    return _find_definitions(os.path.join(top, "units"), (templates, units_directory))


def choose_definition(name: str, definitions: Sequence[UnitDefinition]) -> UnitDefinition:
    """The definition of that name, or the file of that path where the name has a `/`; raises ConfigError."""
    if "/" in name:
        path = os.path.abspath(name)
        if not os.path.isfile(path):
            raise ConfigError(f"{path} is not a file")
        template = path.removesuffix(DEFINITION_SUFFIX) + TEMPLATE_SUFFIX
        stem = os.path.basename(path).removesuffix(DEFINITION_SUFFIX)
        return UnitDefinition(stem, path, "", template if os.path.isfile(template) else None)
    for definition in definitions:
        if definition.name == name:
            return definition
    known = [definition.name for definition in definitions]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"is {near[0]} meant?" if near else f"there are: {', '.join(known) or 'none'}"
    raise ConfigError(f"there is no definition {name!r} (one of your own is named by its path); {hint}")


def activate(
    units_directory: str, definition: UnitDefinition, alias: str, check: Callable[[UnitFile], object]
) -> Activation:
    """Make the overlay from its template, where there is none, and then the link, durably.

    `check` raises ConfigError when the definition cannot be used; nothing is changed then. What is there
    stays as it is; ConfigError where that is something else than this very link.
    """
    path = os.path.join(units_directory, alias)
    if not is_unit_name(alias):
        raise ConfigError(
            f"{alias!r} is no name for a unit: it may be of letters and digits only (--as NAME)"
        )
    check(UnitFile(alias, definition.path, None))
    try:
        directory_fd = _open_units(units_directory)
        try:
            is_new = not _is_link_to(directory_fd, path, definition.path)
            overlay = alias + OVERLAY_SUFFIX
            is_overlay_new = (
                definition.template is not None
                and stat_file(directory_fd, overlay) is None
                and _write_new(directory_fd, overlay, _read_template(definition.template))
            )
            if is_new:
                os.symlink(definition.path, alias, dir_fd=directory_fd)
            os.fsync(directory_fd)
            has_overlay = stat_file(directory_fd, overlay) is not None
        finally:
            os.close(directory_fd)
    except OSError as error:
        raise StorageError(f"unit {path} cannot be enabled: {error.strerror}") from error
    unit = UnitFile(alias, path, path + OVERLAY_SUFFIX if has_overlay else None)
    return Activation(unit, definition.path, is_new, is_overlay_new)


def deactivate(units_directory: str, name: str, listing: UnitListing) -> UnitFile:
    """Remove the link of an activated unit, durably, and nothing else; ConfigError for what is no link."""
    unit = next((unit for unit in listing.units if unit.name == name), None)
    if unit is None:
        if os.path.lexists(os.path.join(units_directory, f"{name}{OVERLAY_SUFFIX}")) or any(
            definition.name == name for definition in find_definitions(units_directory)
        ):
            raise ConfigError(f"unit {name} is not enabled in {units_directory}: there is nothing to disable")
        known = [unit.name for unit in listing.units]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"is {near[0]} meant?" if near else f"there are: {', '.join(known) or 'none'}"
        raise ConfigError(f"there is no unit {name!r} in {units_directory}; {hint}")
    if not os.path.islink(unit.path):
        raise ConfigError(
            f"{unit.path} is no link, and may be the only one of its kind: nothing was changed; "
            f"what ends with .template is not run, so rename it to {name}.template"
        )
    try:
        directory_fd = open_directory(units_directory)
        try:
            remove_file(directory_fd, name)
            os.fsync(directory_fd)
        finally:
            os.close(directory_fd)
    except OSError as error:
        raise StorageError(f"unit {unit.path} cannot be disabled: {error.strerror}") from error
    return unit


def definition_of(unit: UnitFile) -> str:
    """Where the link of an activated unit leads, or the file it is."""
    if not os.path.islink(unit.path):
        return unit.path
    return os.path.join(os.path.dirname(unit.path), os.readlink(unit.path))


def _find_definitions(directory: str, template_directories: Iterable[str]) -> tuple[UnitDefinition, ...]:
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be listed: {error.strerror}") from error
    definitions = []
    for name in names:
        stem = name.removesuffix(DEFINITION_SUFFIX)
        if name.endswith(DEFINITION_SUFFIX) and is_unit_name(stem):
            path = os.path.join(directory, name)
            template = _find_template(stem, template_directories)
            definitions.append(UnitDefinition(stem, path, _read_summary(path), template))
    return tuple(definitions)


def _find_template(name: str, directories: Iterable[str]) -> str | None:
    paths = (os.path.join(directory, name + TEMPLATE_SUFFIX) for directory in directories)
    return next((path for path in paths if os.path.isfile(path)), None)


def _read_summary(path: str) -> str:
    """What a definition file says it is for: the beginning of its docstring. It is not executed for that."""
    try:
        with open(path, encoding="utf-8") as file:
            text = ast.get_docstring(ast.parse(file.read(MAX_TEMPLATE_SIZE))) or ""
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ""
    return re.split(r"[.:](?:\s|$)", text, maxsplit=1)[0]


def _open_units(units_directory: str) -> int:
    """A descriptor of the folder of the units, which is made in a configuration directory that is there."""
    parent, name = os.path.split(units_directory)
    if not os.path.isdir(parent):
        raise ConfigError(
            f"{parent} is not there; make a configuration with: "
            f"guerillabackup config init --config-dir {parent}"
        )
    if os.path.isdir(units_directory):  # it may be a link
        return open_directory(units_directory)
    parent_fd = open_directory(parent)
    try:
        return make_directory_below(parent_fd, [name], PRIVATE)
    finally:
        os.close(parent_fd)


def _is_link_to(directory_fd: int, path: str, definition: str) -> bool:
    """Whether the name links to the definition already; ConfigError when it is something else."""
    name = os.path.basename(path)
    if stat_file(directory_fd, name) is None:
        return False
    if not os.path.islink(path):
        what = "is a file of its own"
    elif os.path.realpath(path) != os.path.realpath(definition):
        what = f"links to {os.readlink(path)}"
    else:
        return True
    raise ConfigError(
        f"{path} is there already, and {what}: nothing was changed; choose another name with --as, or "
        f"first disable that one with: guerillabackup unit disable {name}"
    )


def _read_template(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_TEMPLATE_SIZE + 1)
    if len(data) > MAX_TEMPLATE_SIZE:
        raise ConfigError(f"{path} is longer than {MAX_TEMPLATE_SIZE} bytes")
    return data


def _write_new(directory_fd: int, name: str, data: bytes) -> bool:
    """Make a whole file under a name that nothing has; whether it was made, as somebody else may have."""
    descriptor = open_unnamed(directory_fd, PRIVATE.file_mode)
    temporary = None
    if descriptor is None:
        temporary = f"{name}.{os.getpid()}.template"  # what a crash leaves of it is nobody's unit
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, PRIVATE.file_mode, dir_fd=directory_fd)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        if temporary is None:
            link_unnamed(descriptor, directory_fd, name)
        else:
            os.link(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except FileExistsError:
        return False
    finally:
        os.close(descriptor)
        if temporary is not None:
            remove_file(directory_fd, temporary)
    return True
