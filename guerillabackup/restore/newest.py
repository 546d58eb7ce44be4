"""Whether elements that are damaged or gone came after the one that a restore would end with. No I/O."""

from collections.abc import Iterable, Mapping

from guerillabackup.element import BackupType, ElementId
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import IntegrityError

MAX_NAMED = 4


def require_newest(target: ElementId, damaged: Mapping[ElementId, str], at: float | None) -> None:
    """Raises IntegrityError when a damaged element is later than the target, and not later than `at`.

    `damaged` says why. By their labels: of what cannot be read nothing else is known.
    """
    if later := find_later(target, damaged, at):
        texts = [damaged[each] for each in later[:MAX_NAMED]]
        if len(later) > MAX_NAMED:
            texts.append(f"and {len(later) - MAX_NAMED} more of the kind")
        raise IntegrityError(
            f"the newest state that was asked for is damaged: {'; '.join(texts)}; to take an older one on "
            f"purpose, name it: --element {target} is the last whole one, or give an earlier time with --at"
        )


def require_last(
    target: ElementId, lists: Iterable[ElementId], lost: LastElements | None, *, gaps_are_meant: bool
) -> list[str]:
    """Raises IntegrityError when an element later than the target was stored and is not here any more.

    `lists` are the lists of members whose elements are not here; `lost` is what is remembered, where the last
    element by that is not. Hands back what to say of one that may have gone on purpose.
    """
    told = tell_of_lonely_lists(target, lists, None)
    texts = told if gaps_are_meant else []
    refused = [] if gaps_are_meant else told
    if lost is not None:
        name = lost.id_of(target.source_url)
        # A label before the target's: memory that was put back, or a clock; nobody can tell which.
        is_later = name is None or name.digits >= target.digits
        (refused if is_later and not lost.may_be_gone(target.source_url) else texts).insert(
            0, lost.describe_lost(target.source_url)
        )
    if refused:
        raise IntegrityError(
            f"the newest state that was asked for is not here: {refused[0]}; to take an older one on "
            f"purpose, type the same with --element {target}"
        )
    return texts


def tell_of_lonely_lists(target: ElementId, lists: Iterable[ElementId], at: float | None) -> list[str]:
    """A warning for each list of members that is later than the target and whose element is not here."""
    return [
        f"element {each} lists the members of a newer backup than {target}, which is not in this storage: it "
        "was moved on, or was deleted or lost without its list"
        for each in find_later(target, lists, at)
    ]


def find_later(target: ElementId, ids: Iterable[ElementId], at: float | None) -> list[ElementId]:
    """Those labelled as no older than the target, nor newer than `at`, sorted."""
    until = "9" * 14
    if at is not None:
        until = ElementId.label(target.source_url, int(at), BackupType.FULL).digits
    return sorted(each for each in ids if target.digits <= each.digits <= until)
