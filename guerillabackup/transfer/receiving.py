"""The policy that stores every acceptable element a peer offers; it joins what its connections share."""

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from guerillabackup.events import Event, EventListener, SourceDoubt, ignore_events
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.broken_chains import AGENTS_DIRECTORY, BrokenChains
from guerillabackup.transfer.chain_memory import ChainMemory
from guerillabackup.transfer.checks import NO_SIGNATURES, SignatureRules
from guerillabackup.transfer.fetching import ElementFetcher
from guerillabackup.transfer.held import HeldElements
from guerillabackup.transfer.interface import (
    SENDER_MOVE_POLICY,
    PeerRules,
    QueryData,
    ReceiverTransferPolicy,
    TransferContext,
)
from guerillabackup.transfer.quarantine import (
    Quarantine,
    QuarantineLimits,
    agent_directory,
    list_agents,
)
from guerillabackup.transfer.query import make_source_query
from guerillabackup.transfer.receiver_settings import DEFAULT_SETTINGS, ReceiverSettings
from guerillabackup.transfer.refusals import Refusals
from guerillabackup.transfer.refused_file import refused_directory
from guerillabackup.transfer.storage_share import Receiving, StorageShares

MAX_DOUBTS = 50
"""Doubts that the status tells, the latest ones."""


class ReceiverStoreDataTransferPolicy(ReceiverTransferPolicy):
    """Stores what a sender that moves its elements offers.

    `state_directory` is where quarantine and chains are kept (GeneralPersistencyBaseDir); None: in memory,
    and no evidence. `name` tells the policies of one service apart in there. `bandwidth` and `shares` may be
    those of others too.
    """

    def __init__(
        self,
        settings: ReceiverSettings = DEFAULT_SETTINGS,
        *,
        state_directory: str | None = None,
        name: str = "default",
        signatures: SignatureRules = NO_SIGNATURES,
        bandwidth: BandwidthLimit | None = None,
        shares: StorageShares | None = None,
        listen: EventListener = ignore_events,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.bandwidth = bandwidth or BandwidthLimit()
        self._state_directory = state_directory
        self._signatures = signatures
        self._shares = shares or StorageShares()
        self._tell = listen
        self._now = now
        chains = None if state_directory is None else os.path.join(state_directory, AGENTS_DIRECTORY, name)
        self._chains = ChainMemory(chains)
        self._broken = BrokenChains(chains)
        self._lock = threading.Lock()  # guards all below
        self._storages: dict[int, tuple[StorageInterface, Receiving]] = {}
        self._refusals: dict[str, Refusals] = {}
        """By agent: what one peer sends wrong another one may have right."""
        self._refused_in = None if state_directory is None else refused_directory(state_directory, name)
        self._quarantines: dict[str, Quarantine] = {}
        self._doubts: deque[str] = deque(maxlen=MAX_DOUBTS)
        for agent_id in [] if state_directory is None else list_agents(state_directory):
            # Also of those who do not come any more: another one may bring what is kept of theirs.
            self._quarantine(agent_id)

    def is_sender_policy_compatible(self, policy_info: str | None) -> bool:
        return policy_info == SENDER_MOVE_POLICY

    def apply_policy(self, context: TransferContext) -> None:
        assert context.client is not None
        shared = self._receiving(context.local_storage)
        shared = replace(shared, refusals=self._refusals_of(context.agent_id))
        shared.refusals.judged_by(_describe_settings(self.settings, context.rules, self._signatures))
        fetcher = ElementFetcher(
            context,
            context.client,
            shared,
            self._quarantine(context.agent_id),
            self._query_data(context),
            self._settle,
        )
        fetcher.run()

    def held_in(self, storage: StorageInterface) -> HeldElements:
        """Finds what a storage holds already, for policies that store by themselves."""
        return self._receiving(storage).held

    def status(self) -> dict[str, Any]:
        """What an administrator may want to know, as JSON values."""
        with self._lock:
            refused = sum(refusals.count() for refusals in self._refusals.values())
            quarantines, doubts = dict(self._quarantines), list(self._doubts)
        kept = {agent_id: (*one.usage(), one.dropped) for agent_id, one in quarantines.items()}
        return {
            "bytes_per_second": self.bandwidth.bytes_per_second,
            "refused_lately": refused,
            "doubts": doubts,
            "quarantine": {
                agent_id: {"entries": entries, "bytes": size, "dropped": dropped}
                for agent_id, (entries, size, dropped) in kept.items()
            },
        }

    def close(self) -> None:
        """Let go of what is open, after the last connection has ended."""
        self._chains.close()

    def _query_data(self, context: TransferContext) -> QueryData:
        """What to ask for: everything, unless the peer is known to understand more."""
        settings = self.settings
        if context.remote is None or not context.remote.is_announcing:
            return None
        if not settings.query_sources and settings.query_since is None:
            return None
        since = None if settings.query_since is None else max(0, int(self._now() - settings.query_since))
        return make_source_query(settings.query_sources, since)

    def _receiving(self, storage: StorageInterface) -> Receiving:
        """What the connections that store there share."""
        with self._lock:
            found = self._storages.get(id(storage))
            if found is None:
                share = self._shares.of(storage)
                shared = Receiving(
                    self.settings,
                    self._signatures,
                    share.sync,
                    share.held,
                    share.claims,
                    share.origins,
                    Refusals(self._now),
                    self._chains,
                    self._broken,
                    self.bandwidth,
                    self._listen,
                    share.room,
                    self._now,
                )
                # The storage is kept, so that no other one gets its id.
                found = self._storages[id(storage)] = (storage, shared)
            return found[1]

    def _refusals_of(self, agent_id: str) -> Refusals:
        with self._lock:
            found = self._refusals.get(agent_id)
            if found is None:
                found = self._shares.refusals(self._refused_in, agent_id, self._now)
                self._refusals[agent_id] = found
            return found

    def _quarantine(self, agent_id: str) -> Quarantine | None:
        if self._state_directory is None:
            return None
        with self._lock:
            quarantine = self._quarantines.get(agent_id)
            if quarantine is None:
                quarantine = Quarantine(
                    agent_directory(self._state_directory, agent_id),
                    QuarantineLimits(self.settings.max_quarantine_size, self.settings.max_quarantine_entries),
                    self._now,
                )
                self._quarantines[agent_id] = quarantine
            return quarantine

    def _settle(self, key: bytes) -> None:
        """An element is here: what is kept of it, whoever it came from, is no finding any more."""
        with self._lock:
            quarantines = list(self._quarantines.values())
        for quarantine in quarantines:
            quarantine.settle(key)

    def _listen(self, event: Event) -> None:
        if isinstance(event, SourceDoubt):
            with self._lock:
                self._doubts.append(f"{event.agent_id}: {event.source_url}: {event.message}")
        self._tell(event)


def _describe_settings(settings: ReceiverSettings, rules: PeerRules, signatures: SignatureRules) -> str:
    """A digest of what decides on elements: with another one, what was refused may be taken."""
    facts = (settings, rules.accepted_sources, rules.max_element_size, signatures.facts)
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
