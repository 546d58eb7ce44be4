"""What the parts of a restore are given to work with, and what a restore reports. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.events import StageProgress
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
)

Result = TypeVar("Result")
PipelineElement = TransformationPipelineElementInterface
PipelineProcess = TransformationProcessInterface


class Confinement(Protocol):
    """Has one program, which is started by it, write to one directory only."""

    def start(self, start: Callable[[], Result], /) -> Result: ...

    @property
    def confined_by(self) -> tuple[str, ...]:
        """What keeps the program there, once it was started; empty where nothing can."""
        ...


class PipelineRunner(Protocol):
    """Starts what is not started, waits for all, stops all; raises the error that caused the others."""

    def __call__(
        self,
        processes: Sequence[PipelineProcess],
        *,
        on_progress: Callable[[float, tuple[StageProgress, ...]], None] | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class PipelineTools:
    """The pipeline, as the service hands it to the parts of a restore.

    `detect_format` knows gpg, compressions and tar from first bytes; `decryption` raises KeyUnusableError
    where there is no private keyring; `digest_of` and `outcome_of` ask a process that has ended well.
    """

    detect_format: Callable[[bytes], str | None]
    decryption: Callable[[], PipelineElement]
    advise_on_keys: Callable[[], str]
    """What to do where the keys do not decrypt, to end a sentence with."""
    decompression: Callable[[str], PipelineElement]
    digest: Callable[[], PipelineElement]
    function: Callable[[Callable[[int, int], None], str], PipelineElement]
    confine: Callable[[str], Confinement]
    """To a directory, whose path has to stay what it is until the program has ended."""
    program: Callable[[Sequence[str], Sequence[int], Confinement], PipelineElement]
    """An argv, the exit statuses that are no errors, and what starts it."""
    instantiate: Callable[[Sequence[PipelineElement], int | None, int | None], list[PipelineProcess]]
    start: Callable[[Sequence[PipelineProcess]], None]
    run: PipelineRunner
    digest_of: Callable[[PipelineProcess], bytes]
    outcome_of: Callable[[PipelineProcess], tuple[int, Sequence[str]]]
    """A program's exit status, and the lines it wrote to its standard error."""


@dataclass(frozen=True, slots=True)
class Content:
    """How an element's data is packed, from the outside in, and whether an archive is inside."""

    layers: tuple[str, ...]
    is_archive: bool


@dataclass(frozen=True, slots=True)
class ListedMember:
    """One member of a source's state; what no archive tells is None: it was listed and never archived."""

    name: bytes
    type: str | None
    size: int | None
    mtime: int | None


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did.

    `problems` are what tar could not restore and what is missing: the result is not the whole state.
    `written_to` is the target directory, or the one file when the element is not an archive. What was to be
    merged into an existing directory and has problems is not: `is_merged` is False, nothing was changed.
    """

    source_url: SourceUrl
    elements: tuple[ElementId, ...]
    written_to: str
    is_archive: bool
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    is_merged: bool = True
    members: int | None = None
    """How many members patterns chose, directories among them; None where all were restored."""
    remarks: tuple[str, ...] = ()
    """What is worth saying, and is as it was wanted."""
    confined_by: tuple[str, ...] | None = None
    """What kept tar inside of the target, beside its own care and ours; None where tar was not needed."""
