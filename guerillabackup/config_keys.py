"""Every configuration key: its name, what it means, what its value must be, and its default if it has one.

`KEYS` is the one table: `config.py` checks by it, and the template is tested against it. No I/O.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

MAX_SHOWN_VALUE = 80
"""Characters of a wrong value that a message shows."""
MAX_STALL_TIMEOUT = 30 * 86400
MAX_WORKERS = 64


class NoDefault:
    """The type of NO_DEFAULT."""

    def __repr__(self) -> str:
        return "no default"


NO_DEFAULT: Final = NoDefault()

Checker = Callable[[Any], Sequence[str]]
"""Hands back what is wrong with a value, to be read behind the key's name; nothing when it is right."""


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    `example` is the text behind `NAME = ` in a line that could be added; `needed_by` says what does not start
    without the key, empty where nothing does. What is not acted on is accepted, so that configuration files
    of the original load, and warned of.
    """

    name: str
    meaning: str
    check: Checker
    example: str
    default: Any = NO_DEFAULT
    needed_by: str = ""
    is_acted_on: bool = True

    @property
    def line(self) -> str:
        """A line that sets it."""
        return f"{self.name} = {self.example}"


def show_value(value: object) -> str:
    """A value for a message: short, whatever it is and whatever its own repr does."""
    try:
        text = repr(value)
    except Exception:  # a value's own code may raise anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN_VALUE else f"{text[: MAX_SHOWN_VALUE - 1]}…"


def expect(what: str, is_right: Callable[[Any], bool]) -> Checker:
    """A checker with one condition: its message is `is VALUE, not WHAT`."""

    def check(value: Any) -> Sequence[str]:
        return () if is_right(value) else (f"is {show_value(value)}, not {what}",)

    return check


def optional(check: Checker) -> Checker:
    """A checker that lets None pass too."""
    return lambda value: () if value is None else check(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and value.isprintable()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable()


def _is_element(value: Any) -> bool:
    # By its method: elements written for the original are no subclasses of ours.
    names = ("get_execution_instance", "getExecutionInstance")
    return not isinstance(value, type) and any(hasattr(value, name) for name in names)


def _is_condition(value: Any) -> bool:
    # By its method: conditions written for the original are no subclasses of ours.
    return not isinstance(value, type) and callable(getattr(value, "evaluate", None))


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_mode(needed: int, allowed: int) -> Callable[[Any], bool]:
    def is_right(value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value & needed == needed and value & ~allowed == 0

    return is_right


def _is_account(value: Any) -> bool:
    return _is_text(value) or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1
    )


def check_trusted_keys(value: Any) -> Sequence[str]:
    """GeneralTrustedSigningKeys: what a pattern or a fingerprint of it does wrong."""
    if not isinstance(value, dict):
        return (f"is {show_value(value)}, not a dict of source pattern: list of fingerprints",)
    problems = []
    for pattern, fingerprints in value.items():
        where = f"has for {show_value(pattern)}"
        if not isinstance(pattern, str):
            problems.append(f"has the pattern {show_value(pattern)}, not a text")
        else:
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                problems.append(f"has the pattern {show_value(pattern)}, not a regular expression: {error}")
        if not isinstance(fingerprints, list | tuple):
            problems.append(f"{where} {show_value(fingerprints)}, not a list of fingerprints")
            continue
        problems += [
            f"{where} {show_value(item)}, not a fingerprint of 40 hexadecimal digits"
            for item in fingerprints
            if not isinstance(item, str) or re.fullmatch("[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", item) is None
        ]
    return problems


_path = expect("an absolute path", _is_path)
_flag = expect("True or False", lambda value: isinstance(value, bool))
_text = expect("a text of 1 to 512 printable characters", _is_text)
_element = expect("a pipeline element (an instance, not a class)", _is_element)
_class = expect("a class", lambda value: isinstance(value, type))
_list = expect("a list", lambda value: isinstance(value, list | tuple))
_condition = expect("a condition (an object with evaluate)", _is_condition)
_account = expect("a name or a number of 0 to 4294967294", _is_account)

_KEYS = (
    Key(
        "GeneralPersistencyBaseDir",
        "Directory in which units and agents keep what they must remember.",
        _path,
        "'/var/lib/guerillabackup/state'",
        needed_by="the generator",
    ),
    Key(
        "GeneralRuntimeDataDir",
        "Directory for sockets and the like, which a reboot may empty.",
        _path,
        "'/run/guerillabackup'",
        needed_by="the generator and the transfer service",
    ),
    Key(
        "GeneralDefaultCompressionElement",
        "Pipeline element that compresses the data of every unit; None: no compression.",
        optional(_element),
        "guerillabackup.CompressionPipelineElement('zstd')",
        default=None,
    ),
    Key(
        "GeneralDefaultEncryptionElement",
        "Pipeline element that encrypts the data of every unit; None: no encryption.",
        optional(_element),
        "guerillabackup.GpgEncryptionPipelineElement('backup')",
        default=None,
    ),
    Key(
        "GeneralDebugTestModeFlag",
        "Run everything, store nothing.",
        _flag,
        "False",
        default=False,
    ),
    Key(
        "GeneratorWorkers",
        "How many units the generator's service runs at once.",
        expect(
            f"a number of 1 to {MAX_WORKERS}",
            lambda value: isinstance(value, int) and _is_number(value, 1, MAX_WORKERS),
        ),
        "4",
        default=4,
    ),
    Key(
        "GeneratorSinkClass",
        "Class of the sink that new elements go to; None: the storage in DefaultFileSystemSinkBaseDir.",
        optional(_class),
        "guerillabackup.DefaultFileSystemSink",
        default=None,
    ),
    Key(
        "DefaultFileSystemSinkBaseDir",
        "Directory of the storage that new elements go to.",
        _path,
        "'/var/lib/guerillabackup/data'",
        needed_by="the generator, element and restore",
    ),
    Key(
        "DefaultUnitRunCondition",
        "Condition that must hold before a unit that is due is run; None: none.",
        optional(_condition),
        "guerillabackup.MinPowerOnTimeCondition(600)",
        default=None,
    ),
    Key(
        "TransferServiceStorageBaseDir",
        "Directory of the storage the transfer service uses; None: DefaultFileSystemSinkBaseDir.",
        optional(_path),
        "'/var/spool/guerillabackup/transfer'",
        default=None,
        is_acted_on=False,
    ),
    Key(
        "TransferReceiverPolicyClass",
        "Class of the policy that decides what is received; None: nothing is.",
        optional(_class),
        "None",
        default=None,
        is_acted_on=False,
    ),
    Key(
        "TransferReceiverPolicyInitArgs",
        "List of further arguments for that class.",
        optional(_list),
        "None",
        default=None,
        is_acted_on=False,
    ),
    Key(
        "TransferSenderPolicyClass",
        "Class of the policy that decides what is sent; None: nothing is.",
        optional(_class),
        "None",
        default=None,
        is_acted_on=False,
    ),
    Key(
        "TransferSenderPolicyInitArgs",
        "List of further arguments for that class.",
        optional(_list),
        "[False]",
        default=None,
        is_acted_on=False,
    ),
    Key(
        "GeneralElementsMoveOn",
        "Whether something moves elements on; None: yes where TransferSenderPolicyClass is set.",
        optional(_flag),
        "True",
        default=None,
    ),
    Key(
        "GeneralSigningKey",
        "Name or fingerprint of the key in keys/ that signs every element's metadata; None: unsigned.",
        optional(_text),
        "'signing'",
        default=None,
    ),
    Key(
        "GeneralSignData",
        "Sign the stored data itself too, which hashes it once more.",
        _flag,
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
        "Whether an unsigned element is an integrity error; None: yes where a key to sign or trust is set.",
        optional(_flag),
        "True",
        default=None,
    ),
    Key(
        "GeneralPrivateKeyringDir",
        "Directory of the keyring with the keys that decrypt, on hosts that restore; None: there is none.",
        optional(_path),
        "'/root/guerillabackup-private'",
        default=None,
    ),
    Key(
        "StorageDirectoryMode",
        "Mode of new directories of a storage.",
        expect("a mode of 0o700 to 0o2775 that its owner can use", _is_mode(0o700, 0o2775)),
        "0o700",
        default=0o700,
    ),
    Key(
        "StorageFileMode",
        "Mode of new files of a storage.",
        expect("a mode of 0o600 to 0o664 that its owner can use", _is_mode(0o600, 0o664)),
        "0o600",
        default=0o600,
    ),
    Key(
        "StorageOwner",
        "User, by name or number, whom new files and directories of a storage belong to; None: who runs us.",
        optional(_account),
        "None",
        default=None,
    ),
    Key(
        "StorageGroup",
        "Group, by name or number, whom they belong to; None: the group of who runs us.",
        optional(_account),
        "None",
        default=None,
    ),
    Key(
        "PipelineStallTimeout",
        "Seconds after which a pipeline that moves no byte and uses no processor is given up.",
        expect(
            f"seconds from 1 to {MAX_STALL_TIMEOUT}", lambda value: _is_number(value, 1, MAX_STALL_TIMEOUT)
        ),
        "3600",
        default=3600,
    ),
)

KEYS: Mapping[str, Key] = MappingProxyType({key.name: key for key in _KEYS})


def elements_move_on(values: Mapping[str, Any]) -> bool:
    """Whether elements that were stored here may be gone from the storage, moved on by another program."""
    said = values.get("GeneralElementsMoveOn")
    return bool(said) if said is not None else values.get("TransferSenderPolicyClass") is not None
