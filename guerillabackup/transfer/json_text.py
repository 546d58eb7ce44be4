"""The JSON of the wire: ASCII, every size limited, one meaning only. No I/O.

Stricter than JSON itself: no key twice, no NaN or infinite number, no half of a surrogate pair. What is wrong
raises RemoteProtocolError, and nothing else does.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from guerillabackup.errors import RemoteProtocolError

MAX_DEPTH = 32
"""Levels of lists and objects within one another."""
MAX_DIGITS = 32
"""Characters of one number."""
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(payload: bytes, what: str) -> Any:
    """The value that a payload holds; `what` names it in messages."""
    try:
        text = payload.decode("ascii")
        _check_depth(payload, what)
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON in ASCII: {error}") from error
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"{what}: {error}") from error
    if _SURROGATE.search(payload) is not None:
        _check_surrogates(value, what)
    return value


def encode(value: Any) -> bytes:
    """The payload of a value, as Python's default separators have it."""
    return json.dumps(value, allow_nan=False, default=_thaw).encode("ascii")


def freeze(value: Any) -> Any:
    """The same value of tuples and read-only mappings; `encode` takes it."""
    if isinstance(value, list):
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    return value


def excerpt(value: object, length: int = 60) -> str:
    """A value for a message, short whatever it is."""
    text = ascii(value[:length] if isinstance(value, str) else value)
    return text if len(text) <= length else text[:length] + "…"


def _check_depth(payload: bytes, what: str) -> None:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(payload):
        first = payload[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise RemoteProtocolError(f"nested deeper than {MAX_DEPTH} levels")
        elif first in b"]}":
            depth -= 1


def _check_surrogates(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RemoteProtocolError(f"{what} holds half of a surrogate pair") from error


def _whole_number(text: str) -> int:
    _check_digits(text)
    return int(text)


def _finite_number(text: str) -> float:
    _check_digits(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RemoteProtocolError(f"the number {text} is too large")
    return value


def _check_digits(text: str) -> None:
    if len(text) > MAX_DIGITS:
        raise RemoteProtocolError(f"a number of {len(text)} characters, limit {MAX_DIGITS}")


def _refuse_constant(text: str) -> float:
    raise RemoteProtocolError(f"{text}, which JSON does not have")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise RemoteProtocolError("a key twice in one object")
    return values


def _thaw(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_whole_number,
    parse_float=_finite_number,
    parse_constant=_refuse_constant,
)
