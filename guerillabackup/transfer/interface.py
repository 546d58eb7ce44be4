"""What policies, adapters, agents and connectors promise one another: the contracts stand here. No I/O.

Names and roles are those of doc/Implementation.txt, "Policy Based Data Synchronization". One connection joins
two transfer agents, and each is client and server at once: its receiver policy asks the peer by a
ClientProtocolInterface, its sender policy is asked through a ServerProtocolInterface.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Self

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import IntegrityError, RemoteProtocolError
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface
from guerillabackup.transfer.lines import EveryLine, PeerLines
from guerillabackup.transfer.peer_values import RemotePolicyInfo as RemotePolicyInfo
from guerillabackup.transfer.peer_values import TransferCounters as TransferCounters

SENDER_MOVE_POLICY = "SenderMoveDataTransferPolicy"
"""The one sender policy name that version 1 receivers accept."""
EMPTY_ELEMENTS = "empty-elements"
"""The feature of a peer that takes and sends elements of 0 bytes."""
GROUPS = "groups"
"""The feature of a peer that offers several small elements at a time."""

QueryData = Sequence[Any] | None
"""What a client may ask a sender policy for: None is everything; else a list both policies know."""


class TransferOutcome(enum.Enum):
    """What became of an element that was offered to a peer."""

    REJECTED = "rejected"
    """The peer went on and asked for none of its data, or the transaction ended before it was its turn."""
    ATTEMPTED = "attempted"
    """Some of its data was sent, or all, and the peer did not say that it stored it."""
    SUCCESSFUL = "successful"
    """The peer asked what it is and for its data, all of that was sent on this connection, and then the peer
    said that it stored it."""
    CLAIMED = "claimed"
    """The peer says that it stored it, and did not take all of it here, metadata and data: no evidence."""


@dataclass(frozen=True, slots=True)
class ElementOffer:
    """An element as its sender describes it, before any of its data."""

    source_url: SourceUrl
    metainfo: BackupElementMetainfo
    attributes: Mapping[str, Any] | None = None
    """What version 1 senders add to it: the original always sends null; nothing here decides by it."""
    size: int | None = None
    """Bytes of its data, where the sender tells that before it sends them."""


@dataclass(frozen=True, slots=True)
class PeerRules:
    """What one peer may do; patterns match whole source URLs as fnmatch does, `*` going over slashes too."""

    agent_id: str
    """Who the peer is, as the connector says; names it in messages, state and quarantine."""
    accepted_sources: tuple[str, ...] = ("*",)
    """Sources it may send elements of, their lists of members included."""
    offered_sources: tuple[str, ...] = ("*",)
    """Sources whose elements are offered to it."""
    max_element_size: int | None = None
    """Bytes of data of one element; None: what the storage has room for."""
    accepts_bare_acknowledgement: bool = True
    """Whether a bare `true` after the whole stream counts as stored. Without it nothing a version 1 peer says
    makes an element go."""
    max_connections: int | None = None
    """Of it that run at once; None: as the agent has it for each peer."""


class ProtocolDataElementStream(ABC):
    """The data of the offered element, as it comes from the peer. While it is open, nothing else is asked.

    Raises RemoteProtocolError when the peer breaks the protocol or the connection ends, StalledError-like
    TemporaryErrors when it says nothing for too long; after that the connection is dead.
    """

    @abstractmethod
    def read_into(self, buffer: memoryview) -> int:
        """Fill as much of `buffer` as came by now, at least a byte; 0 is the end of the element."""

    @abstractmethod
    def close(self) -> None:
        """End it. Before the end of the data version 1 cannot stop the sender: the connection is given up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ClientProtocolInterface(ABC):
    """Asks the peer's sender policy. Used by the one thread of its connection; blocks, with deadlines.

    While it waits for an answer the peer's own requests are served. Any method raises RemoteProtocolError
    when the peer breaks the protocol, the connection ends, or the peer could not be served; then every later
    call raises the same error.
    """

    @abstractmethod
    def get_remote_policy_info(self) -> RemotePolicyInfo | None:
        """What the peer's sender policy is; None when the peer sends nothing. (getRemotePolicyInfo)"""

    @abstractmethod
    def start_transaction(self, query_data: QueryData = None) -> None:
        """Begin to go through the offered elements, from the first on. (startTransaction)"""

    @abstractmethod
    def next_data_element(self, was_stored: bool = False) -> bool:
        """Whether there is another element, which is then the current one. (nextDataElement)

        `was_stored` True acknowledges the element before it: it must be durable here.
        """

    @abstractmethod
    def get_data_element_info(self) -> ElementOffer | None:
        """What the current element is; None when there is none. (getDataElementInfo)

        IntegrityError as with `next_offer`.
        """

    @abstractmethod
    def next_offer(self, was_stored: bool = False) -> ElementOffer | None:
        """`next_data_element` and `get_data_element_info` in one round trip; None at the end.

        IntegrityError when the source or the metadata breaks a rule of its format: the element is the current
        one all the same, and the connection goes on with the next call.
        """

    @abstractmethod
    def get_data_element_stream(self) -> ProtocolDataElementStream:
        """The current element's data, to be read to its end. (getDataElementStream)"""

    def next_offers(
        self, stored: Sequence[bool] = (), count: int = 1
    ) -> Sequence[ElementOffer | IntegrityError]:
        """The next elements in one round trip, at most so many; none at the end.

        `stored` acknowledges those of the offers before that are durable here, in their order. An error
        stands for an element of which `next_offer` would raise it. A peer that knows no groups offers one.
        """
        try:
            offer = self.next_offer(any(stored))
        except IntegrityError as error:
            return (error,)
        return () if offer is None else (offer,)

    def get_data_element_streams(self, numbers: Sequence[int]) -> Sequence[ProtocolDataElementStream]:
        """The data of some of these offers, by their places from 0 on, ascending.

        Each is closed before the next one is read; to close one early gives up those behind it too.
        """
        return [self.get_data_element_stream() for _ in numbers]

    @abstractmethod
    def offer_shutdown(self) -> None:
        """Say that nothing more will be asked, and wait for the answer. (offerShutdown)"""

    @abstractmethod
    def wait_for_shutdown(self) -> None:
        """Serve the peer until it offers its shutdown too. (waitForShutdown)"""

    @abstractmethod
    def request_stop(self) -> None:
        """Begin nothing new, from any thread: from now on there is no next element, for neither side.

        What is under way goes on, and what was stored is still acknowledged.
        """

    @abstractmethod
    def force_shutdown(self) -> None:
        """End the connection at once; from any thread, at any time, twice too. (forceShutdown)"""

    @abstractmethod
    def close(self) -> None:
        """Release what the connection holds, at its end; twice too. By its own thread."""


class ServerProtocolInterface(ABC):
    """What a peer's requests come to: the local sender policy, for one connection.

    Used by the one thread of its connection. What the peer may not do raises RemoteProtocolError.
    """

    @abstractmethod
    def get_policy_info(self) -> str | None:
        """The name of the local sender policy, None without one. (getPolicyInfo)"""

    @abstractmethod
    def start_transaction(self, query_data: QueryData) -> None:
        """Begin to offer elements from the first on, also those skipped before. (startTransaction)"""

    @abstractmethod
    def next_data_element(self, was_stored: bool) -> bool:
        """Settle the current element and go to the next; False at the end. (nextDataElement)"""

    @abstractmethod
    def get_data_element_info(self) -> ElementOffer | None:
        """The current element, any number of times; None without one. (getDataElementInfo)"""

    @abstractmethod
    def get_data_element_stream(self) -> BinaryIO:
        """The current element's data, a file with a descriptor; the caller closes it. (getDataElementStream)

        RemoteProtocolError without a current element.
        """

    def next_data_elements(self, stored: Sequence[bool], count: int) -> Sequence[bytes]:
        """Settle the group before, and go to the next one, of at most so many elements; none at the end.

        Each is as messages.py describes it. While a group is offered, there is no current element."""
        raise RemoteProtocolError("elements are offered one by one here")

    def get_data_elements_stream(self, numbers: Sequence[int]) -> BinaryIO:
        """The data of some elements of the group, one behind the other."""
        raise RemoteProtocolError("elements are offered one by one here")

    @abstractmethod
    def stream_ended(self, is_complete: bool) -> None:
        """How the stream asked for last ended: all of its bytes were handed to the peer, or not."""

    def element_described(self) -> None:  # noqa: B027 (not all need to know)
        """The peer has asked what the current element is, and is told."""

    def look_ahead(self) -> None:  # noqa: B027 (there may be nothing to look at)
        """The peer is busy with what it was sent: get ready what it will ask for. Never raises."""

    @abstractmethod
    def end(self) -> None:
        """The connection is over: settle what is open. Called once, also after an error; never raises."""


@dataclass(slots=True)
class TransferContext:
    """One peer while it is connected: who it is, and what stands for it here. (TransferContext)

    Made by the connector, which has authenticated the peer; `client` and `server` are set before any policy
    sees it.
    """

    rules: PeerRules
    local_storage: StorageInterface
    sender_policy: "SenderTransferPolicy | None"
    receiver_policy: "ReceiverTransferPolicy | None"
    client: ClientProtocolInterface | None = None
    server: ServerProtocolInterface | None = None
    remote: RemotePolicyInfo | None = None
    """What the peer said of itself, once it did."""
    announced: RemotePolicyInfo | None = None
    """What the peer's own getPolicyInfo request announced: with it the peer counts as ours."""
    instance: str = ""
    """Names this process to peers; "" when it has no name."""
    loop: str | None = None
    """Why there is nothing to move on this connection, by what the peer announced."""
    counters: TransferCounters = field(default_factory=TransferCounters)
    now: Callable[[], float] = lambda: 0.0
    """UTC seconds."""
    was_asked: bool = False
    """Whether the peer asked for elements."""
    fetches: bool = False
    """Whether there is something here that fetches from a policy of the peer's."""
    is_forced: bool = False
    """Whether it is being ended at once, by whichever thread."""
    lines: PeerLines = field(default_factory=EveryLine)
    """Writes to the log what the peer causes."""

    @property
    def agent_id(self) -> str:
        """Who the peer is."""
        return self.rules.agent_id

    @property
    def moves_nothing(self) -> bool:
        """Whether nothing can be moved on such a connection in either direction, once it has ended."""
        return not self.was_asked and not self.fetches

    @property
    def is_ours(self) -> bool:
        """Whether the peer has announced itself, or has answered so."""
        return any(each is not None and each.is_announcing for each in (self.announced, self.remote))

    @property
    def offers_groups(self) -> bool:
        """Whether the peer may be asked for several elements at a time."""
        remote = self.remote
        return remote is not None and remote.is_announcing and GROUPS in remote.features

    @property
    def takes_empty_elements(self) -> bool:
        """Whether elements of 0 bytes may be offered to the peer: the stream of one ends an original."""
        return any(
            each is not None and each.is_announcing and EMPTY_ELEMENTS in each.features
            for each in (self.announced, self.remote)
        )


class SenderTransferPolicy(ABC):
    """Decides which elements are offered to a peer, in what order, and what becomes of them after.

    One policy serves all connections of an agent: methods are called from several threads.
    """

    looks_ahead = False
    """Whether an element may be taken from a query before the one ahead of it was settled."""

    @abstractmethod
    def get_policy_info(self) -> str:
        """The name receivers know it by. (getPolicyInfo)"""

    @abstractmethod
    def query_backup_data_elements(
        self, context: TransferContext, query_data: QueryData
    ) -> Iterator[StorageBackupDataElementInterface]:
        """The elements to offer, in order; RemoteProtocolError for query data it does not know.
        (queryBackupDataElements)

        An element that another connection is being offered just now is left out. The iterator is closed when
        its transaction ends.
        """

    @abstractmethod
    def apply_policy(
        self, context: TransferContext, element: StorageBackupDataElementInterface, outcome: TransferOutcome
    ) -> None:
        """Take note of what became of an offered element. (applyPolicy)

        Called once for each offered element, also when the connection ended. May delete the element, at
        once or until `settle`: do not touch it after.
        """

    def room_for_group(self) -> int:
        """How many more elements may be taken from queries before one of them is settled."""
        return 1

    def settle(self, context: TransferContext) -> None:  # noqa: B027 (most policies put nothing off)
        """Do what `apply_policy` has put off; called when a transaction or its connection ends."""


class ReceiverTransferPolicy(ABC):
    """Decides which of a peer's elements are taken. One policy serves all connections of an agent."""

    @abstractmethod
    def is_sender_policy_compatible(self, policy_info: str | None) -> bool:
        """Whether elements may be fetched from such a sender policy. (isSenderPolicyCompatible)"""

    @abstractmethod
    def apply_policy(self, context: TransferContext) -> None:
        """Fetch what should be fetched, by `context.client` into `context.local_storage`. (applyPolicy)

        Returns when nothing more is to be had now. Raises what ends the connection; an element that cannot be
        taken is not acknowledged and does not end it.
        """


OnEnd = Callable[[Exception | None], None]


class TransferAgent(ABC):
    """Runs connections: who is connected, and how they end. (TransferAgent)"""

    @abstractmethod
    def add_connection(self, context: TransferContext, on_end: OnEnd | None = None) -> None:
        """Run a connection, whose client and server are set; returns as the agent says. (addConnection)

        The agent closes it. `on_end` is called once when it is over, from any thread: with what it ended by,
        or None when both sides had agreed to. It never raises and does not wait.
        """

    def note_failure(self, agent_id: str, text: str) -> None:  # noqa: B027 (an agent may keep no status)
        """A connection to a peer could not be made, for this reason."""

    @abstractmethod
    def shutdown(self, force_shutdown_time: float = -1) -> None:
        """End all connections: offer, wait so many seconds, then force; 0: at once, -1: no limit. (shutdown)

        Returns at once; may be called again with less time. What is being written is undone, never kept half.
        """


class ConnectorService(ABC):
    """Makes connections, in or outbound, authenticates the peer, and hands them to an agent."""

    @abstractmethod
    def run(self) -> None:
        """Make connections until `shutdown`. (run)"""

    @abstractmethod
    def shutdown(self, force_shutdown_time: float = -1) -> None:
        """Make no more connections, and shut the agent's down as its own `shutdown` says. (shutdown)"""
