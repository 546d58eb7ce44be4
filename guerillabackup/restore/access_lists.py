"""Access control lists as the kernel keeps them, put into the words of tar, with numbers for names. No I/O.

GNU tar stores a list twice: in words, with the user names of the host that made the backup, and as the
extended attribute, which has numbers. It restores by the words, and on another host a name may belong to
another user, or to none.
"""

import struct
from collections.abc import Mapping

_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_KINDS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
_NAMED = (0x02, 0x08)
_BITS = ((4, "r"), (2, "w"), (1, "x"))
_LISTS = (
    (b"SCHILY.acl.access", b"SCHILY.xattr.system.posix_acl_access"),
    (b"SCHILY.acl.default", b"SCHILY.xattr.system.posix_acl_default"),
)


def lists_by_number(pax: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The lists of a member's extended header that are there as attributes, in words without any name.

    Only those that differ from the words that are there; an attribute of an unknown form says nothing.
    """
    changed = {}
    for words, attribute in _LISTS:
        text = _in_words(pax.get(attribute, b""))
        if text is not None and text.strip() != pax.get(words, b"").strip():
            changed[words] = text
    return changed


def _in_words(attribute: bytes) -> bytes | None:
    """`user::rw-` and so on, a line for each entry; None for what is no list."""
    entries = attribute[len(_VERSION) :]
    if not attribute.startswith(_VERSION) or not entries or len(entries) % _ENTRY.size:
        return None
    lines = []
    for tag, rights, number in _ENTRY.iter_unpack(entries):
        if tag not in _KINDS:
            return None
        name = number if tag in _NAMED else ""
        lines.append(f"{_KINDS[tag]}:{name}:{''.join(s if rights & bit else '-' for bit, s in _BITS)}\n")
    return "".join(lines).encode("ascii")
