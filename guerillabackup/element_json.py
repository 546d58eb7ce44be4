"""The JSON of an element's metadata: what is written is read again, as it was written. No I/O.

Stricter than JSON itself: ASCII, no key twice, no NaN, a limit to nesting. Everything raises MetainfoError.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from guerillabackup.errors import MetainfoError

MAX_DEPTH = 32
"""Levels of lists and objects within one value."""
MAX_SHOWN = 24
"""Characters of a binary value in a message."""


def load_object(data: bytes) -> dict[str, Any]:
    """The object that ASCII JSON holds, binary values still as their text."""
    try:
        values = json.loads(
            data.decode("ascii"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except RecursionError as error:
        raise MetainfoError("metadata is nested too deeply") from error
    except ValueError as error:
        raise MetainfoError(f"metadata is not ASCII JSON: {error}") from error
    if not isinstance(values, dict):
        raise MetainfoError(f"metadata is a JSON {type(values).__name__}, not an object")
    return values


def dump_object(values: Mapping[str, Any]) -> bytes:
    """One ASCII JSON object, keys sorted, Python's default separators, bytes as base64."""
    encoded = {
        key: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for key, value in values.items()
    }
    try:
        return json.dumps(encoded, sort_keys=True, allow_nan=False).encode("ascii")
    except ValueError as error:
        raise MetainfoError(f"metadata cannot be written as JSON: {error}") from error


def copy_value(key: str, value: Any, levels: int = MAX_DEPTH) -> Any:
    """The value as it will stand in JSON, and nobody else's: what the caller changes later stays outside."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if levels == 0:
        raise MetainfoError(f"metadata {key} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (list, tuple)):
        return [copy_value(key, item, levels - 1) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: copy_value(key, item, levels - 1) for name, item in value.items()}
    raise MetainfoError(f"metadata {key} holds a {type(value).__name__}, which JSON does not have")


def decode_binary(key: str, value: object) -> bytes:
    """The bytes that a base64 text stands for, written the one way they can be."""
    if not isinstance(value, str):
        raise MetainfoError(f"metadata {key} is a {type(value).__name__}, not base64 text")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MetainfoError(f"metadata {key} is not base64: {error}") from error
    if base64.b64encode(data).decode("ascii") != value:
        raise MetainfoError(f"metadata {key} is not base64 as it is written: bits left over at its end")
    return data


def shorten_uuid(identity: bytes) -> str:
    """The beginning of a binary value as metadata files have it, for a message."""
    text = base64.b64encode(identity).decode("ascii")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MetainfoError("metadata has a key twice in one object")
    return values


def _refuse_constant(text: str) -> float:
    raise MetainfoError(f"metadata holds {text}, which JSON does not have")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise MetainfoError(f"metadata holds the number {text[:40]}, which is too large")
    return value
