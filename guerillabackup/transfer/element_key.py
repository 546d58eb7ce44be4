"""What tells elements apart that peers offer: a short key of what makes an element the same one. No I/O."""

import hashlib

from guerillabackup.element import BackupElementMetainfo, SourceUrl

KEY_SIZE = 16


def element_key(source_url: SourceUrl, metainfo: BackupElementMetainfo) -> bytes:
    """The same 16 bytes for the same source, type, Timestamp, DataUuid and checksum."""
    return plain_key(
        source_url.text,
        metainfo.get("BackupType"),
        metainfo.timestamp,
        metainfo.data_uuid,
        metainfo.checksum,
    )


def plain_key(
    source_url: str, backup_type: str, timestamp: int, data_uuid: bytes | None, checksum: bytes | None
) -> bytes:
    """The same from plain values, as a listing has them."""
    sizes = (-1 if value is None else len(value) for value in (data_uuid, checksum))
    text = " ".join((source_url, backup_type, str(timestamp), *map(str, sizes)))
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=KEY_SIZE)
    digest.update(data_uuid or b"")
    digest.update(checksum or b"")
    return digest.digest()


def uuid_key(data_uuid: bytes) -> bytes:
    """A key of a DataUuid, or of what else may be of any size."""
    return hashlib.blake2b(data_uuid, digest_size=KEY_SIZE).digest()
