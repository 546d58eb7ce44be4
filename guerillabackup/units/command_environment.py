"""What a command runs in: whose rights, which variables, and secrets from files that only their owner reads.

No secret is ever an argument, nor written anywhere: a file that the command's user may not read is handed on
as a copy in memory which belongs to that user. Touches: os, grp, pwd, shutil.
"""

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from guerillabackup.errors import ConfigError
from guerillabackup.osfile import storage_errors, write_all
from guerillabackup.pipeline.os_process import ProcessIdentity
from guerillabackup.units.command_source import (
    MAX_ENVIRONMENT_FILE_SIZE,
    CommandSource,
    Variables,
    parse_environment_lines,
)

MAX_CREDENTIAL_SIZE = 1 << 20
"""Bytes of a credential file that is copied."""
MIN_HIDDEN_LENGTH = 4
"""Characters of a secret that is hidden in messages: shorter ones are parts of words."""


@dataclass(frozen=True, slots=True)
class CommandEnvironment:
    """What `OSProcessPipelineElement` takes; and the values that no message may repeat."""

    variables: Mapping[str, str]
    pass_fds: tuple[int, ...]
    identity: ProcessIdentity | None
    secrets: tuple[str, ...]


@contextmanager
def open_environment(source: CommandSource) -> Iterator[CommandEnvironment]:
    """What the commands of a source run in, for as long as the context lasts; raises ConfigError."""
    with ExitStack() as stack:
        identity, user_variables = _find_identity(source.user, source.group)
        owners = _trusted_owners(identity)
        from_file: Variables = ()
        if source.environment_file is not None:
            from_file = _read_environment_file(source.environment_file, owners)
        credentials: dict[str, str] = {}
        descriptors: list[int] = []
        for name, path in source.credential_files:
            copy = _open_credentials(name, path, identity, owners)
            if copy is None:
                credentials[name] = path
            else:
                stack.callback(os.close, copy)
                descriptors.append(copy)
                credentials[name] = f"/dev/fd/{copy}"
        variables = {**user_variables, **dict(source.environment), **dict(from_file), **credentials}
        secrets = tuple(value for _, value in from_file if len(value) >= MIN_HIDDEN_LENGTH)
        yield CommandEnvironment(variables, tuple(descriptors), identity, secrets)


def find_environment_problems(source: CommandSource) -> list[str]:
    """Why the commands of a source could not be started here, as far as that can be seen beforehand."""
    problems: list[str] = []
    path = os.environ.get("PATH")
    try:
        with open_environment(source) as environment:
            path = environment.variables.get("PATH", path)
    except ConfigError as error:
        problems += error.problems
    if not os.path.isdir(source.working_directory):
        problems.append(f"WorkingDirectory {source.working_directory} is not a directory")
    for setting, argv in (("Command", source.command), ("RestoreCommand", source.restore_command)):
        if argv is None:
            continue
        place = os.path.join(source.working_directory, argv[0]) if "/" in argv[0] else argv[0]
        if shutil.which(place, path=path) is None:
            problems.append(f"{setting}: program {argv[0]} is not there")
    return problems


def _find_identity(user: str | None, group: str | None) -> tuple[ProcessIdentity | None, dict[str, str]]:
    """Whom a command runs as, None: as we do; and the variables that belong to a user."""
    if user is None and group is None:
        return None, {}
    try:
        entry = pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"User: there is no user {user!r} on this host") from error
    try:
        group_id = entry.pw_gid if group is None else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(f"Group: there is no group {group!r} on this host") from error
    variables = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    if os.geteuid() != 0:
        if entry.pw_uid == os.geteuid() and group_id == os.getegid():
            return None, variables
        what = f"User {user!r}" if entry.pw_uid != os.geteuid() else f"Group {group!r}"
        raise ConfigError(
            f"{what}: only root can run a command as somebody else; leave it out, or run as root"
        )
    groups = os.getgrouplist(entry.pw_name, group_id)
    return ProcessIdentity(entry.pw_uid, group_id, tuple(groups)), variables


def _trusted_owners(identity: ProcessIdentity | None) -> frozenset[int]:
    return frozenset((0, os.geteuid()) if identity is None else (0, os.geteuid(), identity.user_id))


def _read_environment_file(path: str, owners: frozenset[int]) -> Variables:
    descriptor = _open_private("EnvironmentFile", path, owners)
    try:
        data = _read_all(descriptor, "EnvironmentFile", path, MAX_ENVIRONMENT_FILE_SIZE)
        return parse_environment_lines(data)
    except ConfigError as error:
        raise ConfigError(*(f"EnvironmentFile {path}: {problem}" for problem in error.problems)) from error
    finally:
        os.close(descriptor)


def _open_credentials(
    name: str, path: str, identity: ProcessIdentity | None, owners: frozenset[int]
) -> int | None:
    """A copy for a user who may not read the file itself, to be closed by the caller; None where he may."""
    descriptor = _open_private(f"CredentialFiles: {name}", path, owners)
    try:
        if identity is None or identity.user_id in (0, os.fstat(descriptor).st_uid):
            return None
        data = _read_all(descriptor, f"CredentialFiles: {name}", path, MAX_CREDENTIAL_SIZE)
    finally:
        os.close(descriptor)
    with storage_errors(f"cannot copy {path}"):
        copy = os.memfd_create("credentials", os.MFD_CLOEXEC)
        try:
            write_all(copy, data)
            os.lseek(copy, 0, os.SEEK_SET)
            os.fchmod(copy, 0o400)
            os.fchown(copy, identity.user_id, identity.group_id)
        except BaseException:
            os.close(copy)
            raise
    return copy


def _open_private(what: str, path: str, owners: frozenset[int]) -> int:
    """A descriptor of a file that its owner alone may read; raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(f"{what} {path}: cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{what} {path}: is not a file")
        if status.st_mode & 0o077:
            raise ConfigError(
                f"{what} {path}: others can read or write it; forbid that with: chmod 0600 {path}"
            )
        if status.st_uid not in owners:
            raise ConfigError(
                f"{what} {path}: belongs to user {status.st_uid}, neither to root nor to who runs this"
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_all(descriptor: int, what: str, path: str, limit: int) -> bytes:
    parts, left = [], limit + 1
    try:
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise ConfigError(f"{what} {path}: cannot be read: {error.strerror}") from error
    if left <= 0:
        raise ConfigError(f"{what} {path}: is larger than {limit} bytes")
    return b"".join(parts)
