"""One run of tar: the commands around it, and the pipelines of the archive and of its list of members.

Touches: os.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from guerillabackup.element import BackupType
from guerillabackup.errors import CancelledError, GuerillaBackupError, PipelineError
from guerillabackup.pipeline.connection import open_pipe
from guerillabackup.pipeline.counting import CountingPipelineElement
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
)
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.run import (
    ProgressListener,
    instantiate_pipeline,
    run_pipeline,
)
from guerillabackup.units.command_watch import CommandWatch
from guerillabackup.units.making import StoredStream, counted, stored_stream
from guerillabackup.units.tar_messages import (
    ERROR_STATUS,
    RACE_STATUS,
    find_long_path,
    find_move,
    is_bad_index,
    only_races,
    summarize,
)
from guerillabackup.units.tar_place import check_place
from guerillabackup.units.tar_records import BadIndexError
from guerillabackup.units.tar_source import TarSource

PLAIN_TAR = {"TAR_OPTIONS": "", "TAPE": "-"}
"""Environment in which GNU tar does what its arguments say, and nothing else."""

LIST_SECONDS = 0.02
"""Between two looks at the list that tar writes line by line: waking for each of them takes tar's time."""

FindDownstream = Callable[[], list[TransformationPipelineElementInterface]]
"""What the archive and the list of members go through, made for each run; raises KeyUnusableError."""

log = logging.getLogger(__name__)


class RecordedMoveError(GuerillaBackupError):
    """tar recorded the move of a directory in an incremental archive, which may move another at a restore."""


class Archive(NamedTuple):
    """What a run made: the archive, its list of members (a command of the user's makes none), complaints."""

    data: StoredStream
    members: StoredStream | None
    content_size: int
    complaints: tuple[str, ...]


def make_archive(
    source: TarSource,
    backup_type: BackupType,
    index_path: str | None,
    find_downstream: FindDownstream,
    data_fd: int,
    members_fd: int,
    stall_timeout: float,
    on_progress: ProgressListener,
    cancelled: Callable[[], bool],
) -> Archive:
    """Run tar, or the command in its place; the archive goes to `data_fd`, the list to `members_fd`.

    Raises BadIndexError, and what a pipeline and `find_downstream` raise, which is called while tar walks.
    """
    override = source.override(backup_type)
    if override is not None:
        producer = OSProcessPipelineElement(override[0], override, _allowed_statuses(source))
        behind = [CountingPipelineElement(), *counted(find_downstream())]
        processes = instantiate_pipeline([producer, *behind], None, data_fd)
        watch = CommandWatch(processes[0], None, cancelled)
        try:
            run_pipeline(
                processes, stall_timeout=stall_timeout, on_progress=on_progress, cancelled=watch.is_over
            )
        except CancelledError as error:
            if watch.reason is None:
                raise
            raise PipelineError(watch.reason) from error
        if processes[1].get_counts().bytes_written == 0:
            raise PipelineError(f"{override[0]} ended well, but wrote nothing: that is no backup")
        return _describe(processes, None)
    check_place(source)
    lister: list[TransformationProcessInterface] = []
    with ExitStack() as stack:
        members_output, write_end = open_pipe()
        stack.callback(os.close, write_end)
        producer = OSProcessPipelineElement(
            "tar",
            source.tar_command(index_path, write_end, tells_moves=backup_type is BackupType.INC),
            (0, RACE_STATUS, ERROR_STATUS),  # judged by what it said
            environment=PLAIN_TAR,
            pass_fds=(write_end,),
        )
        processes = instantiate_pipeline([producer], None, None)
        archive = processes[0].get_process_output()
        try:
            # It walks while the keys are read, and waits when nobody takes what it finds.
            processes[0].start()
            downstream = counted(find_downstream())
            processes += instantiate_pipeline(downstream, archive, data_fd)
            listed = [CountingPipelineElement("members", LIST_SECONDS), *downstream]
            lister = instantiate_pipeline(listed, members_output, members_fd)
            for process in (*processes[1:], *lister):
                process.start()
            # Only tar may hold the list's write end, so that the list ends when tar does.
            stack.close()
            run_pipeline(
                [*processes, *lister],
                stall_timeout=stall_timeout,
                on_progress=on_progress,
                cancelled=cancelled,
            )
        except BaseException:
            _stop(processes + lister)
            for output in (archive, members_output):
                with suppress(GuerillaBackupError):
                    output.close()
            raise
    _judge_tar(source, backup_type, processes[0])
    if backup_type is BackupType.FULL and lister[0].get_counts().bytes_written == 0:
        raise PipelineError(
            "tar archived nothing: Exclude matches all that is included, or nothing of it can be archived"
        )
    return _describe(processes, lister)


@contextmanager
def surrounded(
    source: TarSource, *, is_skipped: bool, stall_timeout: float, cancelled: Callable[[], bool]
) -> Iterator[None]:
    """The pre command before, the post command after, also when the one or what is between failed.

    `cancelled` ends the one before, never the one after: that undoes what the other did.
    """
    if is_skipped:
        yield
        return
    try:
        _run_command("PreBackupCommand", source.pre_command, stall_timeout, cancelled)
        yield
    except BaseException:
        try:
            _run_command("PostBackupCommand", source.post_command, stall_timeout)
        except GuerillaBackupError as error:
            log.error("source %s: after a failure, %s", source.source_url, error)
        raise
    _run_command("PostBackupCommand", source.post_command, stall_timeout)


def _run_command(
    name: str,
    command: tuple[str, ...] | None,
    stall_timeout: float,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    if command is None:
        return
    element = OSProcessPipelineElement(command[0], command, name=name)
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        processes = instantiate_pipeline([element], None, null)
        run_pipeline(processes, stall_timeout=stall_timeout, cancelled=cancelled)
    finally:
        os.close(null)


def _allowed_statuses(source: TarSource) -> tuple[int, ...]:
    return (0, RACE_STATUS) if source.ignores_races else (0,)


def _judge_tar(source: TarSource, backup_type: BackupType, process: TransformationProcessInterface) -> None:
    """Raise the error for an exit status that may not pass."""
    assert isinstance(process, OSProcess)
    messages, status = process.get_messages(), process.exit_status
    if backup_type is BackupType.INC and (move := find_move(messages)) is not None:
        raise RecordedMoveError(
            f"{move.removeprefix('tar: ')}: it moved while tar ran, or a bind mount shows it under two names"
        )
    if status == 0 or status is None or (source.ignores_races and only_races(status, messages)):
        return
    text = f"tar ended with exit status {status}: {summarize(messages)}"
    if is_bad_index(messages):
        raise BadIndexError(text)
    hint = (
        ""
        if source.ignores_races or not only_races(status, messages)
        else ("; a snapshot made by PreBackupCommand avoids this, 'IgnoreBackupRaces': True accepts it")
    )
    if (directory := find_long_path(messages)) is not None:
        hint += f"; 'Exclude': [{directory!r}], or a directory below it, leaves out what has too long a path"
    raise PipelineError(f"{text}{hint}")


def _describe(
    processes: list[TransformationProcessInterface], lister: list[TransformationProcessInterface] | None
) -> Archive:
    producer = processes[0]
    assert isinstance(producer, OSProcess)
    return Archive(
        stored_stream(processes),
        None if lister is None else stored_stream(lister, has_content=lister[0].get_counts().bytes_read > 0),
        max(0, producer.get_counts().bytes_written),
        tuple(producer.get_messages()),
    )


def _stop(processes: list[TransformationProcessInterface]) -> None:
    for process in processes:
        # The error that is being raised says more than theirs.
        with suppress(GuerillaBackupError):
            process.stop()
