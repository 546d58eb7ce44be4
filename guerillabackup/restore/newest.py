"""Whether elements that are damaged or gone came after the one that a restore would end with. No I/O."""

from collections.abc import Iterable, Mapping

from guerillabackup.element import BackupType, ElementId
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
