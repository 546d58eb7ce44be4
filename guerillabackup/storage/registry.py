"""Builds the storage that a configuration names. Touches: grp, os, pwd."""

import grp
import os
import pwd
import zlib

from guerillabackup.errors import ConfigError
from guerillabackup.osfile import PRIVATE, Ownership, make_directories, storage_errors
from guerillabackup.storage.default_file import DefaultFileStorage

CATALOGUE_DIRECTORY = "catalogue"


def open_storage(
    base_directory: str,
    ownership: Ownership = PRIVATE,
    *,
    create: bool = False,
    state_directory: str | None = None,
) -> DefaultFileStorage:
    """The storage below a directory, which is made, with its parents, when `create` says so.

    Its catalogue is below `state_directory`, where one is named.
    """
    if create:
        with storage_errors(f"cannot make the storage's directory {base_directory}"):
            make_directories(base_directory, ownership)
    catalogue = None if state_directory is None else catalogue_path(state_directory, base_directory)
    return DefaultFileStorage(base_directory, ownership, catalogue=catalogue)


def catalogue_path(state_directory: str, base_directory: str) -> str:
    """The file that is the catalogue of the storage in a directory."""
    base = os.path.realpath(base_directory)
    name = "".join(each if each.isascii() and each.isalnum() else "_" for each in os.path.basename(base))
    number = zlib.crc32(os.fsencode(base))
    return os.path.join(state_directory, CATALOGUE_DIRECTORY, f"{name[:64]}-{number:08x}.sqlite")


def make_ownership(
    directory_mode: int = 0o700,
    file_mode: int = 0o600,
    owner: str | int | None = None,
    group: str | int | None = None,
    what: str = "the storage's files",
) -> Ownership:
    """Modes and ids of new files; raises ConfigError for an owner or group of `what` that does not exist."""
    return Ownership(directory_mode, file_mode, _user_id(owner, what), _group_id(group, what))


def _user_id(owner: str | int | None, what: str) -> int | None:
    if owner is None or isinstance(owner, int):
        return owner
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError as error:
        raise ConfigError(f"there is no user {owner!r} to own {what}") from error


def _group_id(group: str | int | None, what: str) -> int | None:
    if group is None or isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(f"there is no group {group!r} to own {what}") from error
