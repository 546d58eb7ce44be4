"""The simplest ends of a transfer, for tests of what is between them: from memory, to memory.

Touches: hashlib, os, socket, threading.
"""

import hashlib
import os
import socket
import threading

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import RemoteProtocolError
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.interface import (
    SENDER_MOVE_POLICY,
    ElementOffer,
    PeerRules,
    ReceiverTransferPolicy,
    ServerProtocolInterface,
    TransferContext,
)
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.session import connect

BUFFER_SIZE = 1 << 18


def offer_of(name: str, data: bytes) -> ElementOffer:
    """How an element of these bytes is offered."""
    metainfo = BackupElementMetainfo(
        {
            "BackupType": "full",
            "Timestamp": 1_600_000_000,
            "DataUuid": name.encode(),
            "StorageFileChecksumSha512": hashlib.sha512(data).digest(),
        }
    )
    return ElementOffer(SourceUrl(f"/{name}"), metainfo)


def content_file(data: bytes, size: int | None = None):
    """A file of that content, repeated up to a size."""
    descriptor = os.memfd_create("content")
    file = os.fdopen(descriptor, "r+b")
    left = len(data) if size is None else size
    while left > 0:
        left -= file.write(data[:left])
    file.flush()
    file.seek(0)
    return file


class OfferingServer(ServerProtocolInterface):
    """Offers elements from memory (name -> bytes), and notes what becomes of them."""

    def __init__(self, elements, *, policy=SENDER_MOVE_POLICY):
        self.elements = dict(elements)
        self.policy = policy
        self.settled = []
        self.is_ended = False
        self._names = iter(())
        self._current = None
        self._was_streamed = False

    def get_policy_info(self):
        return self.policy

    def start_transaction(self, query_data):
        if query_data is not None:
            raise RemoteProtocolError("this query is not known")
        self._names = iter(list(self.elements))

    def next_data_element(self, was_stored):
        if self._current is not None:
            self.settled.append((self._current, was_stored, self._was_streamed))
        self._current, self._was_streamed = next(self._names, None), False
        return self._current is not None

    def get_data_element_info(self):
        if self._current is None:
            return None
        content = self.elements[self._current]
        return offer_of(self._current, content if isinstance(content, bytes) else b"")

    def get_data_element_stream(self):
        if self._current is None:
            raise RemoteProtocolError("no element is selected")
        content = self.elements[self._current]
        return content_file(content) if isinstance(content, bytes) else content()

    def stream_ended(self, is_complete):
        self._was_streamed = is_complete

    def end(self):
        assert not self.is_ended
        self.is_ended = True


class TakingPolicy(ReceiverTransferPolicy):
    """Takes everything, and keeps name -> bytes, or the number of bytes."""

    def __init__(self, *, keeps_content=True):
        self.taken = {}
        self.keeps_content = keeps_content
        self.started = threading.Event()

    def is_sender_policy_compatible(self, policy_info):
        return policy_info == SENDER_MOVE_POLICY

    def apply_policy(self, context):
        client = context.client
        client.start_transaction(None)
        offer = client.next_offer()
        self.started.set()
        while offer is not None:
            with client.get_data_element_stream() as stream:
                self.taken[offer.source_url.text[1:]] = self._read(stream)
            context.counters.elements_received += 1
            offer = client.next_offer(True)

    def _read(self, stream):
        buffer = bytearray(BUFFER_SIZE)
        view = memoryview(buffer)
        content, size = bytearray(), 0
        while count := stream.read_into(view):
            size += count
            if self.keeps_content:
                content += view[:count]
        return bytes(content) if self.keeps_content else size


def make_context(
    channel, elements=None, receiver=None, *, agent_id="peer", limits=None, policy=SENDER_MOVE_POLICY
):
    """A connected context that offers elements and fetches by a receiver policy."""
    context = TransferContext(PeerRules(agent_id), MemoryStorage(), None, receiver)
    server = OfferingServer(elements or {}, policy=policy)
    connect(context, channel, lambda _: server, limits or PaceLimits())
    return context


def socket_channels():
    """Two channels that are each other's peer."""
    return tuple(Channel.of_socket(end) for end in socket.socketpair())


def pipe_channels():
    """The same over two pipes."""
    (left_in, right_out), (right_in, left_out) = os.pipe(), os.pipe()
    return Channel(left_in, left_out), Channel(right_in, right_out)
