"""A peer in memory: what a receiver policy sees of a sender, without a connection.

It keeps to the rules of version 1, and breaks a test that does not: nothing is asked while a stream is open,
and an acknowledgement is for the element before. One that has `groups` offers so many elements at a time.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConnectionLostError, MetainfoError
from guerillabackup.transfer.interface import (
    EMPTY_ELEMENTS,
    SENDER_MOVE_POLICY,
    ClientProtocolInterface,
    ElementOffer,
    PeerRules,
    ProtocolDataElementStream,
    RemotePolicyInfo,
    TransferContext,
)

TIME = 1_700_000_000
OURS = RemotePolicyInfo(SENDER_MOVE_POLICY, True, frozenset((EMPTY_ELEMENTS,)))
ORIGINAL = RemotePolicyInfo(SENDER_MOVE_POLICY)


@dataclass(eq=False)
class Offered:
    """One element of the peer; `error` is raised when it is described, `cut` ends the connection there."""

    source: str
    data: bytes
    metainfo: BackupElementMetainfo
    error: Exception | None = None
    cut: int | None = None
    attributes: dict | None = None
    asked: int = 0
    acknowledged: int = 0

    @property
    def offer(self) -> ElementOffer:
        return ElementOffer(SourceUrl(self.source), self.metainfo, self.attributes)


def offered(data: bytes = b"data", source: str = "/host/log", time: int = TIME, **values: object) -> Offered:
    """An element as a sender has it; `values` replace those of its metadata, None takes them away."""
    metainfo = {
        "BackupType": "full",
        "Timestamp": time,
        "DataUuid": hashlib.sha512(b"%d %s" % (time, source.encode())).digest(),
        "StorageFileChecksumSha512": hashlib.sha512(data).digest(),
        **values,
    }
    return Offered(source, data, BackupElementMetainfo(metainfo))


def chain(count: int, source: str = "/host/log", size: int = 10) -> list[Offered]:
    """Elements of one source, each with the one before as its predecessor."""
    elements: list[Offered] = []
    for number in range(count):
        before = elements[-1].metainfo.data_uuid if elements else None
        data = (b"%d " % number * size)[:size]
        elements.append(offered(data, source, TIME + number, Predecessor=before))
    return elements


@dataclass
class MemoryPeer(ClientProtocolInterface):
    """The client of a connection to a peer with these elements; what is acknowledged it offers no more."""

    elements: list[Offered]
    chunk: int = 1 << 16
    groups: int = 0
    on_acknowledged: Callable[[Offered], None] = lambda element: None
    on_stream: Callable[[Offered], None] = lambda element: None
    transactions: list = field(default_factory=list)
    is_stream_open: bool = False
    is_dead: bool = False
    _list: list[Offered] = field(default_factory=list)
    _current: Offered | None = None
    _group: list[Offered] = field(default_factory=list)

    def get_remote_policy_info(self):
        self._check()
        return ORIGINAL

    def start_transaction(self, query_data=None):
        self._check()
        self.transactions.append(query_data)
        self._list = [element for element in self.elements if not element.acknowledged]
        self._current = None

    def next_data_element(self, was_stored=False):
        self._check()
        if was_stored and self._current is not None:
            self.on_acknowledged(self._current)
            self._current.acknowledged += 1
        self._current = self._list.pop(0) if self._list else None
        return self._current is not None

    def get_data_element_info(self):
        self._check()
        if self._current is None:
            return None
        if self._current.error is not None:
            raise self._current.error
        return self._current.offer

    def next_offer(self, was_stored=False):
        return self.get_data_element_info() if self.next_data_element(was_stored) else None

    def next_offers(self, stored=(), count=1):
        if not self.groups:
            return super().next_offers(stored, count)
        self._check()
        assert len(stored) <= len(self._group)
        for element, was_stored in zip(self._group, stored, strict=False):
            if was_stored:
                self.on_acknowledged(element)
                element.acknowledged += 1
        count = min(count, self.groups)
        self._group, self._list = self._list[:count], self._list[count:]
        return [element.error or replace(element.offer, size=len(element.data)) for element in self._group]

    def get_data_element_streams(self, numbers):
        if not self.groups:
            return super().get_data_element_streams(numbers)
        self._check()
        assert list(numbers) == sorted(set(numbers))
        chosen = [self._group[number] for number in numbers]
        for element in chosen:
            element.asked += 1
            self.on_stream(element)
        self.is_stream_open = True
        return [_Stream(self, element, is_last=element is chosen[-1]) for element in chosen]

    def get_data_element_stream(self):
        self._check()
        assert self._current is not None
        self._current.asked += 1
        self.is_stream_open = True
        self.on_stream(self._current)
        return _Stream(self, self._current)

    def offer_shutdown(self):
        self._check()

    def wait_for_shutdown(self):
        self._check()

    def request_stop(self):
        self._list = []

    def force_shutdown(self):
        self.is_dead = True

    def close(self):
        self.is_dead = True

    def _check(self):
        assert not self.is_stream_open, "nothing is asked while a stream is open"
        if self.is_dead:
            raise ConnectionLostError("the connection has ended")


class _Stream(ProtocolDataElementStream):
    def __init__(self, peer: MemoryPeer, element: Offered, *, is_last: bool = True) -> None:
        self._peer = peer
        self._is_last = is_last
        self._element = element
        self._offset = 0

    def read_into(self, buffer):
        if self._peer.is_dead:
            raise ConnectionLostError("the connection has ended")
        data = self._element.data
        end = len(data) if self._element.cut is None else self._element.cut
        if self._element.cut is not None and self._offset >= end:
            self._peer.is_dead, self._peer.is_stream_open = True, False
            raise ConnectionLostError("the peer is gone")
        count = min(len(buffer), self._peer.chunk, end - self._offset)
        buffer[:count] = data[self._offset : self._offset + count]
        self._offset += count
        if count == 0 and self._is_last:
            self._peer.is_stream_open = False
        return count

    def close(self):
        is_read = self._offset == len(self._element.data) and not self._is_last
        if self._peer.is_stream_open and not is_read:
            self._peer.is_dead, self._peer.is_stream_open = True, False


def unusable(text: str = "metadata has no BackupType") -> Offered:
    """An element that cannot be described."""
    element = offered()
    element.error = MetainfoError(text)
    return element


def connect(
    storage, elements: Iterable[Offered], remote=ORIGINAL, agent_id="peer", groups=0, **rules
) -> TransferContext:
    """A connection to such a peer."""
    peer = elements if isinstance(elements, MemoryPeer) else MemoryPeer(list(elements))
    peer.groups = peer.groups or groups
    context = TransferContext(PeerRules(agent_id, **rules), storage, None, None)
    context.client = peer
    context.remote = remote
    return context
