"""Receiver policies in the original's spelling: those a site wrote itself run here, and ours has both names.

What such code stores is checked against its checksum and durable before it may acknowledge it, and sources
that the peer may not send are not there for it. It joins our receiver policy with the original's code.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConfigError, IntegrityError, RemoteProtocolError
from guerillabackup.original.storage import Element, Storage, our_metainfo
from guerillabackup.original.transfer_context import TransferContext
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer import interface, receiving
from guerillabackup.transfer.checks import EMPTY_CHECKSUM, matches
from guerillabackup.transfer.held import HeldElements
from guerillabackup.transfer.interface import SENDER_MOVE_POLICY, ElementOffer
from guerillabackup.transfer.receiver_settings import SETTINGS_KEY, ReceiverSettings

READ_SIZE = 1 << 17
"""Bytes that are read where code of the original's does not say how many."""
MAX_READ_SIZE = 1 << 20

log = logging.getLogger(__name__)


class ReceiverTransferPolicy:
    """Base class of what decides which of a peer's elements are taken."""

    def isSenderPolicyCompatible(self, policyInfo: Any) -> bool:
        raise ConfigError(f"{type(self).__name__} defines no isSenderPolicyCompatible")

    def applyPolicy(self, transferContext: Any) -> None:
        raise ConfigError(f"{type(self).__name__} defines no applyPolicy, which a receiver policy needs")


class ReceiverStoreDataTransferPolicy(ReceiverTransferPolicy):
    """Stores every element that a sender who moves them offers.

    Configuration files name this one. As it is, ours does its work; for classes derived from it too, as far
    as they leave `applyPolicy` alone.
    """

    def __init__(self, configContext: Mapping[str, Any]) -> None:
        self.configContext = configContext
        self.settings = ReceiverSettings.from_configuration(None, configContext.get(SETTINGS_KEY))

    def isSenderPolicyCompatible(self, policyInfo: Any) -> bool:
        return bool(policyInfo == SENDER_MOVE_POLICY)

    def applyPolicy(self, transferContext: Any) -> None:
        transferContext.store_all()


class ReceivingContext(TransferContext):
    """A connection as a receiver policy of the original's sees it."""

    def __init__(
        self,
        context: interface.TransferContext,
        held: HeldElements,
        store_all: Callable[[interface.TransferContext], None],
    ) -> None:
        super().__init__(context)
        assert context.client is not None
        self.clientProtocolAdapter = ClientProtocolAdapter(context, context.client)
        self.localStorage = ReceivingStorage(context.local_storage, held)
        self._store_all = store_all

    def store_all(self) -> None:
        """What ours does with the connection."""
        self._store_all(self.ours)


class ReceivingStorage(Storage):
    """The storage, which finds what it holds without going through all of it."""

    def __init__(self, storage: StorageInterface, held: HeldElements) -> None:
        super().__init__(storage)
        self._held = held

    def getBackupDataElementForMetaData(self, sourceUrl: str, metaData: Any) -> Element | None:
        element = self._held.find(SourceUrl(sourceUrl), our_metainfo(metaData))
        if element is not None and element.is_locked():
            element = None  # perhaps it is being moved away: taken again, it is there twice at worst
        return None if element is None else Element(element)


class ClientProtocolAdapter:
    """The peer's sender policy, as the original's receiver policies ask it.

    Elements that the peer may not send, or that break their format, are passed over as if they were none.
    """

    def __init__(self, context: interface.TransferContext, client: interface.ClientProtocolInterface) -> None:
        self._context = context
        self._client = client
        self._current: ElementOffer | None = None

    def getRemotePolicyInfo(self) -> str | None:
        info = self._client.get_remote_policy_info()
        return None if info is None else info.policy_name

    def startTransaction(self, queryData: Any) -> None:
        self._current = None
        self._client.start_transaction(queryData)

    def nextDataElement(self, wasStoredFlag: bool = False) -> bool:
        # A true before the first element, as the original's policy has it, is about no element.
        was_stored = bool(wasStoredFlag) and self._current is not None
        self._current = None
        while True:
            try:
                offer = self._client.next_offer(was_stored)
            except IntegrityError as error:
                log.warning("refused: %s", error)
                was_stored = False
                continue
            was_stored = False
            if offer is None:
                return False
            if matches(offer.source_url, self._context.rules.accepted_sources):
                self._current = offer
                return True

    def getDataElementInfo(self) -> tuple[str, BackupElementMetainfo, Any] | None:
        if self._current is None:
            return None
        return str(self._current.source_url), self._current.metainfo, self._current.attributes

    def getDataElementStream(self) -> "DataElementStream":
        if self._current is None:
            raise RemoteProtocolError("there is no current element to get the data of")
        if self._current.metainfo.checksum == EMPTY_CHECKSUM and not self._context.takes_empty_elements:
            # The stream of such an element would end an original.
            return DataElementStream(None)
        return DataElementStream(self._client.get_data_element_stream())

    def getFileInfos(self, count: int) -> list[tuple[str, BackupElementMetainfo, Any]]:
        infos: list[tuple[str, BackupElementMetainfo, Any]] = []
        while len(infos) < count and self.nextDataElement(False):
            info = self.getDataElementInfo()
            assert info is not None
            infos.append(info)
        return infos

    def offerShutdown(self) -> None:
        self._client.offer_shutdown()

    def waitForShutdown(self) -> None:
        self._client.wait_for_shutdown()

    def forceShutdown(self) -> None:
        self._client.force_shutdown()


class DataElementStream:
    """The data of the current element."""

    def __init__(self, stream: interface.ProtocolDataElementStream | None) -> None:
        self._stream = stream

    def read(self, readLength: int = 0) -> bytes:
        """At most so many bytes, empty at the end."""
        if self._stream is None:
            return b""
        buffer = bytearray(min(readLength, MAX_READ_SIZE) if readLength > 0 else READ_SIZE)
        count = self._stream.read_into(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class AdoptedReceiverPolicy(interface.ReceiverTransferPolicy):
    """A receiver policy written for the original; `ours` does what the original's own would do for it."""

    def __init__(self, theirs: Any, ours: receiving.ReceiverStoreDataTransferPolicy) -> None:
        self.theirs = theirs
        self.ours = ours

    def is_sender_policy_compatible(self, policy_info: str | None) -> bool:
        return bool(self.theirs.isSenderPolicyCompatible(policy_info))

    def apply_policy(self, context: interface.TransferContext) -> None:
        held = self.ours.held_in(context.local_storage)
        self.theirs.applyPolicy(ReceivingContext(context, held, self.ours.apply_policy))


def make_receiver_policy(
    policy_class: type,
    configuration: Mapping[str, Any],
    init_args: Sequence[Any] | None,
    make_ours: Callable[[ReceiverSettings], receiving.ReceiverStoreDataTransferPolicy],
) -> interface.ReceiverTransferPolicy:
    """The policy that a configuration names, made as the original does: of the configuration and arguments.

    `make_ours` makes the one that stores, also for classes that are built on it. ConfigError for a class that
    cannot be made so, or is no receiver policy in either spelling.
    """
    if policy_class is ReceiverStoreDataTransferPolicy:
        return make_ours(ReceiverSettings.from_configuration(init_args, configuration.get(SETTINGS_KEY)))
    if any(each.__name__ == "SenderTransferPolicy" for each in policy_class.__mro__):
        raise ConfigError(
            f"{policy_class.__name__} is a sender's policy, and was named as the receiver's: "
            "set TransferSenderPolicyClass to it"
        )
    try:
        policy = policy_class(configuration, *(init_args or ()))
    except ConfigError:
        raise
    except Exception as error:  # a class of a site's own may raise anything
        raise ConfigError(f"the receiver policy {policy_class.__name__} cannot be made: {error}") from error
    if isinstance(policy, interface.ReceiverTransferPolicy):
        return policy
    lacking = [name for name in _METHODS if not callable(getattr(policy, name, None))]
    if lacking:
        raise ConfigError(f"the receiver policy {policy_class.__name__} has no {' and no '.join(lacking)}")
    settings = getattr(policy, "settings", None)
    ours = make_ours(settings if isinstance(settings, ReceiverSettings) else ReceiverSettings())
    return AdoptedReceiverPolicy(policy, ours)


_METHODS = ("isSenderPolicyCompatible", "applyPolicy")
