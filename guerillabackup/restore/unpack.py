"""Unpacks one element after the other into a directory, by tar.

Each passes through TarStream, which takes out the renames (target.py does those: tar follows links on the
way), has access control lists go by numbers instead of names, and refuses what tar might read in another way.
Touches: os, shutil.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from guerillabackup.errors import IntegrityError, PipelineError, StorageError, StorageFullError
from guerillabackup.osfile import storage_errors, write_all
from guerillabackup.restore.advice import count_of
from guerillabackup.restore.decode import READ_SIZE, ElementDecoder
from guerillabackup.restore.directory_record import normal_name
from guerillabackup.restore.interface import Content, PipelineTools
from guerillabackup.restore.space import space_told
from guerillabackup.restore.tar_member import TarMember
from guerillabackup.restore.tar_stream import TarStream
from guerillabackup.storage.interface import StorageBackupDataElementInterface

TAR_SAYS_INCOMPLETE = (1, 2)
"""Exit statuses of a tar that went on: something differed, something could not be restored."""
MAX_PROBLEMS = 100
UNFINISHED_SUFFIX = ".unfinished"
"""Of the file that a stream is written to before it has its own name."""
_TAR_THAT_READS_ON = ["sh", "-c", 'tar "$@"; status=$?; cat > /dev/null; exit $status', "tar"]
"""tar ends at the archive's end mark; what is before it in the pipeline would take that for a failure."""

_TRAILER = re.compile(r"Exiting with failure status due to previous errors")
_FATAL = re.compile(
    r"not recoverable|Unexpected EOF|does not look like a tar archive|Skipping to next header|lone zero"
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes")
_HARMLESS = re.compile(r"Cannot (?:mknod|change ownership to uid \d+, gid \d+): Operation not permitted")

MemberFilter = Callable[[TarMember], bool]


@dataclass(frozen=True, slots=True)
class UnpackOutcome:
    """What tar said: `problems` when something is not restored, `warnings` when everything is."""

    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    confined_by: tuple[str, ...] = ()
    """What kept tar inside of the directory."""


def leaves_files_whole(problem: str) -> bool:
    """Whether a problem is only that an ordinary user may not make a device or give a file away."""
    return _HARMLESS.search(problem) is not None


def check_programs() -> None:
    """Raise StorageError when archives cannot be unpacked here, before anything is done for it."""
    missing = [program for program in ("tar", "sh") if shutil.which(program) is None]
    if missing:
        names = " and ".join(missing)
        raise StorageError(f"archives are unpacked by {names}, which is not there: install the package tar")


class Unpacker:
    """Writes the contents of elements."""

    def __init__(self, tools: PipelineTools, decoder: ElementDecoder) -> None:
        self._tools = tools
        self.lost_owners = False
        """Whether something that was unpacked belongs to others, and here to us."""
        self._decoder = decoder

    def unpack(
        self,
        element: StorageBackupDataElementInterface,
        content: Content,
        directory: str,
        *,
        incremental: bool,
        is_wanted: MemberFilter | None = None,
    ) -> UnpackOutcome:
        """Unpack an archive into a directory; an incremental deletes there what it does not list.

        Raises IntegrityError when the data or the archive is damaged, StorageFullError, PipelineError.
        """
        elements = self._decoder.build(content)
        doubts: list[str] = []
        elements.append(self._tools.function(self._make_filter(is_wanted, doubts), "filter"))
        allowed = (0, *TAR_SAYS_INCOMPLETE)
        # Should tar read an archive in another way than we do after all, it gets no further than this.
        confinement = self._tools.confine(directory)
        arguments = tar_arguments(directory, incremental=incremental)
        elements.append(self._tools.program(arguments, allowed, confinement))
        null_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        with space_told(directory):
            try:
                processes = self._decoder.run(element, elements, null_fd)
            finally:
                os.close(null_fd)
            outcome = _judge(element, *self._tools.outcome_of(processes[-1]))
        warnings = (*outcome.warnings, *doubts)
        return replace(outcome, warnings=warnings, confined_by=confinement.confined_by)

    def write_file(
        self, element: StorageBackupDataElementInterface, content: Content, directory_fd: int, name: str
    ) -> None:
        """Write the content as it is to a new file, which has its name only when it is right and complete."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # Of a name that is as long as one may be there is no longer one.
        unfinished = f".{secrets.token_hex(8)}{UNFINISHED_SUFFIX}"
        with storage_errors(f"cannot write {name}"):
            descriptor = os.open(unfinished, flags, 0o600, dir_fd=directory_fd)
        try:
            with space_told(f"/proc/self/fd/{directory_fd}"):
                self.write_stream(element, content, descriptor)
            with storage_errors(f"cannot write {name}"):
                time = element.get_metadata().timestamp
                os.utime(descriptor, (time, time))
                os.fsync(descriptor)
                os.rename(unfinished, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
                os.fsync(directory_fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=directory_fd)
            raise
        finally:
            os.close(descriptor)

    def write_stream(
        self, element: StorageBackupDataElementInterface, content: Content, descriptor: int
    ) -> None:
        """Write the content as it is to a descriptor, which stays the caller's."""
        self._decoder.run(element, self._decoder.build(content), descriptor)

    def _make_filter(self, is_wanted: MemberFilter | None, doubts: list[str]) -> Callable[[int, int], None]:
        """The stage before tar: every member that is wanted, without renames and names of users.

        What is strange about the archive's end is added to `doubts`.
        """
        unpacked_by = None if os.geteuid() == 0 else (os.geteuid(), os.getegid())

        def decide(member: TarMember) -> bool:
            # tar would leave it out and go on; nobody but who wants to do harm makes such an archive.
            normal_name(member.name)
            return is_wanted is None or is_wanted(member)

        def run(input_fd: int, output_fd: int) -> None:
            stream = TarStream(
                decide,
                strip_renames=True,
                by_number=True,
                unpacked_by=unpacked_by,
            )
            while piece := os.read(input_fd, READ_SIZE):
                passed = stream.feed(piece)
                if passed:
                    write_all(output_fd, b"".join(passed))
            stream.end()
            self.lost_owners = self.lost_owners or stream.has_foreign_owners
            if stream.doubt is not None:
                doubts.append(stream.doubt)

        return run


def tar_arguments(directory: str, *, incremental: bool) -> list[str]:
    """How tar is called to unpack; what only root can restore is asked for by root only."""
    arguments = [
        *_TAR_THAT_READS_ON,
        "--extract",
        "--file=-",
        f"--directory={directory}",
        "--preserve-permissions",
    ]
    arguments += ["--numeric-owner", "--delay-directory-restore", "--acls", "--warning=no-timestamp"]
    arguments.append(f"--xattrs-include={'*' if os.geteuid() == 0 else 'user.*'}")
    if incremental:
        arguments.append("--listed-incremental=/dev/null")
    return arguments


def _judge(
    element: StorageBackupDataElementInterface, exit_status: int, messages: Sequence[str]
) -> UnpackOutcome:
    lines = [line.removeprefix("tar: ") for line in messages if _TRAILER.search(line) is None]
    if exit_status == 0:
        return UnpackOutcome(tuple(lines[:MAX_PROBLEMS]), ())
    where = f"element {element.get_element_id()} cannot be unpacked"
    for pattern, kind in ((_FULL, StorageFullError), (_FATAL, IntegrityError)):
        if found := next((line for line in lines if pattern.search(line)), None):
            raise kind(f"{where}: {found}")
    if not lines:
        raise PipelineError(f"tar ended with exit status {exit_status}, without a word")
    problems = lines[:MAX_PROBLEMS]
    if len(lines) > MAX_PROBLEMS:
        problems.append(f"{count_of(len(lines) - MAX_PROBLEMS, 'more line')} of tar")
    return UnpackOutcome((), tuple(problems))
