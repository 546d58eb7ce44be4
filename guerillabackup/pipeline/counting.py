"""A stage that changes nothing, and so knows how many bytes came by.

What a program wrote in all says nothing of that: it writes messages and files as well. The bytes are moved
from pipe to pipe within the kernel. It joins a thread and the counting.
"""

from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.thread import StageStreams, ThreadProcess

PASS_SIZE = 1 << 20


class CountingPipelineElement(TransformationPipelineElementInterface):
    """Passes on what it gets between two pipes: it needs a stage before it, and one after it.

    `get_counts` of its process says how much that was, also after the end. It is woken by every write of the
    stage before it; with `gather_seconds` no more often than that, for one that writes line by line and never
    so much in that time that the pipe is full.
    """

    def __init__(self, name: str = "content", gather_seconds: float = 0.0) -> None:
        self.name = name
        self.gather_seconds = gather_seconds

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> ThreadProcess:
        return ThreadProcess(self.name, self._pass_all, upstream_process_output)

    def _pass_all(self, streams: StageStreams) -> None:
        while streams.pass_on(PASS_SIZE):
            if self.gather_seconds > 0:
                streams.wait_for_end(self.gather_seconds)
