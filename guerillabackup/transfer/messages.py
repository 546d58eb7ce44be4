"""What is asked and answered, wire version 1: values and their bytes, both ways. No I/O.

`METHODS` is the one table of what may be asked. A request is one of the frozen values below; `parse_request`
and `encode_request` lead from its payload to it and back. Each method's answer has such a pair of its own:

    GetPolicyInfo          parse_policy_info      encode_policy_info
    StartTransaction       parse_started          encode_started
    NextDataElement        parse_has_element      encode_has_element
    GetDataElementInfo     parse_element_info     encode_element_info
    GetDataElementStream   a stream of parts: the multiplexer's

All that is wrong in a payload raises RemoteProtocolError; but IntegrityError when only the element that is
described cannot be, so that the connection may go on. What no frame holds raises MetainfoError. A newer peer
announces itself within getPolicyInfo: doc/Protocol.txt, "Announcement".
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from guerillabackup.element import BackupElementMetainfo, SourceUrl, check_attribute_name
from guerillabackup.element_json import decode_binary
from guerillabackup.errors import IntegrityError, MetainfoError, RemoteProtocolError
from guerillabackup.transfer.frames import MAX_FRAME_SIZE
from guerillabackup.transfer.interface import ElementOffer
from guerillabackup.transfer.json_text import decode, encode, excerpt, freeze

VERSION = 1
MAX_ANNOUNCED = 64
"""Items of a list within an announcement."""
MAX_NAME = 200
"""Characters of a policy's, program's or feature's name, all of them printable ASCII."""
MAX_VERSION = 1 << 31
MAX_ATTRIBUTES = 64
MAX_QUOTED = 300
"""Characters of a message that may quote the peer."""

_PRINTABLE = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a newer peer says of itself. Unknown features are kept, and mean nothing."""

    program: str
    versions: tuple[int, ...] = (VERSION,)
    features: frozenset[str] = frozenset()
    instance: str = ""
    """Names the process that says it, and no other one; "" when it is not told."""
    storage: str = ""
    """Names the storage that the connection is about, the same for all who have it open; "" as above."""

    def knows(self, feature: str) -> bool:
        return feature in self.features


@dataclass(frozen=True, slots=True)
class GetPolicyInfo:
    """Which policy decides what is sent? With an announcement of who asks, from a newer peer."""

    method: ClassVar[str] = "getPolicyInfo"
    announcement: Announcement | None = None


@dataclass(frozen=True, slots=True)
class StartTransaction:
    """Begin from the first element; the query is None for all, or what the policy knows, tuples for lists."""

    method: ClassVar[str] = "startTransaction"
    query: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class NextDataElement:
    """Go on to the next element; was the one before stored?"""

    method: ClassVar[str] = "nextDataElement"
    was_stored: bool = False


@dataclass(frozen=True, slots=True)
class GetDataElementInfo:
    """What is the present element?"""

    method: ClassVar[str] = "getDataElementInfo"


@dataclass(frozen=True, slots=True)
class GetDataElementStream:
    """The present element's bytes."""

    method: ClassVar[str] = "getDataElementStream"


Request = GetPolicyInfo | StartTransaction | NextDataElement | GetDataElementInfo | GetDataElementStream


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """The sender policy's name, None when nothing is sent; the announcement of a newer peer."""

    policy: str | None
    announcement: Announcement | None = None


def parse_request(payload: bytes) -> Request:
    """The request that a payload is. More items than the method takes are ignored, as by the original."""
    items = decode(payload, "a request")
    if not isinstance(items, list) or not items:
        raise RemoteProtocolError(f"a request is {excerpt(items)}, not a list that begins with a method")
    method, *arguments = items
    read = METHODS.get(method) if isinstance(method, str) else None
    if read is None:
        raise RemoteProtocolError(f"method {excerpt(method)} is none of {', '.join(METHODS)}")
    return read(arguments)


def encode_request(request: Request) -> bytes:
    """Its payload. An announcement is for whoever may be a newer peer: the original ignores it."""
    match request:
        case GetPolicyInfo(announcement) if announcement is not None:
            return encode([request.method, _announcement_object(announcement)])
        case StartTransaction(query):
            return encode([request.method, query])
        case NextDataElement(was_stored):
            return encode([request.method, was_stored])
    return encode([request.method])


def parse_policy_info(payload: bytes) -> PolicyInfo:
    """The answer to GetPolicyInfo: of a newer peer that was announced to, an object."""
    what = "the answer to getPolicyInfo"
    value = decode(payload, what)
    if not isinstance(value, dict):
        return PolicyInfo(_read_policy(value, what))
    if "policy" not in value:
        raise RemoteProtocolError(f"{what} is an object without policy")
    return PolicyInfo(_read_policy(value["policy"], what), _read_announcement(value, what))


def encode_policy_info(policy: str | None, announcement: Announcement | None = None) -> bytes:
    """The answer; give our announcement to exactly those who announced themselves."""
    if announcement is None:
        return encode(policy)
    return encode({"policy": policy, **_announcement_object(announcement)})


def parse_started(payload: bytes) -> None:
    """The answer to StartTransaction, which is empty."""
    if payload:
        raise RemoteProtocolError(f"the answer to startTransaction has {len(payload)} bytes, not none")


def encode_started() -> bytes:
    """The answer: empty."""
    return b""


def parse_has_element(payload: bytes) -> bool:
    """The answer to NextDataElement: whether there is a next one."""
    value = decode(payload, "the answer to nextDataElement")
    if not isinstance(value, bool):
        raise RemoteProtocolError(f"the answer to nextDataElement is {excerpt(value)}, not true or false")
    return value


def encode_has_element(has_element: bool) -> bytes:
    """The answer."""
    return encode(has_element)


def parse_element_info(payload: bytes) -> ElementOffer | None:
    """The answer to GetDataElementInfo; None when no element is the present one. Attributes are bytes.

    Raises IntegrityError when source URL, metadata or an attribute is not what it must be.
    """
    what = "the answer to getDataElementInfo"
    value = decode(payload, what)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) < 3:
        raise RemoteProtocolError(f"{what} is {excerpt(value)}, not a list of 3 or null")
    source, metadata, attributes = value[:3]
    if not isinstance(source, str) or not isinstance(metadata, str):
        raise RemoteProtocolError(f"{what} has no texts as source URL and metadata: {excerpt(value)}")
    if attributes is not None and not isinstance(attributes, dict):
        raise RemoteProtocolError(f"{what} has the attributes {excerpt(attributes)}, not an object or null")
    try:
        source_url = SourceUrl(source)
        metainfo = BackupElementMetainfo.unserialize(metadata.encode("ascii"))
        return ElementOffer(source_url, metainfo, _read_attributes(attributes or {}))
    except (IntegrityError, UnicodeEncodeError) as error:
        raise IntegrityError(f"element of {excerpt(source, 300)}: {excerpt_error(error)}") from error


def encode_element_info(offer: ElementOffer | None) -> bytes:
    """The answer, attributes being bytes; raises MetainfoError for what a frame cannot carry."""
    if offer is None:
        return encode(None)
    attributes = {
        name: base64.b64encode(value).decode("ascii")
        for name, value in sorted((offer.attributes or {}).items())
    }
    metadata = offer.metainfo.serialize().decode("ascii")
    payload = encode([offer.source_url.text, metadata, attributes or None])
    if len(payload) > MAX_FRAME_SIZE:
        raise MetainfoError(
            f"metadata and attributes of {len(payload)} bytes on the wire, limit {MAX_FRAME_SIZE}"
        )
    return payload


def excerpt_error(error: Exception) -> str:
    """Its message, short and printable whatever of the peer's is quoted in it."""
    text = str(error) if str(error).isprintable() else ascii(str(error))
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"


def _read_get_policy_info(arguments: list[Any]) -> GetPolicyInfo:
    if not arguments:
        return GetPolicyInfo()
    what = "the announcement in getPolicyInfo"
    if not isinstance(arguments[0], dict):
        raise RemoteProtocolError(f"{what} is {excerpt(arguments[0])}, not an object")
    return GetPolicyInfo(_read_announcement(arguments[0], what))


def _read_start_transaction(arguments: list[Any]) -> StartTransaction:
    query = _first(arguments, StartTransaction.method)
    if query is not None and not isinstance(query, list):
        raise RemoteProtocolError(f"the query of startTransaction is {excerpt(query)}, not a list or null")
    return StartTransaction(freeze(query))


def _read_next_data_element(arguments: list[Any]) -> NextDataElement:
    was_stored = _first(arguments, NextDataElement.method)
    if not isinstance(was_stored, bool):
        raise RemoteProtocolError(
            f"the argument of nextDataElement is {excerpt(was_stored)}, not true or false"
        )
    return NextDataElement(was_stored)


METHODS: Mapping[str, Callable[[list[Any]], Request]] = MappingProxyType(
    {
        GetPolicyInfo.method: _read_get_policy_info,
        StartTransaction.method: _read_start_transaction,
        NextDataElement.method: _read_next_data_element,
        GetDataElementInfo.method: lambda _: GetDataElementInfo(),
        GetDataElementStream.method: lambda _: GetDataElementStream(),
    }
)
"""Method -> what reads the arguments behind it."""


def _first(arguments: list[Any], method: str) -> Any:
    if not arguments:
        raise RemoteProtocolError(f"{method} without its argument")
    return arguments[0]


def _read_policy(value: Any, what: str) -> str | None:
    return None if value is None else _read_name(value, f"the policy in {what}")


def _read_announcement(value: Mapping[str, Any], what: str) -> Announcement:
    """The announcement within an object; keys it does not know are for later versions."""
    if "versions" not in value:
        raise RemoteProtocolError(f"{what} has no versions")
    versions = _read_list(value, "versions", what)
    for version in versions:
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
            raise RemoteProtocolError(f"{what} has the version {excerpt(version)}, not a number from 1 on")
    features = (_read_name(item, f"a feature in {what}") for item in _read_list(value, "features", what))
    program, instance, storage = (
        _read_name(value.get(key, ""), f"the {key} in {what}") for key in ("program", "instance", "storage")
    )
    return Announcement(program, tuple(versions), frozenset(features), instance, storage)


def _announcement_object(announcement: Announcement) -> dict[str, Any]:
    told: dict[str, Any] = {
        "program": announcement.program,
        "versions": announcement.versions,
        "features": sorted(announcement.features),
    }
    names = {"instance": announcement.instance, "storage": announcement.storage}
    return told | {key: name for key, name in names.items() if name}


def _read_list(value: Mapping[str, Any], key: str, what: str) -> list[Any]:
    items = value.get(key, [])
    if not isinstance(items, list) or len(items) > MAX_ANNOUNCED:
        raise RemoteProtocolError(
            f"{what} has the {key} {excerpt(items)}, not a list of at most {MAX_ANNOUNCED}"
        )
    return items


def _read_name(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or _PRINTABLE.fullmatch(value) is None:
        raise RemoteProtocolError(f"{what} is {excerpt(value)}, not at most {MAX_NAME} printable characters")
    return value


def _read_attributes(values: Mapping[str, Any]) -> Mapping[str, bytes] | None:
    """Attribute name -> its bytes, None without any; raises IntegrityError."""
    if not values:
        return None
    if len(values) > MAX_ATTRIBUTES:
        raise MetainfoError(f"{len(values)} attributes, limit {MAX_ATTRIBUTES}")
    return MappingProxyType(
        {
            check_attribute_name(name): decode_binary(f"attribute {name}", value)
            for name, value in values.items()
        }
    )
