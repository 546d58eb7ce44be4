"""What waits in the storages of the transfer service, for its status; it joins them with its policies."""

import time
from contextlib import closing

from guerillabackup.config import Configuration
from guerillabackup.errors import ConfigError
from guerillabackup.storage.registry import open_storage
from guerillabackup.transfer.evidence import list_evidence
from guerillabackup.transfer.queue_survey import Survey, survey_storage
from guerillabackup.transfer.sender_selection import ElementSelector, SenderQuery
from guerillabackup.transfer.sender_settings import SenderSettings
from guerillabackup.transfer.service import plan_of


def survey_storages(configuration: Configuration) -> Survey:
    """What is in the storages, without a service; raises ConfigError and StorageError."""
    plan = plan_of(configuration)
    found = Survey(refused=list_evidence(plan.state_directory))
    for directory in plan.storages:
        senders = [peer for peer in plan.peers if peer.storage == directory and peer.sender.policy_class]
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
