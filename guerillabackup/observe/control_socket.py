"""The socket of a service: where it is, who may use it, that there is one. Touches: os, socket."""

import os
import socket

from guerillabackup.errors import GuerillaBackupError, StorageError
from guerillabackup.observe.interface import ServiceKind
from guerillabackup.osfile_socket import NOBODY, connect_trusted, is_trusted, listen


class NoServiceError(GuerillaBackupError):
    """No such service runs here."""


class ServiceSocket:
    """A listening socket in a directory, which is made; `close` removes it.

    One that a dead service left is replaced. Raises ConfigError for a directory that others can write, and
    for a socket at which somebody listens.
    """

    def __init__(self, directory: str, name: str) -> None:
        self._socket = listen(os.path.join(directory, name))

    @property
    def path(self) -> str:
        return self._socket.path

    @property
    def listener(self) -> socket.socket:
        """What to poll for clients."""
        return self._socket.listener

    def descriptors(self) -> tuple[int, ...]:
        """All that a forked child must not keep."""
        return self._socket.descriptors()

    def accept(self) -> socket.socket | None:
        """A client of ours or root's, not blocking; None when there is none any more.

        Raises OSError when it cannot be had now, as when no descriptor is left.
        """
        while (connection := self._socket.accept_now()) is not None:
            connection.setblocking(False)
            if is_trusted(connection):
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Stop listening; may be called twice."""
        self._socket.close()


def connect(directory: str, kind: ServiceKind) -> socket.socket:
    """A connection to the service whose socket is there; raises NoServiceError, StorageError, ConfigError."""
    path = os.path.join(directory, kind.socket_name)
    try:
        return connect_trusted(path)
    except OSError as error:
        if error.errno in NOBODY:
            text = f"{kind.absence}: nobody listens at {path}; {kind.advice}"
            raise NoServiceError(text) from error
        raise StorageError(f"cannot reach the service at {path}: {error.strerror or error}") from error
