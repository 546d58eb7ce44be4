"""The forms that what units remember has in their state files, value by value. No I/O."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from guerillabackup.generator.timing import ClockAnchor


def expect_mapping(value: Any) -> Mapping[str, Any]:
    """An object; raises TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{str(value)[:40]!r} is not an object")
    return value


def encode_uuid(uuid: bytes | None) -> str:
    """Base64, of nothing where there is none."""
    return base64.b64encode(uuid or b"").decode("ascii")


def decode_uuid(value: object) -> bytes:
    """Back from that; raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{value!r} is not base64: {error}") from error


def dump_anchor(anchor: ClockAnchor | None) -> list[Any] | None:
    """How the clock stood: boot id and seconds."""
    return None if anchor is None else [anchor.boot_id, anchor.offset]


def parse_anchor(value: Any) -> ClockAnchor | None:
    """Back from that; raises TypeError, ValueError."""
    if value is None:
        return None
    boot_id, offset = value
    if not isinstance(boot_id, str) or not isinstance(offset, int | float):
        raise TypeError(f"{value!r} is not a list of boot id and seconds")
    return ClockAnchor(boot_id, offset)
