"""What a unit remembers of its sources, as one step with the storing of their elements.

That no crash parts the two is `generator/pending.py`'s affair; here it is made use of, in the same way by all
units with a memory for each source. It joins the state and the storage.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.events import SourceWarning
from guerillabackup.generator.interface import UnitContext
from guerillabackup.generator.pending import Presence, Recovered, forget_pending, recover, store_together
from guerillabackup.generator.state import PENDING, StateDirectory
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.units.making import Part, sign_parts

Memory = TypeVar("Memory")

log = logging.getLogger(__name__)


def _settle_nothing(state: StateDirectory, details: dict[str, Any]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class MemoryForm(Generic[Memory]):
    """How a unit's memory is kept.

    `empty` is that of a source without an element. `load` reads all sources, also those that are not
    configured any more; `save` writes them. `parse` reads one from what a crash left, raising KeyError,
    TypeError, ValueError or GuerillaBackupError where that is damaged. `settle` does what else has to be done
    to remember an element. A crash may have `save` and `settle` done once more.
    """

    empty: Memory
    load: Callable[[StateDirectory], dict[SourceUrl, Memory]]
    save: Callable[[StateDirectory, Mapping[SourceUrl, Memory]], None]
    parse: Callable[[Recovered], tuple[SourceUrl, Memory]]
    settle: Callable[[StateDirectory, dict[str, Any]], None] = _settle_nothing


class SourceBook(Generic[Memory]):
    """The memory of a unit, and its state directory, which is locked until `close`.

    Opening it finishes what a crash interrupted; raises StateError where the state cannot be used.
    """

    def __init__(self, context: UnitContext, form: MemoryForm[Memory]) -> None:
        self._context = context
        self._form = form
        self.state = StateDirectory(context.state_directory)
        try:
            self._memories = form.load(self.state)
            self.recover()
        except BaseException:
            self.state.close()
            raise

    def close(self) -> None:
        """May be called twice."""
        self.state.close()

    def get(self, url: SourceUrl) -> Memory:
        """What is remembered of a source."""
        return self._memories.get(url, self._form.empty)

    def recover(self) -> None:
        """Finish what a crash, or a full disk, interrupted between storing and remembering.

        Called before anything new is begun, too: that would fork the chain.
        """
        recovered = recover(self.state, self._context.storage)
        if recovered is None:
            return
        with damage_told(self.state, PENDING):
            url, memory = self._form.parse(recovered)
        if recovered.presence is Presence.DAMAGED:
            log.error("source %s: what an interrupted run had begun to store is damaged, and not stored", url)
            forget_pending(self.state)
            return
        log.warning("source %s: finished what an interrupted run had begun to store", url)
        self.remember(url, memory, recovered.details)

    def store(
        self, parts: Sequence[Part], url: SourceUrl, memory: Memory, details: dict[str, Any]
    ) -> StorageBackupDataElementInterface:
        """Sign and store what was written; hands back the first element. `details` are for `parse`."""
        elements = store_together(self.state, sign_parts(self._context, parts), details)
        self.remember_stored(url, memory, details, elements[0].get_element_id())
        return elements[0]

    def remember_stored(
        self, url: SourceUrl, memory: Memory, details: dict[str, Any], element_id: ElementId
    ) -> None:
        """Take note of an element that was just stored; a failure of that is told, and takes nothing from it.

        Then it is pending, and the next `recover` has to succeed before anything else is stored.
        """
        self._memories[url] = memory
        try:
            self.remember(url, memory, details)
        except GuerillaBackupError as error:
            warning = (
                f"element {element_id} is stored, but could not be taken note of, which the next run does"
                f" before anything else: {error}"
            )
            log.warning("source %s: %s", url, warning)
            self._context.listen(SourceWarning(self._context.unit_name, url, warning))

    def remember(self, url: SourceUrl, memory: Memory, details: dict[str, Any]) -> None:
        """Take note of a stored element; every step can be repeated after a crash."""
        self._form.settle(self.state, details)
        self._memories[url] = memory
        self._form.save(self.state, self._memories)
        forget_pending(self.state)


@contextmanager
def damage_told(state: StateDirectory, name: str) -> Iterator[None]:
    """What is wrong with a state file's value becomes an error that names the file and what to do."""
    try:
        yield
    except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
        raise state.damaged(name, str(error)) from error
