"""Reads the content of an element: undoes encryption and compression in a pipeline, whatever they are.

Touches: fcntl, os, threading.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError, KeyUnusableError
from guerillabackup.events import EventListener, RestoreProgress, StageProgress, ignore_events
from guerillabackup.osfile import storage_errors
from guerillabackup.restore.interface import Content, PipelineElement, PipelineProcess, PipelineTools
from guerillabackup.restore.tar_header import BLOCK_SIZE
from guerillabackup.restore.tar_member import TarMember
from guerillabackup.restore.tar_stream import TarStream
from guerillabackup.storage.interface import StorageBackupDataElementInterface

MAGIC_SIZE = 512
READ_SIZE = 1 << 20
MAX_RECORD_SIZE = 1 << 20
"""tar fills an archive up to a record, of 10 KiB unless it is told otherwise."""
_ENCRYPTION = "gpg"
_ARCHIVE = "tar"


class ElementDecoder:
    """Finds out how elements are packed and unpacks them; any number at once."""

    def __init__(self, tools: PipelineTools, listen: EventListener = ignore_events) -> None:
        self._tools = tools
        self._listen = listen

    def find_content(
        self, element: StorageBackupDataElementInterface, guess: Content | None = None
    ) -> Content:
        """What the data is packed in, found by unpacking its beginning; quicker when the guess is right.

        One encryption and one compression are undone: what is inside was the source's own; for a plain stream
        no more than its metadata counts. Raises KeyUnusableError where the key is missing, IntegrityError for
        what cannot be unpacked.
        """
        metainfo = element.get_metadata()
        if metainfo.content_type is not None:
            return Content(self._find_layers(element, metainfo.content_layers).layers, False)
        if guess is not None and guess.is_archive and self._is_packed_so(element, guess):
            return guess
        return self._find_layers(element, None)

    def build(self, content: Content) -> list[PipelineElement]:
        """The pipeline from an element's data to its content; the digest of the data is its first stage."""
        return [self._tools.digest(), *self._decoders(content.layers)]

    def run(
        self,
        element: StorageBackupDataElementInterface,
        elements: Sequence[PipelineElement],
        output_fd: int | None,
    ) -> list[PipelineProcess]:
        """Send an element's data through a pipeline of `build`'s and more; hands back the ended processes.

        Raises what stopped it, and IntegrityError when the data was not what its checksum says.
        """
        with element.get_data_stream() as stream, self._naming(element):
            processes = self._tools.instantiate(elements, stream.fileno(), output_fd)
            self._tools.run(processes, on_progress=self._reporter(element))
        self._check_digest(element, processes[0])
        return processes

    @contextlib.contextmanager
    def open(
        self, element: StorageBackupDataElementInterface, content: Content
    ) -> Iterator[Callable[[], bytes]]:
        """A function that reads the next piece of the content, empty at its end; leaving early ends it all.

        At the end it raises what `run` raises.
        """
        with element.get_data_stream() as stream, contextlib.ExitStack() as stack:
            read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, read_fd)
            try:
                with contextlib.suppress(OSError):
                    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, READ_SIZE)
                with self._naming(element):
                    stages = self.build(content)
                processes = self._tools.instantiate(stages, stream.fileno(), write_fd)
                self._tools.start(processes)
            finally:
                os.close(write_fd)
            run = _BackgroundRun(lambda: self._tools.run(processes, on_progress=self._reporter(element)))
            stack.pop_all()
            try:
                yield lambda: self._read_piece(element, read_fd, run, processes[0])
            finally:
                os.close(read_fd)
                run.join()

    def scan(
        self,
        element: StorageBackupDataElementInterface,
        content: Content,
        take: Callable[[TarMember], object],
    ) -> None:
        """Show every member of an element's archive to `take`; raises IntegrityError, KeyUnusableError."""

        def look(member: TarMember) -> bool:
            take(member)
            return False

        archive = TarStream(look)
        with self.open(element, content) as read:
            while piece := read():
                archive.feed(piece)
        archive.end()

    def _find_layers(self, element: StorageBackupDataElementInterface, limit: int | None) -> Content:
        """`limit` is how many layers there are, where that is known; ConfigError when one of them is not."""
        layers: list[str] = []
        while len(layers) != limit:
            found = self._tools.detect_format(self._read_beginning(element, layers))
            is_compression = found not in (None, _ARCHIVE, _ENCRYPTION)
            if found is None or found == _ARCHIVE:
                if limit is not None:
                    raise ConfigError(
                        f"element {element.get_element_id()} was packed {limit} times, and only {len(layers)}"
                        " of the programs can be told from its data: undo them by hand, on the output of"
                        " `element cat --raw`"
                    )
                return Content(
                    tuple(layers),
                    found == _ARCHIVE or (limit is None and self._is_empty_archive(element, layers)),
                )
            is_second = found in layers or (is_compression and any(each != _ENCRYPTION for each in layers))
            if is_second and limit is None:
                break
            layers.append(found)
        return Content(tuple(layers), False)

    def _is_packed_so(self, element: StorageBackupDataElementInterface, guess: Content) -> bool:
        """Whether undoing the layers of the guess leads to an archive."""
        if self._tools.detect_format(self._read_beginning(element, [])) != (*guess.layers, _ARCHIVE)[0]:
            return False
        try:
            return self._tools.detect_format(self._read_beginning(element, guess.layers)) == _ARCHIVE
        except IntegrityError:
            return False

    def _is_empty_archive(self, element: StorageBackupDataElementInterface, layers: Sequence[str]) -> bool:
        """Whether the whole content is the end mark of an archive, filled up to a record: all zeros."""
        if any(self._read_beginning(element, layers)):
            return False
        content = self._read_beginning(element, layers, MAX_RECORD_SIZE + 1)
        is_of_blocks = len(content) >= 2 * BLOCK_SIZE and len(content) % BLOCK_SIZE == 0
        return is_of_blocks and len(content) <= MAX_RECORD_SIZE and not any(content)

    def _read_beginning(
        self, element: StorageBackupDataElementInterface, layers: Sequence[str], size: int = MAGIC_SIZE
    ) -> bytes:
        beginning = b""
        if not layers:
            with element.get_data_stream() as stream, storage_errors("cannot read the data"):
                while len(beginning) < size and (piece := stream.read(size - len(beginning))):
                    beginning += piece
                return beginning
        with self.open(element, Content(tuple(layers), False)) as read:
            while len(beginning) < size and (piece := read()):
                beginning += piece
        return beginning[:size]

    def _decoders(self, layers: Sequence[str]) -> list[PipelineElement]:
        return [
            self._tools.decryption() if layer == _ENCRYPTION else self._tools.decompression(layer)
            for layer in layers
        ]

    def _read_piece(
        self,
        element: StorageBackupDataElementInterface,
        read_fd: int,
        run: "_BackgroundRun",
        digest: PipelineProcess,
    ) -> bytes:
        with storage_errors("cannot read from the pipeline"):
            piece = os.read(read_fd, READ_SIZE)
        if not piece:
            with self._naming(element):
                run.finish()
            self._check_digest(element, digest)
        return piece

    @contextlib.contextmanager
    def _naming(self, element: StorageBackupDataElementInterface) -> Iterator[None]:
        """Whatever needs a key that is not there says of which element, and what to do."""
        try:
            yield
        except KeyUnusableError as error:
            advice = self._tools.advise_on_keys()
            raise KeyUnusableError(f"element {element.get_element_id()}: {error}; {advice}") from error

    def _check_digest(self, element: StorageBackupDataElementInterface, process: PipelineProcess) -> None:
        checksum = element.get_metadata().checksum
        if checksum is not None and self._tools.digest_of(process) != checksum:
            raise IntegrityError(
                f"element {element.get_element_id()}: the data that was read is not what its checksum says"
            )

    def _reporter(
        self, element: StorageBackupDataElementInterface
    ) -> Callable[[float, tuple[StageProgress, ...]], None]:
        element_id, size = element.get_element_id(), element.get_data_size()

        def report(seconds: float, stages: tuple[StageProgress, ...]) -> None:
            self._listen(RestoreProgress(element_id, max(0, stages[0].bytes_read), size))

        return report


class _BackgroundRun:
    """A pipeline that is run by a thread while somebody reads its output."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._error: GuerillaBackupError | None = None
        self._thread = threading.Thread(target=self._run, name="decode-pipeline", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for its end, which is near when its output has ended; raises its error."""
        self.join()
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait for its end, well or not: the pipeline's own limits see to it that it comes."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._function()
        except GuerillaBackupError as error:
            self._error = error
