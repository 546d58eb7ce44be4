"""Which format a stream has, from its first bytes. No I/O."""

MAGIC_SIZE = 512
_MAGICS = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"-----BEGIN PGP MESSAGE-----", "gpg"),
)
_SKIPPABLE_FRAME = b"\x2a\x4d\x18"
_TAR_MAGIC = b"ustar"
_TAR_MAGIC_OFFSET = 257
_PACKET_VERSIONS = {1: (2, 3, 6), 3: (4, 5, 6), 18: (1, 2), 20: (1,)}


def detect_format(first_bytes: bytes) -> str | None:
    """gpg, zstd, gzip, bzip2, xz, lz4 or tar; None for anything else. 512 bytes decide as well as all."""
    for magic, name in _MAGICS:
        if first_bytes.startswith(magic):
            return name
    if first_bytes[:3] == b"BZh" and first_bytes[3:4].isdigit():
        return "bzip2"
    if first_bytes[_TAR_MAGIC_OFFSET : _TAR_MAGIC_OFFSET + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return "tar"
    if first_bytes[1:4] == _SKIPPABLE_FRAME and 0x50 <= first_bytes[0] <= 0x5F:
        return "zstd"
    return "gpg" if _begins_encrypted_message(first_bytes) else None


def _begins_encrypted_message(data: bytes) -> bool:
    """Whether an OpenPGP packet starts here that only encrypted messages start with (RFC 4880, 4.2)."""
    if len(data) < 2 or not data[0] & 0x80:
        return False
    if data[0] & 0x40:
        tag = data[0] & 0x3F
        length_size = 1 if data[1] < 192 or 224 <= data[1] < 255 else 2 if data[1] < 224 else 5
    else:
        tag = (data[0] >> 2) & 0x0F
        length_size = (1, 2, 4, 0)[data[0] & 3]
    versions = _PACKET_VERSIONS.get(tag, ())
    version_offset = 1 + length_size
    return len(data) > version_offset and data[version_offset] in versions
