"""Replays a chain of archives into a target: the full, then what each incremental changed, deleted, renamed.

Joins the survey of the archives, which decides, with the unpacking and the target directory.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial

from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.advice import count_of
from guerillabackup.restore.below import is_there
from guerillabackup.restore.decode import ElementDecoder
from guerillabackup.restore.directory_attributes import DirectoryAttributes
from guerillabackup.restore.directory_record import FinalNames, normal_name
from guerillabackup.restore.interface import Content
from guerillabackup.restore.left_out import LeftOut
from guerillabackup.restore.member_patterns import MemberPatterns
from guerillabackup.restore.prepare import apply_renames, check_plain, make_way
from guerillabackup.restore.problems import OpenProblems
from guerillabackup.restore.state_check import MAX_REMEMBERED, StateCheck
from guerillabackup.restore.survey import ArchiveSurvey, Selection
from guerillabackup.restore.tar_member import TarMember
from guerillabackup.restore.target import RestoreTarget, keep_only
from guerillabackup.restore.unpack import MemberFilter, Unpacker
from guerillabackup.storage.interface import StorageBackupDataElementInterface

MAX_NAMED = 5


class ArchiveReplay:
    """One restore of archives: `survey` before anything is written, then `run`.

    `problems` are what is not restored although it was backed up, `warnings` what else is worth a look,
    `remarks` what is likely to be as it was wanted.
    """

    def __init__(
        self,
        decoder: ElementDecoder,
        unpacker: Unpacker,
        elements: Sequence[StorageBackupDataElementInterface],
        contents: Sequence[Content],
        patterns: MemberPatterns,
    ) -> None:
        self._decoder = decoder
        self._unpacker = unpacker
        self._elements = elements
        self._contents = contents
        self._patterns = patterns
        self._surveys = [ArchiveSurvey() for _ in elements]
        self._left_out = [LeftOut() for _ in elements]
        self._selection: Selection | None = None
        self._is_in_doubt = False
        self.warnings: list[str] = []
        self.remarks: list[str] = []
        self.problems: list[str] = []
        self.members_kept: int | None = None
        """How many of the members were asked for by patterns; None: all."""
        self.confined_by: tuple[str, ...] = ()
        """What kept tar inside of the target, for all of the elements alike."""

    def survey(self) -> None:
        """Read every incremental, and with patterns the full too; raises what makes them impossible."""
        for element, content in zip(self._elements, self._contents, strict=True):
            if not content.is_archive:
                raise IntegrityError(f"element {element.get_element_id()} of the chain is not an archive")
        for index in range(1, len(self._elements)):
            self._scan(index, self._surveyor(index))
            self._surveys[index].end()
        if self._patterns:
            self._select()

    def run(self, target: RestoreTarget) -> None:
        """Unpack one element after the other; raises IntegrityError, StorageError, PipelineError."""
        troubles = OpenProblems(FinalNames([survey.renames for survey in self._surveys]))
        for index, (element, content) in enumerate(zip(self._elements, self._contents, strict=True)):
            survey = self._surveys[index]
            if index > 0:
                self._rename(element, target, survey)
                make_way(target.unpack_fd, survey.roots)
                check_plain(target.unpack_fd, survey.outside)
            attributes = DirectoryAttributes()
            outcome = self._unpacker.unpack(
                element,
                content,
                target.unpack_path,
                incremental=index > 0,
                is_wanted=self._filter(index, attributes, is_needed=index > 0 or target.is_setgid),
            )
            self.confined_by = outcome.confined_by
            self.warnings += [self._about(index, text) for text in outcome.warnings]
            for text in outcome.problems:
                troubles.add(index, text)
            target.open_directories(attributes)
            self._left_out[index].remove(target.unpack_fd)
        missing: set[bytes] | None = set()
        if len(self._elements) > 1:
            missing = self._check(target)
        self._warn_of_unreadable()
        self._settle(target, troubles, missing)
        if self._patterns:
            self.members_kept = keep_only(target.unpack_fd, self._patterns.match)
        if self.members_kept == 0:
            self.problems.append(
                "nothing of what was asked for is left in this state: it was deleted before; "
                "name an earlier one with --at or --element"
            )

    def _surveyor(self, index: int) -> Callable[[TarMember], None]:
        def take(member: TarMember) -> None:
            self._surveys[index].take(member)
            self._left_out[index].take(member)

        return take

    def _rename(
        self, element: StorageBackupDataElementInterface, target: RestoreTarget, survey: ArchiveSurvey
    ) -> None:
        doubts = apply_renames(target.unpack_fd, survey.renames, survey.unchanged)
        self.warnings += [f"element {element.get_element_id()}: {text}" for text in doubts]
        self._is_in_doubt = self._is_in_doubt or bool(doubts)

    def _filter(self, index: int, attributes: DirectoryAttributes, *, is_needed: bool) -> MemberFilter | None:
        """Which members are unpacked, all shown to `attributes`; None: all, and none is looked at."""
        is_wanted = None if self._selection is None else self._selection.is_wanted(index)
        if is_wanted is None and not is_needed:
            return None

        def decide(member: TarMember) -> bool:
            attributes.take(member)
            self._left_out[index].confirm(member)
            return is_wanted is None or is_wanted(member)

        return decide

    def _select(self) -> None:
        selection = Selection(self._patterns, [survey.renames for survey in self._surveys])
        for index in range(len(self._elements)):
            self._scan(index, partial(selection.take, index))
        if selection.problem is not None:
            raise ElementNotFoundError(selection.problem)
        self._selection = selection

    def _settle(self, target: RestoreTarget, troubles: OpenProblems, missing: set[bytes] | None) -> None:
        """Tell problems that the result still has from those that a later element put right."""
        if troubles.texts:
            for index in range(1 + min(index for index, _ in troubles.texts), len(self._elements)):
                self._scan(index, partial(troubles.take, index))
        last = len(self._elements) - 1

        def is_gone(name: bytes) -> bool:
            return missing is not None and name not in missing and not is_there(target.unpack_fd, name)

        for index, text in troubles.texts:
            if index < last and troubles.is_settled(index, text, is_gone):
                self.warnings.append(self._about(index, f"{text} (a later element put it right)"))
            else:
                self.problems.append(self._about(index, text))

    def _about(self, index: int, text: str) -> str:
        return f"element {self._elements[index].get_element_id()}: {text}"

    def _check(self, target: RestoreTarget) -> set[bytes] | None:
        """Compare the result with what the last element lists; what lacks was lost, or never archived.

        Hands back the names that are listed and not there, None when they are too many to know all.
        """
        check = StateCheck(target.unpack_fd)
        self._scan(len(self._elements) - 1, check.take)
        missing = {name for name in check.missing if self._patterns.match(name)}
        if stale := {name for name in check.stale if self._patterns.match(name)}:
            self.warnings.append(
                f"{_name(stale)} could not be read while the last backup ran: what is restored of"
                f" {'it' if len(stale) == 1 else 'them'} is what an older element has"
            )
        listed = check.missing if len(check.missing) < MAX_REMEMBERED else None
        if not missing:
            return listed
        archived = self._find_archived(missing)
        left_out = {name: index for index, name in self._find_left_out() if name in missing}
        lost = {name for name, index in archived.items() if index >= left_out.get(name, 0)}
        if self._is_in_doubt:
            lost = set(missing)
        if lost:
            self.problems.append(f"{_counted(lost, 'member')} missing: {_name(lost)}")
        if replaced := archived.keys() - lost:
            self.warnings.append(
                f"{_name(replaced)} {'was' if len(replaced) == 1 else 'were'} there but could not be "
                "archived (a socket, or it vanished or was unreadable while the backup ran); "
                "what an older element had is left out"
            )
        if rest := missing - archived.keys() - lost:
            text = "listed and never archived (excluded, sockets, or gone while the backup ran)"
            self.remarks.append(f"{_counted(rest, 'name')} {text}: {_name(rest)}")
        return listed

    def _warn_of_unreadable(self) -> None:
        """What the last backup could not read, the one before it may have had in another state."""
        last = len(self._elements) - 1
        count = self._elements[last].get_metadata().unreadable_count
        if count > 0:
            text = f"{count_of(count, 'name')} could not be read when it was made, as its backup told: what"
            text += " there was is left out, or is as an older element has it"
            self.warnings.append(self._about(last, text))

    def _find_archived(self, wanted: set[bytes]) -> dict[bytes, int]:
        """Which of the names in the end were archived, with the last archive that has each."""
        names = FinalNames([survey.renames for survey in self._surveys])
        archived: dict[bytes, int] = {}

        def look(index: int, member: TarMember) -> None:
            final = names.of(index, normal_name(member.name))
            if final is not None and final in wanted:
                archived[final] = index

        for index in range(len(self._elements)):
            self._scan(index, partial(look, index))
        return archived

    def _find_left_out(self) -> Iterator[tuple[int, bytes]]:
        """What could not be archived, by its names in the end, the first archive's first."""
        names = FinalNames([survey.renames for survey in self._surveys])
        for index, left_out in enumerate(self._left_out):
            for name in left_out.names:
                if (final := names.of(index, name)) is not None:
                    yield index, final

    def _scan(self, index: int, take: Callable[[TarMember], None]) -> None:
        self._decoder.scan(self._elements[index], self._contents[index], take)


def _counted(names: set[bytes], noun: str) -> str:
    return f"{count_of(len(names), noun)} {'is' if len(names) == 1 else 'are'}"


def _name(names: Set[bytes]) -> str:
    shown = [repr(name.decode("utf-8", "backslashreplace")) for name in sorted(names)[:MAX_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
