"""The socket of a service: where it is, who may use it, that there is one. Touches: fcntl, os, socket.

A socket's path may have 107 bytes; it is reached through a descriptor of its directory, so that of the
directory may be of any length, and nobody can put another directory in its place on the way.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct

from guerillabackup import osfile
from guerillabackup.errors import ConfigError, GuerillaBackupError, StorageError
from guerillabackup.observe.interface import ServiceKind
from guerillabackup.osfile import PRIVATE, storage_errors

BACKLOG = 64
CONNECT_SECONDS = 10

_NOBODY = (errno.ECONNREFUSED, errno.ENOENT)


class NoServiceError(GuerillaBackupError):
    """No such service runs here."""


class ServiceSocket:
    """A listening socket in a directory, which is made; `close` removes it.

    One that a dead service left is replaced. Raises ConfigError for a directory that others can write, and
    for a socket at which somebody listens.
    """

    def __init__(self, directory: str, name: str) -> None:
        self._name = name
        with storage_errors(f"cannot make {directory}"):
            osfile.make_directories(directory, PRIVATE)
        self._path = os.path.join(directory, name)
        self._directory = osfile.open_directory(directory)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._status: os.stat_result | None = None
        try:
            check_directory(self._directory, directory)
            with storage_errors(f"cannot listen at {self._path}"):
                # Of two that start at once, one looks and listens before the other looks.
                fcntl.flock(self._directory, fcntl.LOCK_EX)
                self._replace_dead()
                # The new file has the mode of the socket: it is nobody else's for no moment.
                os.fchmod(self.listener.fileno(), 0o600)
                self.listener.bind(_path_below(self._directory, name))
                self._status = osfile.stat_file(self._directory, self._name)
                self.listener.listen(BACKLOG)
                fcntl.flock(self._directory, fcntl.LOCK_UN)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        return self._path

    def descriptors(self) -> tuple[int, int]:
        """All that a forked child must not keep."""
        return self.listener.fileno(), self._directory

    def accept(self) -> socket.socket | None:
        """A client of ours or root's, not blocking; None when there is none any more.

        Raises OSError when it cannot be had now, as when no descriptor is left.
        """
        while True:
            try:
                connection, _ = self.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return None
            connection.setblocking(False)
            if peer_user(connection) in (0, os.geteuid()):
                return connection
            connection.close()

    def close(self) -> None:
        """Stop listening; may be called twice."""
        if self._directory < 0:
            return
        with contextlib.suppress(OSError):
            found = osfile.stat_file(self._directory, self._name)
            if self._status is not None and found is not None and os.path.samestat(found, self._status):
                osfile.remove_file(self._directory, self._name)
        self.listener.close()
        os.close(self._directory)
        self._directory = -1

    def _replace_dead(self) -> None:
        found = osfile.stat_file(self._directory, self._name)
        if found is None:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ConfigError(f"{self._path} is not a socket: remove it")
        try:
            connect_below(self._directory, self._name).close()
        except OSError as error:
            if error.errno not in _NOBODY:
                raise
        else:
            raise ConfigError(f"another service listens at {self._path}; end it before this one is started")
        osfile.remove_file(self._directory, self._name)


def connect(directory: str, kind: ServiceKind) -> socket.socket:
    """A connection to the service whose socket is there; raises NoServiceError, StorageError, ConfigError."""
    path = os.path.join(directory, kind.socket_name)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _why_not(path, kind, error) from error
    try:
        check_directory(descriptor, directory)
        connection = connect_below(descriptor, kind.socket_name)
    except OSError as error:
        raise _why_not(path, kind, error) from error
    finally:
        os.close(descriptor)
    if peer_user(connection) not in (0, os.geteuid()):
        connection.close()
        raise ConfigError(f"{path}: whoever listens there is neither root nor you")
    return connection


def connect_below(directory_fd: int, name: str) -> socket.socket:
    """The same without any question; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A blocking one waits until there is room for it; one with a timeout of Python's would be refused.
        limit = struct.pack("ll", CONNECT_SECONDS, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(_path_below(directory_fd, name))
    except BaseException:
        connection.close()
        raise
    return connection


def check_directory(descriptor: int, path: str) -> None:
    """Raise ConfigError when others could put a socket of theirs there."""
    status = os.fstat(descriptor)
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: belongs to user {status.st_uid}, neither root nor you")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigError(
            f"{path}: others can write it (mode {stat.S_IMODE(status.st_mode):04o}); forbid that with: "
            f"chmod go-w {path}"
        )


def peer_user(connection: socket.socket) -> int:
    """The user at the other end, as it was when the connection was made."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])


def _path_below(directory_fd: int, name: str) -> str:
    return f"/proc/self/fd/{directory_fd}/{name}"


def _why_not(path: str, kind: ServiceKind, error: OSError) -> GuerillaBackupError:
    if error.errno in _NOBODY:
        return NoServiceError(f"no {kind.what} runs as a service: nobody listens at {path}; {kind.advice}")
    return StorageError(f"cannot reach the service at {path}: {error.strerror or error}")
