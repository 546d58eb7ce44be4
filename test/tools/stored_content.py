"""All that a storage holds, as values to compare. No I/O of its own."""

import hashlib
import json

from guerillabackup.storage.interface import StorageInterface

Content = dict[tuple[str, str, int, str], tuple[bytes, dict[str, object]]]
"""(source, type, Timestamp, digest of the data) of each element -> its data and its metadata."""


def content_of(storage: StorageInterface) -> Content:
    """Every complete element with every byte of it."""
    content: Content = {}
    for element in storage.query_backup_data_elements():
        metainfo = element.get_metadata()
        with element.get_data_stream() as stream:
            data = stream.read()
        key = (str(element.get_source_url()), metainfo.backup_type.value, metainfo.timestamp)
        content[(*key, hashlib.sha512(data).hexdigest())] = (data, json.loads(metainfo.serialize()))
    return content
