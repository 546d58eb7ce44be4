"""Dials a peer's UNIX socket. Joins sockets with the dialling connector."""

from guerillabackup.errors import ConnectionLostError
from guerillabackup.osfile_socket import NOBODY, connect
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.dial_connector import DialledConnection, Dialler


class SocketDialler(Dialler):
    """Reaches the peer that listens at a path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def describe(self) -> str:
        return self._path

    def dial(self) -> DialledConnection:
        try:
            connection = connect(self._path)
        except OSError as error:
            if error.errno in NOBODY:
                raise ConnectionLostError(f"nobody listens at {self._path}") from error
            raise ConnectionLostError(f"cannot connect to {self._path}: {error.strerror}") from error
        return _SocketConnection(Channel.of_socket(connection))


class _SocketConnection(DialledConnection):
    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def hurry(self) -> None:
        """There is nothing to wait for."""

    def release(self) -> None:
        """The channel was all there is."""
