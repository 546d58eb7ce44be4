"""A client of a service's control socket: asks, and follows what comes.

It joins the socket and the messages.
"""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from guerillabackup.errors import ConfigError, GuerillaBackupError, RemoteProtocolError, StorageError
from guerillabackup.observe.control_lines import LineReader, decode, encode
from guerillabackup.observe.control_socket import connect
from guerillabackup.observe.interface import ServiceKind
from guerillabackup.osfile_socket import peer_credentials

MAX_ANSWER = 16 << 20
ANSWER_SECONDS = 10.0
"""For what a service answers from its memory."""


class ServiceClient:
    """A connection to the service whose socket is in a directory; a context manager that closes it.

    Raises NoServiceError where there is none.
    """

    def __init__(self, directory: str, kind: ServiceKind) -> None:
        self._connection = connect(directory, kind)
        self._reader = LineReader(MAX_ANSWER)
        self._lines: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, request: Mapping[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The answer; raises the error that it is, ConfigError for what was asked wrongly.

        StorageError when nothing comes within so many seconds.
        """
        self._connection.settimeout(seconds)
        try:
            self._connection.sendall(encode(request))
        except TimeoutError as error:
            raise self._silent("take anything", seconds) from error
        except OSError:
            pass  # it may have said why before it closed the connection
        answer = self._read(seconds)
        if answer is None:
            raise GuerillaBackupError("the service ended the connection without an answer")
        if answer.get("ok") is True:
            return answer
        problems = [str(problem) for problem in answer.get("problems") or [answer.get("error")]]
        if answer.get("kind") in ("ConfigError", "NothingToRunError"):
            raise ConfigError(*problems)
        raise RemoteProtocolError("; ".join(problems))

    def follow(self) -> Iterator[dict[str, Any]]:
        """What the service says after its answer, until it has nothing more to say.

        Waits as long as the runs take that were asked for; the end of the service ends it too.
        """
        self._connection.settimeout(None)
        while (message := self._read()) is not None:
            yield message

    def _read(self, seconds: float = 0) -> dict[str, Any] | None:
        while not self._lines:
            try:
                data = self._connection.recv(1 << 16)
            except TimeoutError as error:
                raise self._silent("answer", seconds) from error
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._lines = self._reader.feed(data)
        return decode(self._lines.pop(0))

    def _silent(self, what: str, seconds: float) -> StorageError:
        process = peer_credentials(self._connection).process_id
        return StorageError(
            f"the service, process {process}, does not {what} within {seconds:g} s: it hangs, or was stopped"
            f" (kill -CONT {process} lets it go on); see: ps -o pid,stat,wchan,args -p {process}; to restart"
            f" it: systemctl restart, where systemd started it, else kill -KILL {process} and start it again"
        )
