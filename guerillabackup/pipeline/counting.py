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

    `get_counts` of its process says how much that was, also after the end.
    """

    def __init__(self, name: str = "content") -> None:
        self.name = name

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> ThreadProcess:
        return ThreadProcess(self.name, _pass_all, upstream_process_output)


def _pass_all(streams: StageStreams) -> None:
    while streams.pass_on(PASS_SIZE):
        pass
