"""The fields of a tar archive's headers: reading and writing them. No I/O."""

import re
import stat
from collections.abc import Mapping

BLOCK_SIZE = 512
OCTAL = re.compile(rb" *([0-7]*)[ \0]*")

_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,10}) ")
_PAX_NEVER_EMPTY = (b"path", b"linkpath", b"size", b"GNU.sparse.name")
_XATTR_PREFIX = b"SCHILY.xattr."


def parse_number(field: bytes) -> int | None:
    """Octal digits, or base 256 as tar marks it; None when it is neither."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], signed=False) - (
            1 << (8 * len(field) - 8) if field[0] == 0xFF else 0
        )
    match = OCTAL.fullmatch(field)
    return None if match is None else int(match[1] or b"0", 8)


def signed_decimal(value: bytes) -> int:
    match = re.match(rb"-?[0-9]{1,18}", value)
    return int(match[0]) if match is not None else 0


def text_of(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def padded(size: int) -> int:
    return (size + BLOCK_SIZE - 1) // BLOCK_SIZE * BLOCK_SIZE


def pad(content: bytes) -> bytes:
    return content + bytes(padded(len(content)) - len(content))


def with_size(header: bytes, size: int) -> bytes:
    """The header with another size, and its check sum."""
    return _with_sum(header[:124] + b"%011o\0" % size + header[136:])


def with_mode(header: bytes, mode: int) -> bytes:
    """The header, and what is behind its block, with another mode."""
    return _with_sum(header[:100] + b"%07o\0" % mode + header[108:BLOCK_SIZE]) + header[BLOCK_SIZE:]


def _with_sum(header: bytes) -> bytes:
    changed = header[:148] + b" " * 8 + header[156:]
    return changed[:148] + b"%06o\0 " % sum(changed) + changed[156:]


def owner_of(header: bytes, pax: Mapping[bytes, bytes]) -> tuple[int | None, int | None]:
    """The numbers of user and group; None for what is no number."""
    uid, gid = (
        signed_decimal(pax[key]) if key in pax else parse_number(header[start : start + 8])
        for key, start in ((b"uid", 108), (b"gid", 116))
    )
    return uid, gid


def without_set_ids(header: bytes, pax: Mapping[bytes, bytes], unpacked_by: tuple[int, int]) -> bytes:
    """The header without the bits that would lend out the rights of who unpacks, not those of its owner."""
    mode = parse_number(header[100:108]) or 0
    own = zip(owner_of(header, pax), unpacked_by, (stat.S_ISUID, stat.S_ISGID), strict=True)
    kept = mode & ~sum(bit for number, mine, bit in own if number != mine)
    return header if kept == mode else with_mode(header, kept)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode("ascii") + body


def parse_pax(content: bytes) -> dict[bytes, bytes]:
    """The values of an extended header; raises ValueError that says what it is instead."""
    values: dict[bytes, bytes] = {}
    position = 0
    while position < len(content):
        match = _PAX_LENGTH.match(content, position)
        end = position + int(match[1]) if match is not None else 0
        if match is None or end > len(content) or content[end - 1 : end] != b"\n":
            raise ValueError("an extended header that cannot be read")
        key, separator, value = content[match.end() : end - 1].partition(b"=")
        if not separator or not key or end <= match.end():
            raise ValueError("an extended header that cannot be read")
        if not value and key in _PAX_NEVER_EMPTY:
            raise ValueError(f"an extended header with an empty {key.decode('ascii')}")
        values[key] = value
        position = end
    return values


def xattrs_of(pax: Mapping[bytes, bytes]) -> frozenset[bytes] | None:
    """The names of a member's extended attributes; a format without extended headers has no place for any."""
    if not pax:
        return None
    names = (key.removeprefix(_XATTR_PREFIX) for key in pax if key.startswith(_XATTR_PREFIX))
    return frozenset(name.replace(b"%3D", b"=").replace(b"%25", b"%") for name in names)
