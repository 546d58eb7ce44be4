"""What TransferPeers says of each peer: how it is reached, who it is, and what it may do.

`SETTINGS` is the one table of the names. What a peer does not say is as for all of them. No I/O.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from guerillabackup.errors import ConfigError

PEERS_KEY = "TransferPeers"
MAX_NAME_LENGTH = 64
DEFAULT_INTERVAL = 3600.0
"""Seconds between the end of one connection and the next time a peer is dialled."""
MAX_INTERVAL = 366 * 86400
MAX_ARGUMENTS = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Unset:
    """The type of UNSET."""

    def __repr__(self) -> str:
        return "as for all peers"


UNSET = _Unset()


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer. A value that is UNSET is that of the service."""

    name: str
    """The agent id it gets from the connector."""
    listen: str | None = None
    """Path of a socket that is its own."""
    connect: str | tuple[str, ...] | None = None
    """Path of a socket to dial, or a command whose standard input and output are the peer."""
    interval: float = DEFAULT_INTERVAL
    stdio: bool = False
    """Whether `transfer stdio --agent NAME` stands for it."""
    accepted_sources: tuple[str, ...] = ("*",)
    offered_sources: tuple[str, ...] = ("*",)
    max_element_size: int | None = None
    accepts_bare_acknowledgement: bool = True
    max_connections: int | None = None
    storage: str | None = None
    """Directory of a storage of its own, for hosts whose source URLs are not unique."""
    sender_policy: Any = UNSET
    """The class, or None: nothing is sent to it."""
    sender_init_args: Any = UNSET
    sender_settings: Any = UNSET
    receiver_policy: Any = UNSET
    receiver_init_args: Any = UNSET
    receiver_settings: Any = UNSET
    socket_mode: Any = UNSET
    socket_owner: Any = UNSET
    socket_group: Any = UNSET

    @property
    def is_reachable(self) -> bool:
        """Whether there is a way to it or from it."""
        return self.listen is not None or self.connect is not None or self.stdio


def parse_peers(value: Mapping[str, Any]) -> dict[str, PeerSettings]:
    """The peers of a configuration, by name; ConfigError tells all problems at once."""
    problems: list[str] = []
    peers: dict[str, PeerSettings] = {}
    for name, settings in value.items():
        peer = _parse_peer(name, settings, problems)
        if peer is not None:
            peers[name] = peer
    _check_sockets(peers, problems)
    if problems:
        raise ConfigError(*problems)
    return peers


def _parse_peer(name: Any, settings: Any, problems: list[str]) -> PeerSettings | None:
    where = f"{PEERS_KEY} has for {name!r}"
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        problems.append(
            f"{PEERS_KEY} has the peer {name!r}, not a name of 1 to {MAX_NAME_LENGTH} characters "
            "A-Z a-z 0-9 . _ - that begins with a letter or a digit"
        )
        return None
    if not isinstance(settings, Mapping):
        problems.append(f"{where} {settings!r}, not a dict of settings")
        return None
    values: dict[str, Any] = {}
    count = len(problems)
    for key, value in settings.items():
        if key not in SETTINGS:
            problems.append(f"{where} the setting {key!r}, which there is not{_suggest(key)}")
            continue
        attribute, parse = SETTINGS[key]
        try:
            values[attribute] = parse(value)
        except ValueError as error:
            problems.append(f"{where} {key} {value!r}, not {error}")
    if len(problems) > count:
        return None
    peer = PeerSettings(name, **values)
    if not peer.is_reachable:
        problems.append(f"{where} none of Listen, Connect and Stdio: nothing could reach it")
        return None
    return peer


def _check_sockets(peers: Mapping[str, PeerSettings], problems: list[str]) -> None:
    seen: dict[str, str] = {}
    for peer in peers.values():
        if peer.listen is not None:
            other = seen.setdefault(peer.listen, peer.name)
            if other != peer.name:
                problems.append(f"{PEERS_KEY} has one socket for {other!r} and {peer.name!r}: {peer.listen}")


def _suggest(name: object) -> str:
    close = difflib.get_close_matches(str(name), list(SETTINGS), 1)
    return f"; is {close[0]} meant" if close else f": there are {', '.join(SETTINGS)}"


def _path(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/") and value.isprintable():
        return value
    raise ValueError("an absolute path")


def _connect(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple):
        if (
            0 < len(value) <= MAX_ARGUMENTS
            and all(isinstance(item, str) and "\0" not in item for item in value)
            and value[0]
        ):
            return tuple(value)
    elif isinstance(value, str) and value.startswith("/") and value.isprintable():
        return value
    raise ValueError("the absolute path of a socket, or a command as a list of texts")


def _interval(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and 1 <= value <= MAX_INTERVAL:
        return float(value)
    raise ValueError(f"seconds from 1 to {MAX_INTERVAL}")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("True or False")


def _patterns(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError("a list of patterns of source URLs")


def _size_of(unit: str) -> Callable[[Any], int | None]:
    def parse(value: Any) -> int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            return value
        raise ValueError(f"a number of {unit}, or None")

    return parse


def _class(value: Any) -> type | None:
    if value is None or isinstance(value, type):
        return value
    raise ValueError("a class, or None")


def _list(value: Any) -> Any:
    if value is None or isinstance(value, list | tuple):
        return value
    raise ValueError("a list, or None")


def _dict(value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    raise ValueError("a dict of settings, or None")


def _mode(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value & 0o600 == 0o600 and value <= 0o666:
        return value
    raise ValueError("a mode of 0o600 to 0o666")


def _account(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    raise ValueError("a name or a number of 0 to 4294967294")


SETTINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "Listen": ("listen", _path),
        "Connect": ("connect", _connect),
        "Interval": ("interval", _interval),
        "Stdio": ("stdio", _flag),
        "AcceptSources": ("accepted_sources", _patterns),
        "OfferSources": ("offered_sources", _patterns),
        "MaxElementSize": ("max_element_size", _size_of("bytes")),
        "AcceptBareAcknowledgement": ("accepts_bare_acknowledgement", _flag),
        "MaxConnections": ("max_connections", _size_of("connections")),
        "StorageBaseDir": ("storage", _path),
        "SenderPolicyClass": ("sender_policy", _class),
        "SenderPolicyInitArgs": ("sender_init_args", _list),
        "SenderSettings": ("sender_settings", _dict),
        "ReceiverPolicyClass": ("receiver_policy", _class),
        "ReceiverPolicyInitArgs": ("receiver_init_args", _list),
        "ReceiverSettings": ("receiver_settings", _dict),
        "SocketMode": ("socket_mode", _mode),
        "SocketOwner": ("socket_owner", _account),
        "SocketGroup": ("socket_group", _account),
    }
)
"""Name in the configuration -> the field it is, and what makes its value (ValueError: what it should be)."""
