"""A spool with elements, and a peer that asks its sender policy for them."""

import contextlib
import hashlib
from collections.abc import Iterator

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface
from guerillabackup.transfer.interface import (
    EMPTY_ELEMENTS,
    PeerRules,
    RemotePolicyInfo,
    SenderTransferPolicy,
    TransferContext,
)
from guerillabackup.transfer.sending import DefaultTransferAgentServerProtocolAdapter as Adapter

TIME = 1_700_000_000


def put(
    storage: StorageInterface,
    source: str = "/host/etc",
    data: bytes = b"data",
    *,
    time: int = TIME,
    own: bytes | None = None,
    before: bytes | None = None,
    handling: tuple[str, ...] = (),
) -> StorageBackupDataElementInterface:
    """A new element; an incremental one when it follows another."""
    values = {
        "BackupType": "full" if before is None else "inc",
        "Timestamp": time,
        "DataUuid": own,
        "Predecessor": before,
        "StorageFileChecksumSha512": hashlib.sha512(data).digest(),
        "HandlingPolicy": list(handling),
    }
    with storage.get_sink_handle(SourceUrl(source)) as handle:
        handle.write(data)
        element = handle.close(BackupElementMetainfo(values))
    assert element is not None
    return element


def connect(
    storage: StorageInterface,
    policy: SenderTransferPolicy | None,
    agent_id: str = "peer",
    *,
    is_ours: bool = False,
    **rules: object,
) -> tuple[TransferContext, Adapter]:
    """A connection of a peer."""
    context = TransferContext(PeerRules(agent_id, **rules), storage, policy, None)
    if is_ours:
        context.announced = RemotePolicyInfo(
            policy_name="", is_announcing=True, features=frozenset({EMPTY_ELEMENTS})
        )
    adapter = Adapter(context)
    context.server = adapter
    return context, adapter


def read(adapter: Adapter) -> bytes:
    """The current element's metadata and data, sent whole."""
    adapter.element_described()
    with adapter.get_data_element_stream() as stream:
        data = stream.read()
    adapter.stream_ended(True)
    return data


def pull(adapter: Adapter, query: list[object] | None = None, *, is_stored: bool = True) -> Iterator[str]:
    """Go through all that is offered as a receiver does; the ids by source and data."""
    adapter.start_transaction(query)
    was_stored = False
    while adapter.next_data_element(was_stored):
        offer = adapter.get_data_element_info()
        assert offer is not None
        data = read(adapter)
        assert hashlib.sha512(data).digest() == offer.metainfo.checksum
        was_stored = is_stored
        yield f"{offer.source_url} {data.decode()}"


def ids(storage: StorageInterface) -> list[str]:
    """All that is in a storage."""
    return [str(element.get_element_id()) for element in storage.query_backup_data_elements()]


@contextlib.contextmanager
def connected(*arguments: object, **named: object) -> Iterator[Adapter]:
    """A connection that ends with the context."""
    _, adapter = connect(*arguments, **named)
    try:
        yield adapter
    finally:
        adapter.end()
