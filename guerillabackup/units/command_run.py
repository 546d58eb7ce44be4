"""One run of a command whose output becomes an element, and what is told of how it went.

It joins the command, the pipeline and the watch over both.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerillabackup.errors import CancelledError, GuerillaBackupError, PipelineError
from guerillabackup.pipeline.counting import CountingPipelineElement
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
)
from guerillabackup.pipeline.messages import SHOWN_LINES, last_words
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.outcome import ProcessEnd, judge_end
from guerillabackup.pipeline.run import ProgressListener, instantiate_pipeline, run_pipeline
from guerillabackup.units.command_environment import CommandEnvironment, open_environment
from guerillabackup.units.command_source import CommandSource, hide_secrets
from guerillabackup.units.command_watch import CommandWatch
from guerillabackup.units.making import StoredStream, counted, stored_stream

_ERROR = re.compile(r"\b(?:error|fatal|panic)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote: as it is stored, its own size, and what it said beside it."""

    data: StoredStream
    content_size: int
    messages: tuple[str, ...]


def run_command(
    source: CommandSource,
    downstream: Sequence[TransformationPipelineElementInterface],
    data_fd: int,
    *,
    stall_timeout: float,
    on_progress: ProgressListener,
    cancelled: Callable[[], bool],
) -> Output:
    """Run the command; its output goes through `downstream` to `data_fd`.

    Raises ConfigError, PipelineError, CancelledError and what else a pipeline raises: then what was written
    is no backup.
    """
    with open_environment(source) as environment:
        producer = make_command_element(source, source.command, environment, source.allowed_exit_statuses)
        elements = [producer, CountingPipelineElement(), *counted(downstream)]
        processes = instantiate_pipeline(elements, None, data_fd)
        watch = CommandWatch(processes[0], source.time_limit, cancelled)
        try:
            run_pipeline(
                processes, stall_timeout=stall_timeout, on_progress=on_progress, cancelled=watch.is_over
            )
        except CancelledError as error:
            if watch.reason is None:
                raise
            raise PipelineError(_with_messages(watch.reason, processes[0], environment)) from error
        messages = tuple(hide_secrets(line, environment.secrets) for line in _messages(processes[0]))
    content_size = processes[1].get_counts().bytes_written
    if content_size < source.minimum_size:
        raise PipelineError(
            _with_messages(
                f"{source.command[0]} ended well, but wrote {content_size} bytes only; MinimumSize is"
                f" {source.minimum_size}",
                processes[0],
                environment,
            )
        )
    return Output(stored_stream(processes[1:], has_content=content_size > 0), content_size, messages)


def make_command_element(
    source: CommandSource,
    argv: Sequence[str],
    environment: CommandEnvironment,
    allowed_exit_statuses: Sequence[int] = (0,),
) -> OSProcessPipelineElement:
    """A command of a source as a stage; its error repeats no secret that it was given."""

    def judge(end: ProcessEnd) -> GuerillaBackupError | None:
        lines = [hide_secrets(line, environment.secrets) for line in end.messages]
        return judge_end(end._replace(messages=telling_lines(lines)))

    return OSProcessPipelineElement(
        argv[0],
        argv,
        allowed_exit_statuses,
        environment=environment.variables,
        pass_fds=environment.pass_fds,
        working_directory=source.working_directory,
        judge=judge,
        identity=environment.identity,
    )


def telling_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines that were said; before them the last that tells of an error, where none of them does.

    Databases quote the whole statement after what was wrong with it.
    """
    said = [line for line in lines if line.strip()]
    errors = [line for line in said if _ERROR.search(line)]
    if not errors or errors[-1] in said[-SHOWN_LINES:]:
        return tuple(said)
    return (errors[-1], *said[-(SHOWN_LINES - 1) :])


def _messages(process: TransformationProcessInterface) -> list[str]:
    assert isinstance(process, OSProcess)
    return process.get_messages()


def _with_messages(
    reason: str, process: TransformationProcessInterface, environment: CommandEnvironment
) -> str:
    """A reason and the last that the command said."""
    words = last_words([hide_secrets(line, environment.secrets) for line in _messages(process)])
    return f"{reason}{': ' if words else ''}{words}"
