"""What waits in the storages of the transfer service, for its status; it joins them with its policies."""

import time
from contextlib import closing
from typing import Any

from guerillabackup.config import Configuration
from guerillabackup.errors import ConfigError, ElementNotFoundError, GuerillaBackupError
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.storage.registry import open_storage
from guerillabackup.transfer.broken_chains import BrokenChain, list_broken_chains
from guerillabackup.transfer.evidence import list_evidence
from guerillabackup.transfer.plan import SOCKET_AGENT, ServicePlan
from guerillabackup.transfer.queue_survey import Survey, survey_storage
from guerillabackup.transfer.refused_file import list_refused
from guerillabackup.transfer.sender_selection import ElementSelector, SenderQuery
from guerillabackup.transfer.sender_settings import SenderSettings
from guerillabackup.transfer.service import plan_of


def _list_refused(plan: ServicePlan) -> list[dict[str, Any]]:
    """What was refused and has not come since: what evidence there is of, and what is only remembered."""
    remembered = {
        (each["peer"], each["key"]): each
        for each in list_refused(plan.state_directory)
        if plan.find(each["peer"]) is not None
    }
    found = []
    for each in list_evidence(plan.state_directory):
        known = remembered.pop((each["peer"], each["key"]), None)
        if each["settled"] is None:
            found.append(
                {
                    **each,
                    "element": None if known is None else known["element"],
                    "next_try": None if known is None else known["next_try"],
                }
            )
    for each in remembered.values():
        lacking = {"first": None, "has_data": False, "settled": None, "evidence": None}
        found.append({**lacking, **each})
    return sorted(found, key=lambda each: float(each["last"]), reverse=True)


def survey_storages(configuration: Configuration) -> Survey:
    """What is in the storages, without a service; raises ConfigError and StorageError."""
    plan = plan_of(configuration)
    found = Survey(refused=_list_refused(plan))
    found.broken_chains.extend(_describe_broken(configuration, plan))
    for directory in plan.storages:
        senders = [peer for peer in plan.peers if peer.storage == directory and peer.sender.policy_class]
        # What is nobody's own socket is there unasked: it counts where nobody else gets anything.
        senders = [peer for peer in senders if peer.agent_id != SOCKET_AGENT] or senders
        selectors = []
        for peer in senders:
            try:
                choice = peer.sender
                settings = SenderSettings.from_configuration(choice.init_args, choice.settings)
            except ConfigError:
                settings = SenderSettings()  # those of a class of the site's own
            query = SenderQuery()
            selectors.append(ElementSelector(settings, peer.rules.offered_sources, query, time.time()))
        if selectors:
            state = configuration["GeneralPersistencyBaseDir"]
            with closing(open_storage(directory, state_directory=state)) as storage:
                survey_storage(found, directory, storage, selectors)
    return found


def find_broken_chains(configuration: Configuration) -> list[BrokenChain]:
    """What lacks its predecessor here; not what was removed, where only an administrator does that."""
    return _still_broken(configuration, plan_of(configuration))


def _describe_broken(configuration: Configuration, plan: ServicePlan) -> list[dict[str, object]]:
    return [{**each.describe(), "message": each.message} for each in _still_broken(configuration, plan)]


def _still_broken(configuration: Configuration, plan: ServicePlan) -> list[BrokenChain]:
    broken = list_broken_chains(plan.state_directory)
    if not broken or any(peer.sender.policy_class is not None for peer in plan.peers):
        return broken  # elements may have gone on to others
    state = configuration["GeneralPersistencyBaseDir"]
    here: set[BrokenChain] = set()
    for directory in plan.storages:
        with closing(open_storage(directory, state_directory=state)) as storage:
            here.update(each for each in broken if _has(storage, each))
    return [each for each in broken if each in here]


def _has(storage: StorageInterface, broken: BrokenChain) -> bool:
    try:
        storage.get_backup_data_element(broken.element_id)
    except ElementNotFoundError:
        return False
    except GuerillaBackupError:
        pass  # it is there, and in whatever state
    return True
