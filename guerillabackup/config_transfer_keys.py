"""The configuration keys of the transfer service. No I/O.

What one peer's settings in TransferPeers mean stands in `transfer/peer_settings.py`, and what the policies'
settings mean beside each policy.
"""

from collections.abc import Sequence
from typing import Any

from guerillabackup.config_key import (
    ACCOUNT,
    CLASS,
    FLAG,
    LIST,
    PATH,
    Key,
    expect,
    is_mode,
    is_number,
    optional,
    show_value,
)

MAX_CONNECTIONS = 1024
MAX_RATE = 1 << 50
"""Bytes a second."""
MAX_SHUTDOWN_SECONDS = 86400


_CONNECTIONS = expect(
    f"a number of 1 to {MAX_CONNECTIONS}",
    lambda value: isinstance(value, int) and is_number(value, 1, MAX_CONNECTIONS),
)


def _check_peers(value: Any) -> Sequence[str]:
    if not isinstance(value, dict):
        return (f"is {show_value(value)}, not a dict of peer name: dict of settings",)
    return [
        f"has for {show_value(name)} {show_value(settings)}, not a dict of settings"
        for name, settings in value.items()
        if not isinstance(settings, dict)
    ]


TRANSFER_KEYS = (
    Key(
        "TransferServiceStorageBaseDir",
        "Directory of the storage the transfer service uses; None: DefaultFileSystemSinkBaseDir.",
        optional(PATH),
        "'/var/spool/guerillabackup/transfer'",
        default=None,
    ),
    Key(
        "TransferReceiverPolicyClass",
        "Class of the policy that decides what is received; None: nothing is.",
        optional(CLASS),
        "None",
        default=None,
    ),
    Key(
        "TransferReceiverPolicyInitArgs",
        "List of further arguments for that class.",
        optional(LIST),
        "None",
        default=None,
    ),
    Key(
        "TransferSenderPolicyClass",
        "Class of the policy that decides what is sent; None: nothing is.",
        optional(CLASS),
        "None",
        default=None,
    ),
    Key(
        "TransferSenderPolicyInitArgs",
        "List of further arguments for that class.",
        optional(LIST),
        "[False]",
        default=None,
    ),
    Key(
        "TransferSenderSettings",
        "Dict: which elements are offered, in what order, and what becomes of them; see doc/Policies.txt.",
        optional(expect("a dict of settings", lambda value: isinstance(value, dict))),
        "{'Order': 'priority'}",
        default=None,
    ),
    Key(
        "TransferReceiverSettings",
        "Dict: which elements are taken, and what is checked of them; see doc/Policies.txt.",
        optional(expect("a dict of settings", lambda value: isinstance(value, dict))),
        "{'MaxElementSize': 10 ** 12}",
        default=None,
    ),
    Key(
        "TransferPeers",
        "Dict of peer name: dict of settings; for peers that are dialled or have a socket of their own.",
        _check_peers,
        "{'alpha': {'Connect': ['ssh', '-T', 'backup@alpha'], 'Interval': 3600}}",
        default={},
    ),
    Key(
        "TransferSocket",
        "Whether the service listens on transfer.socket in GeneralRuntimeDataDir, for whoever can open it.",
        FLAG,
        "True",
        default=True,
    ),
    Key(
        "TransferSocketMode",
        "Mode of the sockets that the transfer service listens on.",
        expect("a mode of 0o600 to 0o666", is_mode(0o600, 0o666)),
        "0o600",
        default=0o600,
    ),
    Key(
        "TransferSocketOwner",
        "User, by name or number, whom they belong to; None: who runs the service.",
        optional(ACCOUNT),
        "None",
        default=None,
    ),
    Key(
        "TransferSocketGroup",
        "Group, by name or number, whom they belong to; None: the group of who runs the service.",
        optional(ACCOUNT),
        "None",
        default=None,
    ),
    Key(
        "TransferMaxConnections",
        "How many connections the transfer service runs at once.",
        _CONNECTIONS,
        "32",
        default=32,
    ),
    Key(
        "TransferPeerMaxConnections",
        "How many of those one peer has at most; None: a quarter.",
        optional(_CONNECTIONS),
        "4",
        default=None,
    ),
    Key(
        "TransferBandwidthLimit",
        "Bytes a second that all connections together receive at most, and send at most; None: no limit.",
        optional(
            expect(
                f"a number of 1 to {MAX_RATE} bytes a second",
                lambda value: isinstance(value, int) and is_number(value, 1, MAX_RATE),
            )
        ),
        "10 * 1024 ** 2",
        default=None,
    ),
    Key(
        "TransferShutdownTime",
        "Seconds that running transfers have to end in order when the service is told to end.",
        expect(
            f"seconds from 0 to {MAX_SHUTDOWN_SECONDS}",
            lambda value: is_number(value, 0, MAX_SHUTDOWN_SECONDS),
        ),
        "10",
        default=10,
    ),
)
