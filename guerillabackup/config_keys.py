"""Every configuration key: its name, what it means, what its value must be, and its default if it has one.

`KEYS` is the one table: `config.py` checks by it, and the template is tested against it. No I/O.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from guerillabackup.config_key import (
    ACCOUNT,
    CLASS,
    CONDITION,
    ELEMENT,
    FLAG,
    PATH,
    TEXT,
    Key,
    check_trusted_keys,
    expect,
    is_mode,
    is_number,
    optional,
)
from guerillabackup.config_transfer_keys import TRANSFER_KEYS

MAX_STALL_TIMEOUT = 30 * 86400
MAX_WORKERS = 64

_KEYS = (
    Key(
        "GeneralPersistencyBaseDir",
        "Directory in which units and agents keep what they must remember.",
        PATH,
        "'/var/lib/guerillabackup/state'",
        needed_by="the generator",
    ),
    Key(
        "GeneralRuntimeDataDir",
        "Directory for sockets and the like, which a reboot may empty.",
        PATH,
        "'/run/guerillabackup'",
        needed_by="the generator and the transfer service",
    ),
    Key(
        "GeneralDefaultCompressionElement",
        "Pipeline element that compresses the data of every unit; None: no compression.",
        optional(ELEMENT),
        "guerillabackup.CompressionPipelineElement('zstd')",
        default=None,
    ),
    Key(
        "GeneralDefaultEncryptionElement",
        "Pipeline element that encrypts the data of every unit; None: no encryption.",
        optional(ELEMENT),
        "guerillabackup.GpgEncryptionPipelineElement('backup')",
        default=None,
    ),
    Key(
        "GeneralDebugTestModeFlag",
        "Run everything, store nothing.",
        FLAG,
        "False",
        default=False,
    ),
    Key(
        "GeneratorWorkers",
        "How many units the generator's service runs at once.",
        expect(
            f"a number of 1 to {MAX_WORKERS}",
            lambda value: isinstance(value, int) and is_number(value, 1, MAX_WORKERS),
        ),
        "4",
        default=4,
    ),
    Key(
        "GeneratorSinkClass",
        "Class of the sink that new elements go to; None: the storage in DefaultFileSystemSinkBaseDir.",
        optional(CLASS),
        "guerillabackup.DefaultFileSystemSink",
        default=None,
    ),
    Key(
        "DefaultFileSystemSinkBaseDir",
        "Directory of the storage that new elements go to.",
        PATH,
        "'/var/lib/guerillabackup/data'",
        needed_by="the generator, element and restore",
    ),
    Key(
        "DefaultUnitRunCondition",
        "Condition that must hold before a unit that is due is run; None: none.",
        optional(CONDITION),
        "guerillabackup.MinPowerOnTimeCondition(600)",
        default=None,
    ),
    *TRANSFER_KEYS,
    Key(
        "GeneralElementsMoveOn",
        "Whether something moves elements on; None: yes where a sender policy is set that deletes.",
        optional(FLAG),
        "True",
        default=None,
    ),
    Key(
        "GeneralSigningKey",
        "Name or fingerprint of the key in keys/ that signs every element's metadata; None: unsigned.",
        optional(TEXT),
        "'signing'",
        default=None,
    ),
    Key(
        "GeneralSignData",
        "Sign the stored data itself too, which hashes it once more.",
        FLAG,
        "False",
        default=False,
    ),
    Key(
        "GeneralTrustedSigningKeys",
        "Dict of source pattern (a regular expression for the whole source URL) to the list of fingerprints "
        "that may sign it; None: every key in keys/ that can sign.",
        optional(check_trusted_keys),
        "{'/myhost/.*': ['0123456789ABCDEF0123456789ABCDEF01234567']}",
        default=None,
    ),
    Key(
        "GeneralRequireSignatures",
        "Whether an unsigned element is refused, received ones too; None: where keys that sign are known.",
        optional(FLAG),
        "True",
        default=None,
    ),
    Key(
        "GeneralPrivateKeyringDir",
        "Directory of the keyring with the keys that decrypt, on hosts that restore; None: there is none.",
        optional(PATH),
        "'/root/guerillabackup-private'",
        default=None,
    ),
    Key(
        "StorageDirectoryMode",
        "Mode of new directories of a storage.",
        expect("a mode of 0o700 to 0o2775 that its owner can use", is_mode(0o700, 0o2775)),
        "0o700",
        default=0o700,
    ),
    Key(
        "StorageFileMode",
        "Mode of new files of a storage.",
        expect("a mode of 0o600 to 0o664 that its owner can use", is_mode(0o600, 0o664)),
        "0o600",
        default=0o600,
    ),
    Key(
        "StorageOwner",
        "User, by name or number, whom new files and directories of a storage belong to; None: who runs us.",
        optional(ACCOUNT),
        "None",
        default=None,
    ),
    Key(
        "StorageGroup",
        "Group, by name or number, whom they belong to; None: the group of who runs us.",
        optional(ACCOUNT),
        "None",
        default=None,
    ),
    Key(
        "PipelineStallTimeout",
        "Seconds after which a pipeline that moves no byte and uses no processor is given up.",
        expect(
            f"seconds from 1 to {MAX_STALL_TIMEOUT}", lambda value: is_number(value, 1, MAX_STALL_TIMEOUT)
        ),
        "3600",
        default=3600,
    ),
)

KEYS: Mapping[str, Key] = MappingProxyType({key.name: key for key in _KEYS})


def elements_move_on(values: Mapping[str, Any]) -> bool:
    """Whether elements that were stored here may be gone from the storage, moved on by another program.

    Where nothing is said: whether a sender policy, for all peers or one, takes them out of the storage that
    the generator stores into. One that only marks what it sent does not.
    """
    said = values.get("GeneralElementsMoveOn")
    if said is not None:
        return bool(said)
    peers = values.get("TransferPeers") or {}
    own = values.get("DefaultFileSystemSinkBaseDir")
    return any(_moves_on(values, peer, own) for peer in ({}, *peers.values()))


def gaps_are_meant(values: Mapping[str, Any], directory: str) -> bool:
    """Whether elements may be missing in the middle of a chain in a storage: moved on, or never taken.

    Where GeneralElementsMoveOn says nothing: whether a sender policy takes them out of it, or a receiver is
    told to take some elements of a source and not others.
    """
    said = values.get("GeneralElementsMoveOn")
    if said is not None:
        return bool(said)
    peers = ({}, *(values.get("TransferPeers") or {}).values())
    return any(_moves_on(values, peer, directory) or _selects(values, peer, directory) for peer in peers)


def elements_leave(values: Mapping[str, Any], directory: str) -> bool:
    """Whether elements are moved on from the storage in a directory, which is one of this host's."""
    said = values.get("GeneralElementsMoveOn")
    peers = ({}, *(values.get("TransferPeers") or {}).values())
    if said is None:
        return any(_moves_on(values, peer, directory) for peer in peers)
    own = str(values.get("DefaultFileSystemSinkBaseDir")).rstrip("/")
    is_ours = own == directory.rstrip("/") or any(_is_its_storage(values, peer, directory) for peer in peers)
    return bool(said) and is_ours


_LEAVES_OUT = (
    "BackupType",
    "MaxAge",
    "HandlingPolicyHas",
    "HandlingPolicyLacks",
    "MaxElementSize",
    "QuerySince",
)
"""The names in TransferReceiverSettings that let elements of a source be left out between others."""


def _setting(values: Mapping[str, Any], peer: Mapping[str, Any], name: str) -> Any:
    return peer[name] if name in peer else values.get(f"Transfer{name}")


def _is_its_storage(values: Mapping[str, Any], peer: Mapping[str, Any], directory: Any) -> bool:
    own = values.get("DefaultFileSystemSinkBaseDir")
    storage = peer.get("StorageBaseDir") or values.get("TransferServiceStorageBaseDir") or own
    return str(storage).rstrip("/") == str(directory).rstrip("/")


def _selects(values: Mapping[str, Any], peer: Mapping[str, Any], directory: str) -> bool:
    """Whether what comes from a peer, or from any ({}), is not all of a source."""
    settings = _setting(values, peer, "ReceiverSettings") or {}
    return _is_its_storage(values, peer, directory) and any(settings.get(name) for name in _LEAVES_OUT)


def _moves_on(values: Mapping[str, Any], peer: Mapping[str, Any], directory: Any) -> bool:
    """Whether what is sent to a peer, or to any ({}), goes from the storage in that directory."""
    policy_class = _setting(values, peer, "SenderPolicyClass")
    if policy_class is None or not _is_its_storage(values, peer, directory):
        return False
    # A class of a site's own may take its arguments for anything.
    is_known = getattr(policy_class, "__name__", "") == "SenderMoveDataTransferPolicy"
    only_marks = (_setting(values, peer, "SenderPolicyInitArgs") or [False])[0] is True or (
        (_setting(values, peer, "SenderSettings") or {}).get("MarkAsDoneOnly") is True
    )
    return not (is_known and only_marks)
