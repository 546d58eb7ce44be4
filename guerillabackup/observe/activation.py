"""Sockets that systemd listens at for a service, and hands over when it is started. Touches: os, socket."""

import os
import socket
from collections.abc import Mapping

from guerillabackup.errors import ConfigError

FIRST_DESCRIPTOR = 3
MAX_SOCKETS = 1000


def inherited_sockets(environment: Mapping[str, str]) -> dict[str, socket.socket]:
    """Listening UNIX sockets by the name that the socket unit gives them (FileDescriptorName=).

    Without a name it is the unit's own, with `.socket`. Empty when there are none. To be called once; the
    sockets are the caller's. Raises ConfigError for what is no listening UNIX stream socket, and for two of
    one name.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for index in range(min(int(count), MAX_SOCKETS)):
        name = names[index] if index < len(names) and names[index] else f"socket{index}"
        os.set_inheritable(FIRST_DESCRIPTOR + index, False)
        one = socket.socket(fileno=FIRST_DESCRIPTOR + index)
        is_usable = one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM
        if not is_usable or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigError(
                f"the socket {name} of systemd is no listening UNIX stream socket (ListenStream=)"
            )
        if name in found:
            raise ConfigError(f"systemd hands over two sockets named {name}: give each a FileDescriptorName=")
        found[name] = one
    return found
