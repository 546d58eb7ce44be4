"""What all connections share that bring elements into one storage, whatever their policies.

So that no element is fetched from two peers at once, nor stored twice, also where those have policies of
their own, or where a reload has changed a policy while connections with the one before run.
Touches: secrets, threading, time.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from guerillabackup.events import EventListener
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.transfer.bandwidth import BandwidthLimit
from guerillabackup.transfer.broken_chains import BrokenChains
from guerillabackup.transfer.chain_memory import ChainMemory
from guerillabackup.transfer.checks import SignatureRules
from guerillabackup.transfer.claims import ClaimTable
from guerillabackup.transfer.group_room import GroupRoom
from guerillabackup.transfer.held import HeldElements
from guerillabackup.transfer.origins import Origins
from guerillabackup.transfer.receiver_settings import ReceiverSettings
from guerillabackup.transfer.refusals import Refusals
from guerillabackup.transfer.shared_sync import SharedSync


@dataclass(frozen=True, slots=True)
class StorageShare:
    """Of one storage: who fetches what just now, what is there, who brought it, and the syncs."""

    storage: StorageInterface
    sync: SharedSync
    held: HeldElements
    claims: ClaimTable
    origins: Origins = field(default_factory=Origins)
    room: GroupRoom = field(default_factory=GroupRoom)


class StorageShares:
    """One for each storage; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the shares
        self._shares: dict[int, StorageShare] = {}
        self._refusals: dict[tuple[str | None, str], Refusals] = {}
        self._tries_all = False
        self._anew: set[str] = set()
        """Agents whose elements are tried all again once it is known which were refused."""
        self.instance = secrets.token_hex(16)
        """Names whose storages these are to peers, so that a connection to itself is noticed."""

    def of(self, storage: StorageInterface) -> StorageShare:
        """The share of a storage, the same each time."""
        with self._lock:
            share = self._shares.get(id(storage))
            if share is None:
                # The storage is kept in it, so that no other one gets its id.
                share = StorageShare(storage, SharedSync(storage), HeldElements(storage), ClaimTable())
                self._shares[id(storage)] = share
            return share

    def refusals(self, directory: str | None, agent_id: str, now: Callable[[], float]) -> Refusals:
        """What was refused of an agent, the same each time; kept in the directory, or not at all."""
        with self._lock:
            found = self._refusals.get((directory, agent_id))
            if found is None:
                found = Refusals(now, directory, agent_id)
                if self._tries_all or agent_id in self._anew:
                    found.retry()
                self._refusals[directory, agent_id] = found
            return found

    def try_again(self, agent_ids: Collection[str] | None = None) -> None:
        """Have all that was refused of these agents, or of all, tried again when it is offered."""
        with self._lock:
            self._tries_all |= agent_ids is None
            self._anew.update(agent_ids or ())
            for (_, agent_id), refusals in self._refusals.items():
                if agent_ids is None or agent_id in agent_ids:
                    refusals.retry()


@dataclass(frozen=True, slots=True)
class Receiving:
    """What all connections share that bring elements into one storage; `refusals` are those of one peer."""

    settings: ReceiverSettings
    signatures: SignatureRules
    sync: SharedSync
    held: HeldElements
    claims: ClaimTable
    origins: Origins
    refusals: Refusals
    chains: ChainMemory
    broken: BrokenChains
    bandwidth: BandwidthLimit
    listen: EventListener
    room: GroupRoom
    now: Callable[[], float] = time.time
