"""Finds the elements of a source that a restore would use.

Joins the elements of a storage with chain and newest, which decide.
"""

from dataclasses import replace

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.advice import shorten, suggest_above, suggest_close
from guerillabackup.restore.chain import RestoreChain, find_chain, last_before_damage
from guerillabackup.restore.elements import ElementOperations
from guerillabackup.restore.newest import require_last, require_newest, tell_of_lonely_lists


def search_chain(
    elements: ElementOperations,
    source_url: SourceUrl,
    at: float | None = None,
    element_id: ElementId | None = None,
    *,
    directory: str = "",
) -> RestoreChain:
    """The elements to restore; raises ElementNotFoundError, IntegrityError.

    What cannot be read of the source, and files of it that belong to no element, are warnings, and part of
    the error where there is one; so is a later element that is gone, unless a time or an element is
    named. `directory` is where the storage is, to tell of a wrong one.
    """
    last = elements.read_last()
    found = elements.links(source_url)
    doubts = [f"{error}; it is left out" for error in found.unreadable.values()]
    doubts += [f"{each.subject} {each.text}" for each in elements.find_leftovers(source_url)]
    damaged = {each: str(error) for each, error in found.unreadable.items()}
    damaged |= elements.find_ruined(source_url)
    if element_id in found.unreadable:
        raise found.unreadable[element_id]
    try:
        if not found.links:
            raise _not_found(elements, source_url, directory, last)
        chain = find_chain(
            found.links,
            at=at,
            element_id=element_id,
            is_genuine=elements.is_genuine,
            commands=elements.commands,
        )
        if element_id is None:
            require_newest(chain.target.element_id, damaged, at)
            lists = elements.find_lonely_lists(source_url)
            if at is None:
                uuids = last.uuids.get(source_url)
                is_lost = uuids and uuids.isdisjoint(link.data_uuid for link in found.links)
                lost, gaps_are_meant = last if is_lost else None, elements.gaps_are_meant
                doubts += require_last(chain.target.element_id, lists, lost, gaps_are_meant=gaps_are_meant)
            else:
                doubts += tell_of_lonely_lists(chain.target.element_id, lists, at)
    except (ElementNotFoundError, IntegrityError) as error:
        if not doubts:
            raise
        kind = IntegrityError if found.unreadable else type(error)
        raise kind("; ".join([str(error), *shorten(doubts)])) from error
    return replace(chain, warnings=(*chain.warnings, *shorten(doubts)))


def tell_way_out(elements: ElementOperations, chain: RestoreChain, damaged: ElementId) -> str:
    """What can be restored where an element of a chain is damaged, to end a sentence with, or nothing."""
    links = elements.links(chain.target.element_id.source_url).links
    last = last_before_damage(links, chain, damaged, elements.is_genuine)
    if not last:
        return ""
    if len(last) == 1:
        named = f"{last[0]} is the last one before it, and was not verified itself"
    else:
        named = (
            f"{last[0]} by its own timestamp and {last[1]} by arrival are the last ones before it, and were "
            "not verified themselves"
        )
    return f"; {named}; see which are whole with: {elements.commands.verify(last[0].source_url)}"


def _not_found(
    elements: ElementOperations, source_url: SourceUrl, directory: str, last: LastElements
) -> ElementNotFoundError:
    sources = elements.sources()
    names = [str(each) for each in sources if source_url.is_members or not each.is_members]
    if source_url in last.uuids:
        return ElementNotFoundError(
            f"source {source_url} has no elements in the storage: {last.describe_lost(source_url)}"
        )
    if not sources:
        return ElementNotFoundError(
            f"source {source_url} has no elements in the storage {directory}, nor has any other: is it "
            "mounted, and is it the right directory"
        )
    hint = suggest_above(directory, str(source_url), names.__contains__) or suggest_close(
        str(source_url), names
    )
    return ElementNotFoundError(f"source {source_url} has no elements in the storage{hint}")
