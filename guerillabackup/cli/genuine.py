"""Whether listed elements are signed by keys that are known here, asked only where that decides something.

It joins the listing with the restore service, which has the keyrings and is imported when they are needed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from guerillabackup.config import Configuration
from guerillabackup.element import ElementId
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.storage.interface import ElementFacts

if TYPE_CHECKING:
    from guerillabackup.restore.service import RestoreService


@contextmanager
def judging_signatures(
    configuration: Configuration,
    storage: str | None,
    private_keyrings: Sequence[str],
    warn: Callable[[str], None],
) -> Iterator[Callable[[ElementFacts], bool]]:
    """Says of an element whether its metadata is signed and in order; what hinders that is warned of once."""
    with ExitStack() as stack:
        opened: list[RestoreService | None] = []

        def is_genuine(facts: ElementFacts) -> bool:
            from guerillabackup.restore.service import RestoreService

            if not facts.is_signed or opened == [None]:
                return False
            try:
                if not opened:
                    service = RestoreService(
                        configuration, storage_directory=storage, private_keyring=private_keyrings
                    )
                    opened.append(stack.enter_context(service))
                assert opened[0] is not None
                return opened[0].elements.is_genuine(ElementId.parse(facts.element_id))
            except GuerillaBackupError as error:
                warn(f"no signature can be checked: {error}")
                opened[:] = [None]
                return False

        yield is_genuine
