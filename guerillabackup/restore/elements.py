"""What is asked of single elements of a storage: find, describe and verify them.

Joins the storage with chain.py, which decides, and verify.py, which reads.
"""

import base64
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import (
    ElementIdError,
    ElementNotFoundError,
    GuerillaBackupError,
    SourceUrlError,
)
from guerillabackup.events import EventListener
from guerillabackup.restore.chain_check import Severity, examine_chain, find_holes
from guerillabackup.restore.chain_graph import ChainLink
from guerillabackup.restore.commands import NO_OPTIONS, Commands
from guerillabackup.restore.companions import find_lists, find_lonely_lists
from guerillabackup.restore.deletion import DeletionPlan, delete_planned, plan_deletion
from guerillabackup.restore.describe import describe_what_can_be
from guerillabackup.restore.links import SourceLinks, make_link, read_links
from guerillabackup.restore.verify import VerifyRules, verify_element, verify_metadata
from guerillabackup.storage.interface import (
    ElementSelection,
    StorageBackupDataElementInterface,
    StorageInterface,
)

MAY_BE_COMING = 3600.0
"""Seconds for which a file without its element may be one that is being stored."""
LONELY_LIST = (
    "the element whose members it lists is not in this storage: it was moved on, or was deleted or lost "
    "without its list; if it is nowhere else either, element delete takes the list away"
)
SETTLED = (
    "the next backup is a full one, and before it stays a hole in the history, which is a violation while "
    "anything older is here; what element delete takes away on purpose is not"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about an element, or about a file that is none; no severity: it was found in order.

    `lacks_key`: the violation is no more than that a key to check with is not known here.
    """

    subject: str
    severity: Severity | None
    text: str
    lacks_key: bool = False


class ElementOperations:
    """Works on the elements of one storage.

    `read_last` hands out what must be the last element of each source, as is remembered outside of the
    storage. With `gaps_are_meant` a hole in a source's history is no violation; with `elements_leave` they
    are moved on from the storage: what waits here may lack what it follows, and it may be empty, but for what
    `find_foreign` finds that no storage has.
    """

    def __init__(
        self,
        storage: StorageInterface,
        rules: VerifyRules,
        listen: EventListener,
        read_last: Callable[[], LastElements] = LastElements,
        *,
        gaps_are_meant: bool = False,
        elements_leave: bool = False,
        find_foreign: Callable[[], str | None] = lambda: None,
        note_deleted: Callable[[Collection[bytes]], None] = lambda uuids: None,
        commands: Commands = NO_OPTIONS,
    ) -> None:
        self._storage = storage
        self._rules = rules
        self._listen = listen
        self.read_last = read_last
        self.gaps_are_meant = gaps_are_meant
        self._elements_leave = elements_leave
        self._find_foreign = find_foreign
        self._note_deleted = note_deleted
        self.commands = commands

    def get(self, text: str) -> StorageBackupDataElementInterface:
        """The element of exactly this id; raises ElementIdError, ElementNotFoundError."""
        return self._storage.get_backup_data_element(ElementId.parse(text))

    def describe_fully(self, element: StorageBackupDataElementInterface) -> dict[str, object]:
        """All that is known of one element, as texts, numbers and lists of them.

        Of one whose metadata cannot be read what its name tells, and what is wrong as `problem`.
        """
        companion = self.companion(element)
        record = describe_what_can_be(element)
        if "problem" not in record:
            metainfo = element.get_metadata()
            for key in sorted(metainfo.keys()):
                value = metainfo.get(key)
                record[key] = base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        attributes = element.list_extra_data()
        members = None if companion is None else str(companion)
        return record | {"attributes": attributes, "members": members, "locked": element.is_locked()}

    def links(self, source_url: SourceUrl) -> SourceLinks:
        """All elements of a source; what goes meanwhile is left out."""
        return read_links(self._storage, source_url)

    def is_genuine(self, element_id: ElementId) -> bool:
        """Whether its metadata, source and all, is signed by a key that is known here and in order."""
        element = self._storage.get_backup_data_element(element_id)
        judged = verify_metadata(element, self._rules)
        return judged.signed_by is not None and judged.is_ok and element.get_metadata().source_url is not None

    def find_leftovers(self, source_url: SourceUrl | None = None) -> Iterator[Finding]:
        """Files that belong to no element, of the whole storage or that are named as a source's.

        What is left of an element that was complete once is a violation: storing it leaves nothing like that.
        """
        for leftover in self._storage.find_leftovers(source_url):
            text = f"belongs to no element: {leftover.what}"
            if leftover.ruined is not None:
                text += f"; element {leftover.ruined} was stored and is not whole any more"
                yield Finding(leftover.path, Severity.VIOLATION, text)
                continue
            if leftover.age < MAY_BE_COMING:
                text += "; it is less than an hour old and may be of an element that is being stored now"
            yield Finding(leftover.path, Severity.WARNING, text)

    def find_ruined(self, source_url: SourceUrl) -> dict[ElementId, str]:
        """Elements of a source that were complete once and lack a part now, and what is left of them."""
        return {
            leftover.ruined: f"element {leftover.ruined} is not whole, {leftover.path} is {leftover.what}"
            for leftover in self._storage.find_leftovers(source_url)
            if leftover.ruined is not None
        }

    def find_lonely_lists(self, source_url: SourceUrl) -> set[ElementId]:
        """The lists of members of a source that are of elements which are not in the storage."""
        try:
            return find_lonely_lists(self._storage, source_url.members())
        except SourceUrlError:
            return set()

    def sources(self) -> list[SourceUrl]:
        """Every source that has elements, sorted."""
        return sorted({element.get_source_url() for element in self._storage.query_backup_data_elements()})

    def verify(self, names: Sequence[str]) -> Iterator[Finding]:
        """Verify elements and sources: digest, signature and place in the chain, as they are found.

        Without names everything is verified. Of sources and of everything, files that belong to no element
        are told of too. One finding without severity stands for each element that is in order. Raises for a
        name that is neither, and for a storage without any element, before the first finding.
        """
        # Before the storage is looked at: what is stored meanwhile is not missed.
        last = self.read_last()
        if names:
            sources, single = self._resolve(names, last)
            asked = {each: last.uuids[each] for each in sources if each in last.uuids}
            last = replace(last, uuids=asked)
        else:
            sources, single = self.sources(), []
            if not sources and self._elements_leave and self._find_foreign() is None:
                text = "no element is here: elements move on from this storage, as the configuration says"
                return chain([Finding("storage", None, text)], self.find_leftovers())
            if not sources:
                raise ElementNotFoundError(
                    "the storage has no elements at all: is it mounted, and is it the right directory"
                )
        return chain(
            self._verify(sources, single, last.deleted, is_all=not names),
            self._find_lost(last, is_asked=bool(names)),
        )

    def _verify(
        self,
        sources: Sequence[SourceUrl],
        single: Sequence[ElementId],
        deleted: frozenset[bytes],
        *,
        is_all: bool,
    ) -> Iterator[Finding]:
        for source_url in sources:
            yield from self._verify_source(source_url, None, deleted)
            if not is_all:
                yield from self.find_leftovers(source_url)
        by_source: dict[SourceUrl, set[ElementId]] = {}
        for element_id in single:
            by_source.setdefault(element_id.source_url, set()).add(element_id)
        for source_url, wanted in by_source.items():
            yield from self._verify_source(source_url, wanted, deleted)
        if is_all:
            yield from self.find_leftovers()

    def _find_lost(self, last: LastElements, *, is_asked: bool) -> Iterator[Finding]:
        """Sources whose last element is not here; where elements move on, only of one that is asked for."""
        for source_url in () if last.move_on and not is_asked else sorted(last.uuids):
            facts = list(self._storage.list_facts(ElementSelection.of_source(source_url)))
            if any(each.data_uuid in last.uuids[source_url] for each in facts) or (last.move_on and facts):
                continue
            may_be_gone = last.may_be_gone(source_url)
            severity = Severity.WARNING if may_be_gone else Severity.VIOLATION
            none_left = "" if facts else ", nor is any other of the source"
            settled = "" if may_be_gone else f"; {SETTLED}"
            yield Finding(str(source_url), severity, f"{last.describe_lost(source_url)}{none_left}{settled}")

    def plan_deletion(self, names: Sequence[str]) -> DeletionPlan:
        """See deletion.plan_deletion."""
        return plan_deletion(self._storage, names)

    def delete(self, plan: DeletionPlan, *, force: bool = False) -> Iterator[ElementId]:
        """See deletion.delete_planned."""
        return delete_planned(plan, force=force, note=self._note_deleted)

    def companion(self, element: StorageBackupDataElementInterface) -> ElementId | None:
        """The element that lists this one's members, if there is one."""
        return next((each.get_element_id() for each in find_lists(self._storage, element)), None)

    def _resolve(self, names: Sequence[str], last: LastElements) -> tuple[list[SourceUrl], list[ElementId]]:
        sources: list[SourceUrl] = []
        single: list[ElementId] = []
        for name in names:
            try:
                single.append(self.get(name).get_element_id())
                continue
            except (ElementIdError, ElementNotFoundError) as error:
                source_url = _source_of(name, error)
            has_elements = next(self._storage.query_backup_data_elements(source_url=source_url), None)
            has_leftovers = next(self._storage.find_leftovers(source_url), None) is not None
            if has_elements is None and not has_leftovers and source_url not in last.uuids:
                raise ElementNotFoundError(f"{name!r} is neither an element nor a source in the storage")
            sources.append(source_url)
        return sources, single

    def _verify_source(
        self, source_url: SourceUrl, wanted: set[ElementId] | None, deleted: frozenset[bytes]
    ) -> Iterator[Finding]:
        """Findings of one source; of the wanted elements only, but judged within their whole chain."""
        links: list[ChainLink] = []
        is_complete = True
        lonely = find_lonely_lists(self._storage, source_url)
        for element in self._storage.query_backup_data_elements(source_url=source_url):
            element_id = element.get_element_id()
            try:
                links.append(make_link(element))
                if wanted is None or element_id in wanted:
                    yield from self._verify_element(element, is_lonely=element_id in lonely)
            except ElementNotFoundError:
                continue
            except GuerillaBackupError as error:
                is_complete = False
                yield Finding(str(element_id), Severity.VIOLATION, str(error))
        # What cannot be read may be what a hole lacks.
        holes = find_holes(links, gaps_are_meant=self.gaps_are_meant, deleted=deleted) if is_complete else ()
        for found in chain(examine_chain(links, elements_leave=self._elements_leave), holes):
            if wanted is None or found.element_id in wanted:
                yield Finding(str(found.element_id), found.severity, found.text)

    def _verify_element(
        self, element: StorageBackupDataElementInterface, *, is_lonely: bool
    ) -> Iterator[Finding]:
        result = verify_element(element, self._rules, self._listen)
        subject = str(result.element_id)
        lacks_key = result.only_lacks_keys
        yield from (Finding(subject, Severity.VIOLATION, text, lacks_key) for text in result.violations)
        yield from (Finding(subject, Severity.WARNING, text) for text in result.warnings)
        if is_lonely:
            yield Finding(subject, Severity.WARNING, LONELY_LIST)
        if not result.violations and not result.warnings and not is_lonely:
            yield Finding(subject, None, f"{result.size} bytes as they were signed")


def _source_of(name: str, error: GuerillaBackupError) -> SourceUrl:
    try:
        return SourceUrl(name)
    except SourceUrlError:
        raise error from None
