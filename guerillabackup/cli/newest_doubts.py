"""Whether what `element latest` shows as the newest is what restore would take, found out by names first.

It joins what the generator remembers, names in the storage, and the restore service, which is asked only of
sources about which those two leave a doubt.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from guerillabackup.config import Configuration
from guerillabackup.config_keys import elements_move_on
from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementNotFoundError, GuerillaBackupError, IntegrityError
from guerillabackup.generator.last_elements import read_last_of
from guerillabackup.restore.commands import Commands
from guerillabackup.storage.interface import ElementFacts, ElementSelection
from guerillabackup.storage.suspects import find_suspects

_NOTHING = hashlib.sha512(b"").digest()


class NewestDoubts:
    """Says what restore would of the newest elements; what is opened for that goes with the stack."""

    def __init__(
        self,
        configuration: Configuration,
        storage: str | None,
        private_keyrings: Sequence[str],
        stack: ExitStack,
    ) -> None:
        self._configuration = configuration
        self._storage = storage
        self._private_keyrings = private_keyrings
        self._stack = stack
        own = configuration.get("DefaultFileSystemSinkBaseDir")
        state = configuration.get("GeneralPersistencyBaseDir")
        self._directory = storage or str(own)
        self.move_on = elements_move_on(configuration)
        self._last = read_last_of(self._directory, own, state, move_on=self.move_on)
        self._missing = {str(source_url): source_url for source_url in self._last.uuids}
        self._suspects: dict[str, str] = {}
        self.commands = Commands(configuration.directory, storage)

    def look(self, selection: ElementSelection) -> None:
        """Take the names of the selection's sources; before their elements are listed."""
        self._suspects |= find_suspects(self._directory, selection._replace(with_members=True))

    def pass_on(self, listing: Iterable[ElementFacts]) -> Iterator[ElementFacts]:
        """The same elements, which are seen as they pass."""
        for facts in listing:
            source_url = self._missing.get(facts.source_url)
            if source_url is not None and facts.data_uuid in self._last.uuids[source_url]:
                del self._missing[facts.source_url]
            yield facts

    def judge(self, newest: ElementFacts) -> tuple[list[str], bool]:
        """What to say of the newest element of a source, of which all have passed; whether it is in doubt."""
        if (source_url := self._missing.pop(newest.source_url, None)) is not None:
            text = self._last.describe_lost(source_url)
            if self._last.may_be_gone(source_url):
                return [text], False
            return [f"{text}; what is shown is the newest of the others"], True
        if newest.size == 0 and newest.checksum not in (None, _NOTHING):
            return [f"element {newest.element_id} is damaged: its data is empty, and was not"], True
        if self._suspects.get(newest.source_url, "") >= newest.element_id.rpartition("/")[2][:14]:
            return self._ask(SourceUrl(newest.source_url))
        return [], False

    def find_gone(self, selection: ElementSelection, seen: Iterable[str]) -> dict[str, str]:
        """The selected sources that had elements and have none, and what to say of each.

        Where elements move on there are none like that.
        """
        known = set(seen)
        gone: dict[str, str] = {}
        for source, source_url in sorted(self._missing.items()):
            if self._last.may_be_gone(source_url) or source in known:
                continue
            if selection.takes_source(source):
                gone[source] = f"{self._last.describe_lost(source_url)}, nor is any other of the source"
        return gone

    def _ask(self, source_url: SourceUrl) -> tuple[list[str], bool]:
        """What restore says of the source."""
        from guerillabackup.restore.service import RestoreService

        try:
            service = self._stack.enter_context(
                RestoreService(
                    self._configuration,
                    storage_directory=self._storage,
                    private_keyring=self._private_keyrings,
                )
            )
            return list(service.find_chain(source_url).warnings), False
        except IntegrityError as error:
            return [f"source {source_url}: {error}"], True
        except ElementNotFoundError:
            return [], False
        except GuerillaBackupError as error:
            return [f"source {source_url}: whether that is the newest cannot be found out: {error}"], False
