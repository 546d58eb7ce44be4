"""UNIX sockets as files: who listens there, who may use them, who is at the other end.

A socket's path may have 107 bytes; it is reached through a descriptor of its directory, so that of the
directory may be of any length, and nobody can put another directory in its place on the way.
Touches: fcntl, os, select, socket.
"""

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
from dataclasses import dataclass

from guerillabackup import osfile
from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.osfile import PRIVATE, storage_errors

BACKLOG = 64
CONNECT_SECONDS = 10

MAX_NAME = 80
"""Bytes of a socket's file name, which stands in its address after the directory's descriptor."""
NOBODY = (errno.ECONNREFUSED, errno.ENOENT)
"""What connecting fails with where nobody listens."""


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Who may connect: the mode of the socket's file, and whom it belongs to; None leaves that alone."""

    mode: int = 0o600
    user_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who is at the other end, as it was when the connection was made."""

    process_id: int
    user_id: int
    group_id: int


class ListeningSocket:
    """A listening socket, not blocking; `close` removes its file.

    `interrupt` ends a wait of another thread.
    """

    def __init__(
        self, listener: socket.socket, directory_fd: int = -1, name: str = "", path: str = ""
    ) -> None:
        self.path = path or _name_of(listener)
        self.listener = listener
        self._directory = directory_fd
        self._name = name
        self._status = osfile.stat_file(directory_fd, name) if name else None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self.listener.setblocking(False)
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self.listener, select.POLLIN)

    def descriptors(self) -> tuple[int, ...]:
        """All that a forked child must not keep."""
        directory = (self._directory,) if self._name else ()
        return (self.listener.fileno(), self._wake, *directory)

    def accept(self, timeout: float | None = None) -> socket.socket | None:
        """Whoever connects within the time, or None: nobody did, or `interrupt` was called.

        Raises StorageError when a connection cannot be had now, as when no descriptor is left.
        """
        ready = [descriptor for descriptor, _ in self._poll.poll(None if timeout is None else timeout * 1000)]
        if self._wake in ready or not ready:
            return None
        try:
            return self.accept_now()
        except OSError as error:
            raise StorageError(f"no connection can be accepted at {self.path}: {error.strerror}") from error

    def accept_now(self) -> socket.socket | None:
        """Whoever waits at the door, None when nobody does; raises OSError as when no descriptor is left."""
        try:
            return self.listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return None

    def interrupt(self) -> None:
        """End every wait from now on; from any thread, and from the handler of a signal."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop listening, and remove the file unless another one is there by now. May be called twice."""
        if self.listener.fileno() < 0:
            return
        if self._name:
            with contextlib.suppress(OSError):
                found = osfile.stat_file(self._directory, self._name)
                if self._status is not None and found is not None and os.path.samestat(found, self._status):
                    osfile.remove_file(self._directory, self._name)
            os.close(self._directory)
        self.listener.close()
        os.close(self._wake)


def listen(path: str, access: SocketAccess | None = None) -> ListeningSocket:
    """Listen at a path, whose directory is made if need be; one that a dead service left is replaced.

    Raises ConfigError for a directory that others can write, for what is no socket, and for a socket at which
    somebody listens; StorageError for what else fails.
    """
    access = access or SocketAccess()
    parent, name = os.path.split(os.path.abspath(path))
    if (problem := _name_problem(path, name)) is not None:
        raise ConfigError(problem)
    with storage_errors(f"cannot make {parent}"):
        osfile.make_directories(parent, PRIVATE)
    directory = osfile.open_directory(parent)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        check_directory(directory, parent)
        with storage_errors(f"cannot listen at {path}"):
            # Of two that start at once, one looks and listens before the other looks.
            fcntl.flock(directory, fcntl.LOCK_EX)
            _replace_dead(directory, name, path)
            # The new file has the mode of the socket: it is nobody else's for no moment.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(_path_below(directory, name))
            _give_access(directory, name, access)
            listener.listen(BACKLOG)
            fcntl.flock(directory, fcntl.LOCK_UN)
        return ListeningSocket(listener, directory, name, path)
    except BaseException:
        listener.close()
        os.close(directory)
        raise


def connect(path: str) -> socket.socket:
    """A connection to who listens there; raises OSError, of `NOBODY` where nobody does."""
    parent, name = os.path.split(os.path.abspath(path))
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _connect_below(directory, name)
    finally:
        os.close(directory)


def connect_trusted(path: str) -> socket.socket:
    """The same, only to root or this very user: raises ConfigError for a stranger, or where one could be."""
    parent, name = os.path.split(os.path.abspath(path))
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check_directory(directory, parent)
        connection = _connect_below(directory, name)
    finally:
        os.close(directory)
    if not is_trusted(connection):
        connection.close()
        raise ConfigError(f"{path}: whoever listens there is neither root nor you")
    return connection


def is_trusted(connection: socket.socket) -> bool:
    """Whether root or this very user is at the other end."""
    return peer_credentials(connection).user_id in (0, os.geteuid())


def check_directory(descriptor: int, path: str) -> None:
    """Raise ConfigError when others could put a socket of theirs there."""
    status = os.fstat(descriptor)
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: belongs to user {status.st_uid}, neither root nor you")
    if (problem := _mode_problem(status, path)) is not None:
        raise ConfigError(problem)


def find_listen_problem(path: str) -> str | None:
    """Why nobody could `listen` there, as far as can be seen without trying; None when nothing is."""
    parent, name = os.path.split(os.path.abspath(path))
    if (problem := _name_problem(path, name)) is not None:
        return problem
    try:
        status = os.stat(parent)
        if not stat.S_ISDIR(status.st_mode):
            return f"{parent} is no directory"
        if (problem := _mode_problem(status, parent)) is not None:
            return problem
        found = os.lstat(path)
    except OSError:
        return None  # it is made, or whoever listens sees it
    return None if stat.S_ISSOCK(found.st_mode) else f"{path} is not a socket: remove it"


def _mode_problem(status: os.stat_result, path: str) -> str | None:
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o022:
        return None
    # That of a directory like /tmp is as it has to be.
    advice = "choose another directory" if mode & stat.S_ISVTX else f"forbid that with: chmod go-w {path}"
    return f"{path}: others can write it (mode {mode:04o}); {advice}"


def _name_problem(path: str, name: str) -> str | None:
    size = len(os.fsencode(name))
    return (
        f"cannot listen at {path}: a socket's name has {MAX_NAME} bytes at most, this one {size}"
        if size > MAX_NAME
        else None
    )


def peer_credentials(connection: socket.socket) -> PeerCredentials:
    """Who is at the other end of a UNIX socket."""
    size = struct.calcsize("3i")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return PeerCredentials(*struct.unpack("3i", found))


def _connect_below(directory: int, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A blocking one waits until there is room for it; one with a timeout of Python's would be refused.
        limit = struct.pack("ll", CONNECT_SECONDS, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(_path_below(directory, name))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    except BaseException:
        connection.close()
        raise
    return connection


def _give_access(directory: int, name: str, access: SocketAccess) -> None:
    """Nobody can connect yet; the directory is ours, so that the name is still what was just made."""
    if access.user_id is not None or access.group_id is not None:
        user = -1 if access.user_id is None else access.user_id
        group = -1 if access.group_id is None else access.group_id
        os.chown(name, user, group, dir_fd=directory, follow_symlinks=False)
    os.chmod(name, access.mode, dir_fd=directory)


def _replace_dead(directory: int, name: str, path: str) -> None:
    found = osfile.stat_file(directory, name)
    if found is None:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{path} is not a socket: remove it")
    try:
        _connect_below(directory, name).close()
    except OSError as error:
        if error.errno not in NOBODY:
            raise
    else:
        raise ConfigError(f"another service listens at {path}; end it before this one is started")
    osfile.remove_file(directory, name)


def _path_below(directory: int, name: str) -> str:
    return f"/proc/self/fd/{directory}/{name}"


def _name_of(listener: socket.socket) -> str:
    name = listener.getsockname()
    return name if isinstance(name, str) else repr(name)
