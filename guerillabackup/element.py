"""Source URLs, element ids and the metadata of elements: values that cannot be wrong once they exist. No I/O.

The formats are those of GuerillaBackup 0.5.0. `METAINFO_KEYS` is the one table of its metadata keys.
"""

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, total_ordering
from types import MappingProxyType
from typing import Any

from guerillabackup.element_json import copy_value, decode_binary, dump_object, load_object
from guerillabackup.errors import ElementIdError, MetainfoError, SourceUrlError

MAX_SOURCE_URL_LENGTH = 2048
"""Characters of a whole source URL."""
MAX_COMPONENT_LENGTH = 230
"""Characters of one component: with timestamp, type and suffix its file name fits into 255 bytes."""
MAX_METAINFO_SIZE = 512 * 1024
"""Bytes of serialized metadata: a wire frame carries it quoted within 1 MiB."""
MAX_TIMESTAMP = 253402300799
"""The last second of the year 9999: later ones have no 14 digit form."""
MAX_SERIAL = 999_999_999
DIGEST_SIZE = 64
MEMBERS_SUFFIX = ".members"
"""A source's companion source, whose elements list the members of the source's elements."""
CONTENT_TYPE_KEY = "ContentType"
"""Metadata key of elements whose content is a plain stream, never to be unpacked; archives do not have it."""
COMMAND_OUTPUT = "command-output"
LOG_FILE = "log-file"
"""Values of that key: what a command wrote, and a log file that is complete."""
UNREADABLE_KEY = "Unreadable"
"""How many names of a source its backup could not read, at least."""
CONTENT_LAYERS_KEY = "ContentLayers"
"""Metadata key of such elements: how many steps packed the content, so that no more are undone."""
MAX_CONTENT_LAYERS = 16

_COMPONENT = re.compile(r"[A-Za-z0-9%._-]+")
_ELEMENT_NAME = re.compile(r"([0-9]{14})(0|[1-9][0-9]{0,8})?-(.+)-(full|inc)")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_]{1,32}")
_CONTENT_TYPE = re.compile(r"[a-z0-9-]{1,64}")
_HANDLING_POLICY = re.compile(r"[A-Za-z0-9 ./-]+")


class BackupType(enum.Enum):
    """Whether an element stands for itself or needs the ones before it."""

    FULL = "full"
    INC = "inc"


@total_ordering
@dataclass(frozen=True, slots=True)
class SourceUrl:
    """Names one source: `/` and components of `[A-Za-z0-9%._-]` joined by `/`.

    Raises SourceUrlError for anything else.
    """

    text: str

    def __post_init__(self) -> None:
        text = self.text
        if not isinstance(text, str):
            raise SourceUrlError(f"source URL {text!r} is not a text")
        if len(text) > MAX_SOURCE_URL_LENGTH:
            raise SourceUrlError(f"source URL of {len(text)} characters, limit {MAX_SOURCE_URL_LENGTH}")
        if not text.startswith("/"):
            raise SourceUrlError(f"source URL {text!r} does not start with '/'")
        for component in text[1:].split("/"):
            _check_component(component, text)

    @property
    def components(self) -> tuple[str, ...]:
        """The names between the slashes, at least one."""
        return tuple(self.text[1:].split("/"))

    @property
    def directory(self) -> tuple[str, ...]:
        """The components but the last: the folder its element files are in."""
        return self.components[:-1]

    @property
    def name(self) -> str:
        """The last component."""
        return self.text.rsplit("/", 1)[1]

    @property
    def is_members(self) -> bool:
        """Whether this is the companion source of another one."""
        return self.name.endswith(MEMBERS_SUFFIX) and self.name != MEMBERS_SUFFIX

    def members(self) -> "SourceUrl":
        """The companion source whose elements list the members of this one's."""
        return SourceUrl(self.text + MEMBERS_SUFFIX)

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: "SourceUrl") -> bool:
        return self.components < other.components


@total_ordering
@dataclass(frozen=True, slots=True)
class ElementId:
    """Names one element in a storage: `/a/b/YYYYmmddHHMMSS[N]-c-full` for source `/a/b/c`.

    `digits` is a label (UTC in ours, local time in the original's), never the element's time: that is the
    metadata's Timestamp. `serial` tells elements apart whose name was taken: None first, then 0, 1, …
    """

    source_url: SourceUrl
    digits: str
    serial: int | None
    backup_type: BackupType

    def __post_init__(self) -> None:
        if re.fullmatch("[0-9]{14}", self.digits) is None:
            raise ElementIdError(f"element time {self.digits!r} is not of 14 digits")
        if self.serial is not None and not 0 <= self.serial <= MAX_SERIAL:
            raise ElementIdError(f"element serial {self.serial!r} is not between 0 and {MAX_SERIAL}")

    @classmethod
    def parse(cls, text: str) -> "ElementId":
        """The id a text stands for; raises ElementIdError."""
        if not isinstance(text, str) or not text.startswith("/"):
            raise ElementIdError(f"element id {text!r} does not start with '/'")
        directory, _, name = text.rpartition("/")
        match = _ELEMENT_NAME.fullmatch(name)
        if match is None:
            raise ElementIdError(f"element id {text!r} does not end with YYYYmmddHHMMSS[N]-name-full|inc")
        digits, serial, source_name, backup_type = match.groups()
        try:
            source_url = _known_source_url(f"{directory}/{source_name}")
        except SourceUrlError as error:
            raise ElementIdError(f"element id {text!r}: {error}") from error
        return cls(source_url, digits, None if serial is None else int(serial), BackupType(backup_type))

    @classmethod
    def label(
        cls, source_url: SourceUrl, timestamp: int, backup_type: BackupType, serial: int | None = None
    ) -> "ElementId":
        """The id for content of `timestamp` (UTC seconds)."""
        time = datetime.fromtimestamp(timestamp, UTC)
        # Part by part: a format for times takes thrice as long, and this is done for each element.
        day = f"{time.year:04d}{time.month:02d}{time.day:02d}"
        return cls(source_url, f"{day}{time.hour:02d}{time.minute:02d}{time.second:02d}", serial, backup_type)

    @property
    def file_stem(self) -> str:
        """The name of the element's files without their suffix."""
        serial = "" if self.serial is None else str(self.serial)
        return f"{self.digits}{serial}-{self.source_url.name}-{self.backup_type.value}"

    def __str__(self) -> str:
        directory = "".join(f"/{component}" for component in self.source_url.directory)
        return f"{directory}/{self.file_stem}"

    def __lt__(self, other: "ElementId") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[SourceUrl, str, int, str]:
        return (
            self.source_url,
            self.digits,
            -1 if self.serial is None else self.serial,
            self.backup_type.value,
        )


BINARY_KEYS = frozenset(
    ("DataUuid", "MetaDataSignature", "Predecessor", "StorageFileChecksumSha512", "StorageFileSignature")
)
METAINFO_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "BackupType": "'full' or 'inc', mandatory",
        "Timestamp": "whole seconds since 1970, the time of the content, mandatory",
        "DataUuid": "binary; unique over all sources",
        "Predecessor": "binary; DataUuid of the element before this one in its source's chain",
        "StorageFileChecksumSha512": "64 bytes; SHA-512 of the data",
        "StorageFileSignature": "binary; detached OpenPGP signature over the data",
        "MetaDataSignature": "binary; detached OpenPGP signature over the metadata",
        "HandlingPolicy": "list of texts of [A-Za-z0-9 ./-]",
        "TransferAttributes": "object set by transfers; not signed",
        "SourceUrl": "the source, as signed; ours adds it",
    }
)


class BackupElementMetainfo:
    """The metadata of an element: every rule of the format holds, unknown keys are carried along.

    Immutable. `get` hands out values as the format means them: bytes for the binary keys. Built from a
    mapping of such values, or from the serialized form by `unserialize`; both raise MetainfoError.
    """

    __slots__ = ("_serialized", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        for key in ("BackupType", "Timestamp"):
            if key not in values:
                raise MetainfoError(f"metadata has no {key}")
        self._values: dict[str, Any] = {}
        for key, value in values.items():
            if not isinstance(key, str):
                raise MetainfoError(f"metadata key {key!r} is not a text")
            if value is not None or key in ("BackupType", "Timestamp"):
                _check_value(key, value)
            self._values[key] = value if key in BINARY_KEYS else copy_value(key, value)
        self._serialized = dump_object(self._values)
        if len(self._serialized) > MAX_METAINFO_SIZE:
            raise MetainfoError(f"metadata of {len(self._serialized)} bytes, limit {MAX_METAINFO_SIZE}")

    @classmethod
    def unserialize(cls, data: bytes) -> "BackupElementMetainfo":
        """The metadata that one ASCII JSON object holds."""
        if len(data) > MAX_METAINFO_SIZE:
            raise MetainfoError(f"metadata of {len(data)} bytes, limit {MAX_METAINFO_SIZE}")
        values = load_object(data)
        for key in BINARY_KEYS & values.keys():
            if values[key] is not None:
                values[key] = decode_binary(key, values[key])
        return cls(values)

    def serialize(self) -> bytes:
        """One ASCII JSON object, keys sorted, as it stands in `.info` and travels on the wire."""
        return self._serialized

    def get(self, key: str) -> Any:
        """The value of a key, None when it has none. Do not change what is handed out."""
        return self._values.get(key)

    def keys(self) -> frozenset[str]:
        """All keys present, the unknown ones too."""
        return frozenset(self._values)

    def replace(self, **changes: Any) -> "BackupElementMetainfo":
        """The same metadata with some values changed or added."""
        return BackupElementMetainfo({**self._values, **changes})

    def signed_bytes(self) -> bytes:
        """What MetaDataSignature signs: the JSON with that key null and without TransferAttributes."""
        values = {key: value for key, value in self._values.items() if key != "TransferAttributes"}
        return dump_object({**values, "MetaDataSignature": None})

    @property
    def backup_type(self) -> BackupType:
        return BackupType(self._values["BackupType"])

    @property
    def timestamp(self) -> int:
        """UTC seconds; what the source claims: a label, it decides nothing."""
        return int(self._values["Timestamp"])

    @property
    def data_uuid(self) -> bytes | None:
        return self._bytes("DataUuid")

    @property
    def predecessor(self) -> bytes | None:
        return self._bytes("Predecessor")

    @property
    def checksum(self) -> bytes | None:
        """SHA-512 of the data, 64 bytes."""
        return self._bytes("StorageFileChecksumSha512")

    @property
    def storage_file_signature(self) -> bytes | None:
        return self._bytes("StorageFileSignature")

    @property
    def metadata_signature(self) -> bytes | None:
        return self._bytes("MetaDataSignature")

    @property
    def source_url(self) -> SourceUrl | None:
        """The source the metadata was signed for, where it says so."""
        text = self._values.get("SourceUrl")
        return None if text is None else SourceUrl(text)

    @property
    def handling_policy(self) -> tuple[str, ...]:
        return tuple(self._values.get("HandlingPolicy") or ())

    @property
    def content_type(self) -> str | None:
        """What kind of plain stream the content is; None: it says of itself what it is (an archive does).

        A value that is none of ours counts as well, as long as it is a text of `[a-z0-9-]`.
        """
        value = self._values.get(CONTENT_TYPE_KEY)
        return value if isinstance(value, str) and _CONTENT_TYPE.fullmatch(value) else None

    @property
    def unreadable_count(self) -> int:
        """How many names of the source its backup could not read, as far as known; 0 for what is no count."""
        value = self._values.get(UNREADABLE_KEY)
        return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def content_layers(self) -> int | None:
        """How often the content was packed (compressed, encrypted); None: not known."""
        value = self._values.get(CONTENT_LAYERS_KEY)
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if 0 <= value <= MAX_CONTENT_LAYERS else None

    def is_same_element(self, other: "BackupElementMetainfo") -> bool:
        """Whether both describe one element of a source (the caller compares the source)."""
        return all(
            self.get(key) == other.get(key)
            for key in ("BackupType", "Timestamp", "DataUuid", "StorageFileChecksumSha512")
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BackupElementMetainfo) and self._serialized == other._serialized

    def __hash__(self) -> int:
        return hash(self._serialized)

    def __repr__(self) -> str:
        return f"BackupElementMetainfo({self._serialized.decode('ascii')})"

    def _bytes(self, key: str) -> bytes | None:
        value: bytes | None = self._values.get(key)
        return value


@lru_cache(maxsize=4096)
def _known_source_url(text: str) -> SourceUrl:
    """The source URL; ids by the thousand are of a few sources."""
    return SourceUrl(text)


def make_data_uuid(predecessor: bytes | None, digest: bytes, timestamp: int, source_url: SourceUrl) -> bytes:
    """A DataUuid as the original makes it: the same for a run repeated on identical state, else unique."""
    text = f"{timestamp} {source_url}".encode("ascii")
    return hashlib.sha512((predecessor or b"") + digest + text).digest()


def check_attribute_name(name: str) -> str:
    """The name, when it can be an attribute's; raises ElementIdError."""
    if _ATTRIBUTE_NAME.fullmatch(name) is None or name in ("data", "info", "lock"):
        raise ElementIdError(
            f"attribute name {name!r} is not 1 to 32 of [A-Za-z0-9_], or is data, info or lock"
        )
    return name


def _check_component(component: str, text: str) -> None:
    if component in ("", ".", ".."):
        raise SourceUrlError(f"source URL {text!r} has the component {component!r}")
    if _COMPONENT.fullmatch(component) is None:
        raise SourceUrlError(f"source URL {text!r}: only A-Z a-z 0-9 % . _ - stand between slashes")
    if len(component) > MAX_COMPONENT_LENGTH:
        raise SourceUrlError(
            f"source URL component {component[:40]}… of {len(component)} characters,"
            f" limit {MAX_COMPONENT_LENGTH}"
        )


def _check_value(key: str, value: Any) -> None:
    """One value against the rule of its key; unknown keys have none."""
    if key in BINARY_KEYS:
        if not isinstance(value, bytes):
            raise MetainfoError(f"metadata {key} is a {type(value).__name__}, not binary")
        if key == "StorageFileChecksumSha512" and len(value) != DIGEST_SIZE:
            raise MetainfoError(f"metadata {key} of {len(value)} bytes, not {DIGEST_SIZE}")
    elif key == "BackupType":
        if value not in ("full", "inc"):
            raise MetainfoError(f"metadata BackupType {value!r} is neither 'full' nor 'inc'")
    elif key == "Timestamp":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TIMESTAMP:
            raise MetainfoError(
                f"metadata Timestamp {value!r} is not a whole number from 0 to {MAX_TIMESTAMP}"
            )
    elif key == "HandlingPolicy":
        if not isinstance(value, list) or not all(_is_handling_policy(item) for item in value):
            raise MetainfoError(
                f"metadata HandlingPolicy {value!r} is not a list of texts of [A-Za-z0-9 ./-]"
            )
    elif key == "TransferAttributes":
        if not isinstance(value, dict):
            raise MetainfoError(f"metadata TransferAttributes is a {type(value).__name__}, not an object")
    elif key == "SourceUrl":
        try:
            SourceUrl(value)
        except SourceUrlError as error:
            raise MetainfoError(f"metadata SourceUrl: {error}") from error


def _is_handling_policy(item: object) -> bool:
    return isinstance(item, str) and _HANDLING_POLICY.fullmatch(item) is not None
