"""Makes elements of log files of one directory, a group at a time. It joins the pipelines, the storage and
the files.

A file counts as whole when nobody has it open for writing and it is, after it was read, what it was before.
What a group holds is written, but not stored: that is the unit's affair, in one step with its memory.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from guerillabackup.element import LOG_FILE, MAX_TIMESTAMP, BackupType, SourceUrl
from guerillabackup.errors import IntegrityError, SourceUrlError, StorageError, TemporaryError
from guerillabackup.events import PipelineProgress, SourceStarted, StageProgress
from guerillabackup.generator.interface import UnitContext
from guerillabackup.osfile import storage_errors
from guerillabackup.pipeline.compression import decompression_element
from guerillabackup.pipeline.counting import CountingPipelineElement
from guerillabackup.pipeline.interface import TransformationPipelineElementInterface
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.units.logfile_files import FileIdentity, LogDirectory
from guerillabackup.units.logfile_input import LogInput
from guerillabackup.units.logfile_memory import StoredFile
from guerillabackup.units.logfile_names import LogFile
from guerillabackup.units.logfile_open import WriterCheck
from guerillabackup.units.making import Part, StoredStream, counted, describe_part, stored_stream, stream_keys

MAX_FILES = 16
MAX_BYTES = 16 << 20
"""Files, and bytes of them, from which on a group is stored: they keep descriptors and space until then."""
MAX_EMPTY = 1024
"""Bytes of a compressed file that may hold nothing: headers, with a name, and ends."""


class LogNotReadyError(StorageError, TemporaryError):
    """Somebody still works with the file: it is taken by a later run."""


class LogOpenError(LogNotReadyError):
    """Somebody has the file open for writing, which is what logs are there for."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A log file that was read whole: what it was then, and the element that is written of it."""

    file: LogFile
    identity: FileIdentity
    part: Part
    content_size: int
    data_size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LogWriter:
    """What all groups of one entry of the configuration share."""

    context: UnitContext
    unit_name: str
    log_input: LogInput
    directory: LogDirectory
    downstream: Sequence[TransformationPipelineElementInterface]
    writers: WriterCheck
    stall_timeout: float


class LogGroup:
    """Elements that are written one after the other and stored together; a context manager.

    `heads` are the newest DataUuids of the sources. The files stay open until the end, so that their inodes
    cannot become other files'.
    """

    def __init__(self, writer: LogWriter, heads: Mapping[str, bytes]) -> None:
        self._writer = writer
        self._heads = heads
        self._new_heads: dict[str, bytes] = {}
        self._stack = ExitStack()
        self.written: list[WrittenFile] = []

    def __enter__(self) -> "LogGroup":
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    @property
    def is_full(self) -> bool:
        size = sum(item.identity.size for item in self.written)
        return len(self.written) >= MAX_FILES or size >= MAX_BYTES

    @property
    def sources(self) -> list[SourceUrl]:
        """In their order, each once."""
        return list(dict.fromkeys(item.file.source_url for item in self.written))

    @property
    def stored_files(self) -> list[StoredFile]:
        """What is to be remembered until the files are removed."""
        return [_make_stored_file(item, self._writer.directory.path) for item in self.written]

    def write(self, file: LogFile) -> None:
        """Write one more element; raises LogNotReadyError, and what a pipeline or the storage raises."""
        directory = self._writer.directory
        where = directory.show(file.name)
        with ExitStack() as stack, storage_errors(where):
            try:
                descriptor = directory.open_file(file.name)
            except FileNotFoundError as error:
                raise LogNotReadyError(f"{where} is gone: was it renamed or removed just now?") from error
            stack.callback(os.close, descriptor)
            identity = FileIdentity.of(os.fstat(descriptor))
            writer = self._writer.writers.find_writer(descriptor)
            if writer is not None:
                raise LogOpenError(f"{where} is still open for writing by {writer}")
            handle = stack.enter_context(self._writer.context.storage.get_sink_handle(file.source_url))
            try:
                written = self._write(file, identity, descriptor, handle)
            except (StorageError, IntegrityError) as error:
                _check_unchanged(descriptor, identity, where)
                raise type(error)(f"{where}: {error}") from error
            _check_unchanged(descriptor, identity, where)
            self._stack.enter_context(stack.pop_all())
        self.written.append(written)
        uuid = written.part.metainfo.data_uuid
        assert uuid is not None
        self._new_heads[file.source_url.text] = uuid

    @contextmanager
    def syncing_ahead(self) -> Iterator[None]:
        """Have the data written out while something else is waited for: storing it then is quick.

        All at once, because syncs at the same time share what they cost. What fails here fails again then.
        """
        descriptors = [item.part.handle.get_sink_stream() for item in self.written]
        with ThreadPoolExecutor(len(descriptors), "sync") as threads:
            syncs = [threads.submit(os.fsync, descriptor) for descriptor in descriptors]
            yield
        for sync in syncs:
            sync.exception()

    def drop_rotated(self, listed: Collection[str]) -> dict[SourceUrl, str]:
        """Leave out sources of which a file appeared since the names were listed, and say which file.

        It may be a compressed copy of one that is in here. A new name for such a one is harmless.
        """
        ours = {(item.identity.device, item.identity.inode) for item in self.written}
        appeared: dict[SourceUrl, str] = {}
        for name in self._writer.directory.list_names():
            file = None if name in listed else find_log_file(self._writer.log_input, name)
            if file is not None and self._writer.directory.find_inode(name) not in ours:
                appeared[file.source_url] = name
        self.written = [item for item in self.written if item.file.source_url not in appeared]
        return appeared

    def _write(
        self, file: LogFile, identity: FileIdentity, descriptor: int, handle: SinkHandleInterface
    ) -> WrittenFile:
        context, url = self._writer.context, file.source_url
        context.listen(SourceStarted(self._writer.unit_name, url, BackupType.FULL.value))
        began = context.clock()
        content_size, stored = self._run_pipeline(file, identity, descriptor, handle)
        part = describe_part(
            context,
            handle,
            url,
            BackupType.FULL,
            min(max(0, identity.modified_ns // 10**9), MAX_TIMESTAMP),
            stored,
            predecessor=self._new_heads.get(url.text, self._heads.get(url.text)),
            policy=self._writer.log_input.policy,
            extra=stream_keys(LOG_FILE, self._writer.downstream),
        )
        return WrittenFile(file, identity, part, content_size, stored.size, context.clock() - began)

    def _run_pipeline(
        self, file: LogFile, identity: FileIdentity, descriptor: int, handle: SinkHandleInterface
    ) -> tuple[int, StoredStream]:
        """Bytes of the plain log, and what was written of it."""

        def report(seconds: float, stages: tuple[StageProgress, ...]) -> None:
            self._writer.context.listen(PipelineProgress(file.source_url, seconds, stages, None))

        method = file.method
        elements = counted(self._writer.downstream)
        if method is not None:
            elements = [decompression_element(method), CountingPipelineElement(), *elements]
        processes = instantiate_pipeline(elements, descriptor, handle.get_sink_stream())
        run_pipeline(
            processes,
            stall_timeout=self._writer.stall_timeout,
            on_progress=report,
            cancelled=self._writer.context.cancelled,
        )
        size = identity.size if method is None else processes[1].get_counts().bytes_read
        # Of nothing a compression makes few bytes: the content of more than that is not believed to be none.
        has_content = size > 0 or identity.size > MAX_EMPTY
        return size, stored_stream(processes, has_content=has_content)


def _check_unchanged(descriptor: int, identity: FileIdentity, where: str) -> None:
    if FileIdentity.of(os.fstat(descriptor)) != identity:
        raise LogNotReadyError(f"{where} changed while it was read")


def _make_stored_file(item: WrittenFile, directory: str) -> StoredFile:
    identity, uuid = item.identity, item.part.metainfo.data_uuid
    assert uuid is not None
    return StoredFile(
        item.file.source_url,
        uuid,
        directory,
        item.file.name,
        identity.device,
        identity.inode,
        identity.size,
        identity.modified_ns,
    )


def find_log_file(log_input: LogInput, name: str) -> LogFile | None:
    """What a name stands for, None also where it gives no source URL."""
    try:
        return log_input.match(name)
    except SourceUrlError:
        return None
