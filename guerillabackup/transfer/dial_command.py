"""Reaches a peer by a command whose stdin and stdout lead to it. Joins the process with the connector."""

from collections.abc import Mapping, Sequence

from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.command_process import END_SECONDS, CommandProcess
from guerillabackup.transfer.dial_connector import DialledConnection, Dialler


class CommandDialler(Dialler):
    """Starts `ssh host`, `socat - OPENSSL:…` or whatever else the peer's stream comes from."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], end_seconds: float = END_SECONDS
    ) -> None:
        self._end_seconds = end_seconds
        """That the command has to end by itself, before it is made to."""
        self._argv = tuple(argv)
        self._environment = dict(environment)

    def describe(self) -> str:
        return self._argv[0]

    def dial(self) -> DialledConnection:
        return _CommandConnection(CommandProcess(self._argv, self._environment, self._end_seconds))


class _CommandConnection(DialledConnection):
    def __init__(self, process: CommandProcess) -> None:
        self._process = process
        self.channel = Channel(process.input_fd, process.output_fd, process.explain)

    def hurry(self) -> None:
        self._process.hurry()

    def release(self) -> None:
        self._process.end()
