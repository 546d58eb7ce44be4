"""Sender policies in the original's spelling: those a site wrote itself run here, and ours have both names.

A bare `true` of a peer that was not sent all of the data never reaches such code as "stored", since it would
delete. It joins our sender policies with code written for the original.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from guerillabackup.element import ElementId
from guerillabackup.errors import ConfigError, ElementNotFoundError, GuerillaBackupError, RemoteProtocolError
from guerillabackup.original.storage import Element, QueryResult
from guerillabackup.original.transfer_context import TransferContext
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface
from guerillabackup.transfer import interface, sender_policy
from guerillabackup.transfer.interface import SENDER_MOVE_POLICY, QueryData, TransferOutcome
from guerillabackup.transfer.offer_gate import EMPTY, OfferGate
from guerillabackup.transfer.sender_marks import note_transfer
from guerillabackup.transfer.sender_selection import matches_any
from guerillabackup.transfer.sender_settings import SETTINGS_KEY, SenderSettings

log = logging.getLogger(__name__)


class SenderTransferPolicy:
    """Base class of what decides which elements are offered to a peer, and what becomes of them after."""

    def getPolicyInfo(self) -> Any:
        raise ConfigError(f"{type(self).__name__} defines no getPolicyInfo, which a sender policy needs")

    def queryBackupDataElements(self, transferContext: Any, queryData: Any) -> Any:
        raise ConfigError(f"{type(self).__name__} defines no queryBackupDataElements")

    def applyPolicy(self, transferContext: Any, backupDataElement: Any, wasStoredFlag: bool) -> None:
        raise ConfigError(f"{type(self).__name__} defines no applyPolicy, which a sender policy needs")


class SenderMoveDataTransferPolicy(SenderTransferPolicy):
    """Moves elements: what a peer has stored is deleted, or only marked as done.

    Configuration files name this one. As it is, ours does its work; its methods are for classes derived
    from it.
    """

    def __init__(self, configContext: Mapping[str, Any], markAsDoneOnlyFlag: bool = False) -> None:
        self.configContext = configContext
        settings = configContext.get(SETTINGS_KEY)
        # The flag is left out where it says nothing: the settings may.
        init_args = [markAsDoneOnlyFlag] if markAsDoneOnlyFlag is not False else None
        self.settings = SenderSettings.from_configuration(init_args, settings)
        self.markAsDoneOnlyFlag = self.settings.mark_as_done_only

    def getPolicyInfo(self) -> str:
        return SENDER_MOVE_POLICY

    def queryBackupDataElements(self, transferContext: TransferContext, queryData: Any) -> QueryResult:
        ours = sender_policy.SenderMoveDataTransferPolicy(self.settings)
        context = transferContext.ours
        return QueryResult(_find(context.local_storage, ours.select(context, queryData)), None)

    def applyPolicy(
        self, transferContext: TransferContext, backupDataElement: Any, wasStoredFlag: bool
    ) -> None:
        if not wasStoredFlag:
            return
        if self.markAsDoneOnlyFlag:
            element = _our_element(transferContext.ours.local_storage, backupDataElement)
            note_transfer(element, transferContext.agentId, time.time())
        else:
            backupDataElement.delete()


class AdoptedSenderPolicy(interface.SenderTransferPolicy):
    """A sender policy written for the original, behind the gate that ours stand behind."""

    def __init__(
        self, theirs: Any, gate: OfferGate | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.theirs = theirs
        self._gate = gate or OfferGate()
        self._now = now
        self._offered: dict[int, Any] = {}
        """What theirs handed out for each element that is being offered."""

    def get_policy_info(self) -> str:
        return str(self.theirs.getPolicyInfo())

    def query_backup_data_elements(
        self, context: interface.TransferContext, query_data: QueryData
    ) -> Iterator[StorageBackupDataElementInterface]:
        try:
            # The original's have lists, as JSON makes them.
            query = _as_lists(query_data)
            result = self.theirs.queryBackupDataElements(TransferContext(context), query)
        except GuerillaBackupError:
            raise
        except Exception as error:
            if query_data is None:
                raise
            raise RemoteProtocolError(f"query data is not understood by {self._name()}: {error}") from error
        return self._offer(context, result)

    def apply_policy(
        self,
        context: interface.TransferContext,
        element: StorageBackupDataElementInterface,
        outcome: TransferOutcome,
    ) -> None:
        theirs = self._offered.pop(id(element), None) or Element(element)
        is_evidence = outcome is TransferOutcome.SUCCESSFUL and context.rules.accepts_bare_acknowledgement
        element_id = str(element.get_element_id())
        try:
            if not is_evidence and outcome in (TransferOutcome.SUCCESSFUL, TransferOutcome.CLAIMED):
                was_sent = outcome is TransferOutcome.SUCCESSFUL
                self._gate.note_claim(element, context.agent_id, self._now(), was_sent=was_sent)
            if not isinstance(theirs, Element):
                # One of its own, which knows nothing of our lock and may have to delete.
                element.unlock()
            self.theirs.applyPolicy(TransferContext(context), theirs, is_evidence)
        except ElementNotFoundError:
            log.info("element %s is gone before it could be settled", element_id)
        except GuerillaBackupError as error:
            log.error("element %s: %s cannot settle it: %s", element_id, self._name(), error)
        finally:
            self._gate.release(element_id)

    def _offer(
        self, context: interface.TransferContext, result: Any
    ) -> Iterator[StorageBackupDataElementInterface]:
        storage, agent_id = context.local_storage, context.agent_id
        while result is not None and (theirs := result.getNextElement()) is not None:
            name = str(theirs.getElementId())
            if not matches_any(context.rules.offered_sources, str(ElementId.parse(name).source_url)):
                continue
            element = self._gate.admit(storage, name, agent_id)
            if element is None:
                continue
            if element.get_data_size() == 0 and not context.takes_empty_elements:
                self._gate.leave_out(name, agent_id, EMPTY)
                self._gate.release(name)
                continue
            if isinstance(theirs, Element):
                theirs.become(element)
            self._offered[id(element)] = theirs
            yield element

    def _name(self) -> str:
        return type(self.theirs).__name__


def make_sender_policy(
    policy_class: type, configuration: Mapping[str, Any], init_args: Sequence[Any] | None, gate: OfferGate
) -> interface.SenderTransferPolicy:
    """The policy that a configuration names, made as the original does: of the configuration and arguments.

    ConfigError for a class that cannot be made so, or is no sender policy in either spelling.
    """
    if any(each.__name__ == "ReceiverTransferPolicy" for each in policy_class.__mro__):
        raise ConfigError(
            f"{policy_class.__name__} is a receiver's policy, and was named as the sender's: "
            "set TransferReceiverPolicyClass to it"
        )
    try:
        policy = policy_class(configuration, *(init_args or ()))
    except ConfigError:
        raise
    except Exception as error:  # a class of a site's own may raise anything
        raise ConfigError(f"the sender policy {policy_class.__name__} cannot be made: {error}") from error
    if type(policy) is SenderMoveDataTransferPolicy:
        return sender_policy.SenderMoveDataTransferPolicy(policy.settings, gate=gate)
    if isinstance(policy, interface.SenderTransferPolicy):
        return policy
    lacking = [name for name in _METHODS if not callable(getattr(policy, name, None))]
    if lacking:
        raise ConfigError(f"the sender policy {policy_class.__name__} has no {' and no '.join(lacking)}")
    return AdoptedSenderPolicy(policy, gate)


_METHODS = ("getPolicyInfo", "queryBackupDataElements", "applyPolicy")


def _as_lists(value: Any) -> Any:
    """JSON as Python reads it, where it has been made immutable."""
    if isinstance(value, list | tuple):
        return [_as_lists(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_lists(item) for key, item in value.items()}
    return value


def _find(storage: StorageInterface, ids: Iterator[str]) -> Iterator[StorageBackupDataElementInterface]:
    """The elements of these ids that are there."""
    for text in ids:
        try:
            yield storage.get_backup_data_element(ElementId.parse(text))
        except ElementNotFoundError:
            continue


def _our_element(storage: StorageInterface, theirs: Any) -> StorageBackupDataElementInterface:
    if isinstance(theirs, Element):
        return theirs.ours
    return storage.get_backup_data_element(ElementId.parse(str(theirs.getElementId())))
