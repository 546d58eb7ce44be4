"""The content of one element that was verified, for whoever reads streams: a descriptor, or a program.

Touches: os.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from guerillabackup.element import ElementId
from guerillabackup.errors import ConfigError
from guerillabackup.osfile import write_all
from guerillabackup.restore.decode import ElementDecoder
from guerillabackup.restore.interface import Content, PipelineElement, PipelineTools
from guerillabackup.storage.interface import StorageBackupDataElementInterface


@dataclass(frozen=True, slots=True)
class VerifiedStream:
    """What an element holds, decoded; `warnings` are what is to be said of it. Made for each use anew."""

    tools: PipelineTools
    decoder: ElementDecoder
    element: StorageBackupDataElementInterface
    content: Content
    warnings: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.content.is_archive:
            raise ConfigError(
                f"element {self.element_id} is an archive, not a stream: restore it with --to DIR, or"
                " print it with `element cat`"
            )

    @property
    def element_id(self) -> ElementId:
        return self.element.get_element_id()

    def write(self, descriptor: int) -> None:
        """Write it to a descriptor, which stays the caller's.

        Raises IntegrityError at the end when it is not what was verified any more.
        """
        self.decoder.run(self.element, self.decoder.build(self.content), descriptor)

    def feed(self, program: PipelineElement, output_fd: int | None) -> Sequence[str]:
        """Let a program read it; hands back what that said on its standard error.

        The program sees the end of its input only when all of it was read again and is what was verified:
        otherwise it is killed, so that it does not take a part for the whole. Raises what stopped it, and
        PipelineError when the program fails, or leaves something unread.
        """
        with contextlib.ExitStack() as held, self.decoder.open(self.element, self.content) as read:

            def pass_on(input_fd: int, output_fd: int) -> None:
                duplicate = os.dup(output_fd)
                keep_open = held.enter_context(contextlib.ExitStack())
                keep_open.callback(os.close, duplicate)
                while piece := read():
                    write_all(output_fd, piece)
                keep_open.close()

            elements = [self.tools.function(pass_on, "content"), program]
            processes = self.tools.instantiate(elements, None, output_fd)
            self.tools.run(processes)
        return self.tools.outcome_of(processes[-1])[1]
