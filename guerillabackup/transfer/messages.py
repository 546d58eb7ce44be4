"""What is asked and answered, wire version 1: values and their bytes, both ways. No I/O.

`METHODS` is the one table of what may be asked. A request is one of the frozen values below; `parse_request`
and `encode_request` lead from its payload to it and back. Each method's answer has such a pair of its own:

    GetPolicyInfo          parse_policy_info      encode_policy_info
    StartTransaction       parse_started          encode_started
    NextDataElement        parse_has_element      encode_has_element
    GetDataElementInfo     parse_element_info     encode_element_info
    GetDataElementStream   a stream of parts: the multiplexer's
    NextDataElements       parse_group            encode_group, of encode_grouped for each
    GetDataElementsStream  a stream of parts, too

All that is wrong in a payload raises RemoteProtocolError; but IntegrityError when only the element that is
described cannot be, so that the connection may go on. What no frame holds raises MetainfoError. A newer peer
announces itself within getPolicyInfo: doc/Protocol.txt, "Announcement".
"""

import base64
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from guerillabackup.element import BackupElementMetainfo, SourceUrl, check_attribute_name
from guerillabackup.element_json import decode_binary
from guerillabackup.errors import IntegrityError, MetainfoError, RemoteProtocolError
from guerillabackup.transfer.announcement_json import (
    Announcement,
    announcement_object,
    is_number,
    read_announcement,
    read_name,
)
from guerillabackup.transfer.frames import MAX_FRAME_SIZE
from guerillabackup.transfer.interface import ElementOffer
from guerillabackup.transfer.json_text import decode, encode, excerpt, freeze

MAX_ATTRIBUTES = 64
MAX_QUOTED = 300
"""Characters of a message that may quote the peer."""

MAX_GROUP = 256
"""Elements that are offered at a time."""
MAX_SIZE = 1 << 62


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


@dataclass(frozen=True, slots=True)
class NextDataElements:
    """Go on to the next elements, at most so many; which of those before were stored?"""

    method: ClassVar[str] = "nextDataElements"
    stored: tuple[bool, ...] = ()
    count: int = MAX_GROUP


@dataclass(frozen=True, slots=True)
class GetDataElementsStream:
    """The bytes of some of the present elements, one behind the other."""

    method: ClassVar[str] = "getDataElementsStream"
    numbers: tuple[int, ...] = (0,)


Request = (
    GetPolicyInfo
    | StartTransaction
    | NextDataElement
    | GetDataElementInfo
    | GetDataElementStream
    | NextDataElements
    | GetDataElementsStream
)


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
            return encode([request.method, announcement_object(announcement)])
        case StartTransaction(query):
            return encode([request.method, query])
        case NextDataElement(was_stored):
            return encode([request.method, was_stored])
        case NextDataElements(stored, count):
            return encode([request.method, stored, count])
        case GetDataElementsStream(numbers):
            return encode([request.method, numbers])
    return encode([request.method])


def parse_policy_info(payload: bytes) -> PolicyInfo:
    """The answer to GetPolicyInfo: of a newer peer that was announced to, an object."""
    what = "the answer to getPolicyInfo"
    value = decode(payload, what)
    if not isinstance(value, dict):
        return PolicyInfo(_read_policy(value, what))
    if "policy" not in value:
        raise RemoteProtocolError(f"{what} is an object without policy")
    return PolicyInfo(_read_policy(value["policy"], what), read_announcement(value, what))


def encode_policy_info(policy: str | None, announcement: Announcement | None = None) -> bytes:
    """The answer; give our announcement to exactly those who announced themselves."""
    if announcement is None:
        return encode(policy)
    return encode({"policy": policy, **announcement_object(announcement)})


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
    return _read_offer(value, what)


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


def parse_group(payload: bytes, count: int) -> tuple[ElementOffer | IntegrityError, ...]:
    """The answer to NextDataElements, which asked for at most so many.

    An error stands for an element whose source URL, metadata or attributes are not what they must be.
    """
    what = "the answer to nextDataElements"
    items = decode(payload, what)
    if not isinstance(items, list) or len(items) > count:
        raise RemoteProtocolError(f"{what} is {excerpt(items)}, not a list of at most {count}")
    return tuple([_read_grouped(item, f"an item of {what}") for item in items])


def encode_grouped(offer: ElementOffer) -> bytes:
    """An offer with its size, as an item of that answer; raises MetainfoError for what no frame holds."""
    assert offer.size is not None
    item = b"%s, %d]" % (encode_element_info(offer)[:-1], offer.size)
    if len(encode_group([item])) > MAX_FRAME_SIZE:
        raise MetainfoError(
            f"metadata and attributes of {len(item)} bytes on the wire, limit {MAX_FRAME_SIZE}"
        )
    return item


def encode_group(items: Iterable[bytes]) -> bytes:
    """The answer to NextDataElements."""
    return b"[%s]" % b", ".join(items)


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
    return GetPolicyInfo(read_announcement(arguments[0], what))


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


def _read_next_data_elements(arguments: list[Any]) -> NextDataElements:
    stored, count = (*arguments, None, None)[:2]
    if not isinstance(stored, list) or len(stored) > MAX_GROUP:
        raise RemoteProtocolError(f"nextDataElements has {excerpt(stored)}, not a list of what was stored")
    if not all(isinstance(one, bool) for one in stored):
        raise RemoteProtocolError(f"in nextDataElements, {excerpt(stored)} are not all true or false")
    if not is_number(count, 1, MAX_GROUP):
        raise RemoteProtocolError(f"nextDataElements asks for {excerpt(count)}, not for 1 to {MAX_GROUP}")
    return NextDataElements(tuple(stored), count)


def _read_get_data_elements_stream(arguments: list[Any]) -> GetDataElementsStream:
    numbers = _first(arguments, GetDataElementsStream.method)
    is_list = isinstance(numbers, list) and 0 < len(numbers) <= MAX_GROUP
    if not is_list or not all(is_number(one, 0, MAX_GROUP - 1) for one in numbers):
        raise RemoteProtocolError(f"getDataElementsStream asks for {excerpt(numbers)}, not a list of places")
    if any(one >= other for one, other in itertools.pairwise(numbers)):
        raise RemoteProtocolError(f"getDataElementsStream asks for {excerpt(numbers)}, which do not ascend")
    return GetDataElementsStream(tuple(numbers))


def _read_grouped(value: Any, what: str) -> ElementOffer | IntegrityError:
    if not isinstance(value, list) or len(value) < 4 or not is_number(value[3], 0, MAX_SIZE):
        raise RemoteProtocolError(f"{what} is {excerpt(value)}, not a list of 4 with a size")
    try:
        return _read_offer(value, what, value[3])
    except IntegrityError as error:
        return error


def _read_offer(value: list[Any], what: str, size: int | None = None) -> ElementOffer:
    """Source URL, metadata and attributes, which a list begins with; raises IntegrityError too."""
    source, metadata, attributes = value[:3]
    if not isinstance(source, str) or not isinstance(metadata, str):
        raise RemoteProtocolError(f"{what} has no texts as source URL and metadata: {excerpt(value)}")
    if attributes is not None and not isinstance(attributes, dict):
        raise RemoteProtocolError(f"{what} has the attributes {excerpt(attributes)}, not an object or null")
    try:
        source_url = SourceUrl(source)
        metainfo = BackupElementMetainfo.unserialize(metadata.encode("ascii"))
        return ElementOffer(source_url, metainfo, _read_attributes(attributes or {}), size)
    except (IntegrityError, UnicodeEncodeError) as error:
        raise IntegrityError(f"element of {excerpt(source, 300)}: {excerpt_error(error)}") from error


METHODS: Mapping[str, Callable[[list[Any]], Request]] = MappingProxyType(
    {
        GetPolicyInfo.method: _read_get_policy_info,
        StartTransaction.method: _read_start_transaction,
        NextDataElement.method: _read_next_data_element,
        GetDataElementInfo.method: lambda _: GetDataElementInfo(),
        GetDataElementStream.method: lambda _: GetDataElementStream(),
        NextDataElements.method: _read_next_data_elements,
        GetDataElementsStream.method: _read_get_data_elements_stream,
    }
)
"""Method -> what reads the arguments behind it."""


def _first(arguments: list[Any], method: str) -> Any:
    if not arguments:
        raise RemoteProtocolError(f"{method} without its argument")
    return arguments[0]


def _read_policy(value: Any, what: str) -> str | None:
    return None if value is None else read_name(value, f"the policy in {what}")


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
