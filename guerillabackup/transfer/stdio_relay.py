"""Hands this process's stdin and stdout to the running service, as the connection of an agent.

The service uses the descriptors themselves, so that no byte is copied here. This process only waits: sshd
ends a session together with its command. Touches: os, socket.
"""

import os
import socket
import stat
import struct

from guerillabackup.errors import ConnectionLostError, RemoteProtocolError, StorageError
from guerillabackup.osfile_socket import NOBODY, connect_trusted
from guerillabackup.transfer.stdio_messages import MAX_LINE, StdioRequest, parse_end

ANSWER_SECONDS = 30.0


def relay_stdio(socket_path: str, agent_id: str, input_fd: int = 0, output_fd: int = 1) -> None:
    """Let the service talk to the peer at these descriptors; returns when both sides agreed to the end.

    Raises StorageError when no service can be had there, ConfigError when it is a stranger's, and
    ConnectionLostError with the service's words when the connection ended in another way.
    """
    try:
        service = connect_trusted(socket_path)
    except OSError as error:
        if error.errno in NOBODY:
            raise StorageError(f"no transfer service runs: nobody listens at {socket_path}") from error
        raise StorageError(f"cannot reach the service at {socket_path}: {error.strerror}") from error
    with service:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(ANSWER_SECONDS), 0))
        _require_peer(input_fd, "input")
        _require_peer(output_fd, "output")
        try:
            socket.send_fds(service, [StdioRequest(agent_id).encode()], [input_fd, output_fd])
            line = _receive_line(service)
        except OSError as error:
            raise ConnectionLostError(f"the transfer service went away: {error.strerror}") from error
    if not line:
        raise ConnectionLostError("the transfer service went away")
    end = parse_end(line)
    if end.error is not None:
        raise ConnectionLostError(end.error)


def _require_peer(descriptor: int, name: str) -> None:
    """Raise ConnectionLostError where nobody can be; what was closed leads to nowhere by now."""
    found, nowhere = os.fstat(descriptor), os.stat(os.devnull)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == nowhere.st_rdev:
        raise ConnectionLostError(
            f"standard {name}, at which the peer should be, is closed or {os.devnull}: "
            "start this by sshd or socat"
        )


def _receive_line(service: socket.socket) -> bytes:
    """The service's one line, after as long as the connection lasts; b"" when it went away."""
    line = b""
    while not line.endswith(b"\n"):
        data = service.recv(MAX_LINE)
        if not data:
            return b""
        line += data
        if len(line) > MAX_LINE:
            raise RemoteProtocolError(f"a line of the service of more than {MAX_LINE} bytes")
    return line
