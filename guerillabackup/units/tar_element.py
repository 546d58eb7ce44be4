"""The making of one element of a source and of its list of members: archive, metadata, storing.

It joins the pipelines, the storage and the unit's memory.
"""

import base64
from contextlib import suppress
from dataclasses import replace
from functools import partial

from guerillabackup.element import (
    UNREADABLE_KEY,
    BackupElementMetainfo,
    BackupType,
    ElementId,
)
from guerillabackup.errors import GuerillaBackupError, StorageError
from guerillabackup.events import PipelineProgress, StageProgress
from guerillabackup.generator.interface import SourceRequest, UnitContext
from guerillabackup.generator.pending import store_together
from guerillabackup.generator.state import PENDING
from guerillabackup.storage.interface import SinkHandleInterface
from guerillabackup.units import tar_index
from guerillabackup.units.making import describe_part, recipients_of, sign_parts
from guerillabackup.units.source_book import SourceBook
from guerillabackup.units.source_report import SourceReport
from guerillabackup.units.tar_book import make_details
from guerillabackup.units.tar_clock import COARSE_TIMES, FINE_TIMES, ClockReading, RunClock, small_fall
from guerillabackup.units.tar_content import Place, find_emptied, find_empty, how_to_accept
from guerillabackup.units.tar_links import check_links
from guerillabackup.units.tar_memory import SourceMemory, advanced
from guerillabackup.units.tar_messages import Unread, find_unread, shorten, split_sockets
from guerillabackup.units.tar_place import has_coarse_times, look_at_places
from guerillabackup.units.tar_run import Archive, FindDownstream, make_archive, surrounded
from guerillabackup.units.tar_selection import digest_selection
from guerillabackup.units.tar_snapshot import find_whole_directories, forget_moved_directories, forget_names
from guerillabackup.units.tar_source import TarSource


class TarElementRun:
    """The making of one element and of its list of members. Used once."""

    def __init__(
        self,
        context: UnitContext,
        report: SourceReport,
        source: TarSource,
        find_downstream: FindDownstream,
        book: SourceBook[SourceMemory],
    ) -> None:
        self._context = context
        self._report = report
        self._source = source
        self._find_downstream = find_downstream
        self._book = book
        self._state = book.state
        self.remarks: tuple[str, ...] = ()
        """What is worth saying of the element, but no warning."""
        self._unread = Unread(frozenset(), 0)
        self._places: dict[str, Place] = {}

    def run(self, backup_type: BackupType, stall_timeout: float) -> ElementId | None:
        """The id of the stored element; None in test mode."""
        source, url = self._source, self._source.source_url
        memory = self._book.get(url)
        began = self._context.clock()
        storage = self._context.storage
        try:
            with (
                storage.get_sink_handle(url) as handle,
                storage.get_sink_handle(url.members()) as members_handle,
            ):
                archive, clock = self._archive(backup_type, memory, stall_timeout, handle, members_handle)
                self._report_complaints(archive)
                if self._context.test_mode:
                    tar_index.discard_next_index(self._state, source.index_prefix)
                    return None
                timestamp = int(clock.started)
                mark = None
                if source.has_index:
                    tar_index.sync_index(self._state, source.index_prefix)
                    mark = tar_index.mark_of(self._state, source.index_prefix, is_next=True)
                parts = self._describe_parts(backup_type, memory, archive, timestamp, handle, members_handle)
                new_memory = advanced(
                    memory,
                    backup_type,
                    parts[0][1],
                    parts[1][1] if len(parts) > 1 else None,
                    archive.content_size,
                    archive.data.size,
                    clock,
                    digest_selection(source, recipients_of(self._find_downstream())),
                    mark,
                    self._places,
                    self._context.find_signers(),
                )
                details = make_details(source, new_memory)
                element = store_together(self._state, parts, details)[0]
        except BaseException:
            if not self._state.has(PENDING):
                # What a failed run leaves would stop the original's generator.
                with suppress(GuerillaBackupError):
                    tar_index.discard_next_index(self._state, source.index_prefix)
            raise
        element_id = element.get_element_id()
        new_memory = replace(new_memory, last_element=element_id)
        self._book.remember_stored(url, new_memory, details, element_id)
        seconds = self._context.clock() - began
        self._report.stored(element_id, archive.content_size, archive.data.size, seconds)
        return element_id

    def _archive(
        self,
        backup_type: BackupType,
        memory: SourceMemory,
        stall_timeout: float,
        handle: SinkHandleInterface,
        members_handle: SinkHandleInterface,
    ) -> tuple[Archive, RunClock]:
        """Run tar between the commands of the source; what came of it, and what the clock showed."""
        source = self._source
        index_path = None
        if source.has_index:
            index_path = tar_index.begin_index(
                self._state, source.index_prefix, from_current=backup_type is BackupType.INC
            )
        if source.pre_command is not None:
            # What the command does to a service is not done for a backup that a key prevents.
            self._find_downstream()
        before = self._read_clock()
        since: int | None = None
        with surrounded(
            source,
            is_skipped=self._context.test_mode,
            stall_timeout=stall_timeout,
            cancelled=self._context.cancelled,
        ):
            self._check_content(memory)
            if index_path is not None and backup_type is BackupType.INC:
                since = forget_moved_directories(index_path, source.root)
                tar_index.set_time_back(index_path, small_fall(memory.anchor, before.anchor))
            started = self._context.clock()
            archive = make_archive(
                source,
                backup_type,
                index_path,
                self._find_downstream,
                handle.get_sink_stream(),
                members_handle.get_sink_stream(),
                stall_timeout,
                lambda seconds, stages: self._report_progress(seconds, stages, memory, backup_type),
                self._context.cancelled,
            )
            if index_path is not None and since is not None:
                check_links(source.root, partial(find_whole_directories, index_path), since)
            behind = COARSE_TIMES if has_coarse_times(source) else FINE_TIMES
            self._unread = find_unread(archive.complaints)
            if index_path is not None:
                self._forget_unread(index_path)
        clock = RunClock(before, started, self._read_clock())
        if index_path is not None:
            lead = clock.lead if source.pre_command is not None else 0
            tar_index.set_time_back(index_path, lead + behind)
        return archive, clock

    def _check_content(self, memory: SourceMemory) -> None:
        """Let no file system that is not mounted count as one in which all was deleted."""
        source, url = self._source, self._source.source_url
        if self._context.test_mode and source.pre_command is not None:
            return  # what that would mount is not there
        self._places = look_at_places(source)
        if self._context.get_request(url) is SourceRequest.FULL_AS_IT_IS:
            return
        if emptied := find_emptied(memory.places, self._places):
            raise StorageError(f"{'; '.join(emptied)} {how_to_accept(url, self._context.config_directory)}")
        for warning in find_empty(memory.places, self._places):
            self._report.warn(url, warning)

    def _forget_unread(self, index_path: str) -> None:
        """Let the next backup try again what could not be read: its times may never say that it has to."""
        names = self._unread.names
        if names is None:
            warning = "tar could not read more than is kept of what it says: the next backup has everything"
            self._report.warn(self._source.source_url, warning)
        if names is None or names:
            forget_names(index_path, names)

    def _read_clock(self) -> ClockReading:
        return ClockReading(self._context.clock(), self._context.read_anchor())

    def _describe_parts(
        self,
        backup_type: BackupType,
        memory: SourceMemory,
        archive: Archive,
        timestamp: int,
        handle: SinkHandleInterface,
        members_handle: SinkHandleInterface,
    ) -> list[tuple[SinkHandleInterface, BackupElementMetainfo]]:
        """The metadata of the element, and of its list of members where there is one."""
        source, url = self._source, self._source.source_url
        part = describe_part(
            self._context,
            handle,
            url,
            backup_type,
            timestamp,
            archive.data,
            predecessor=memory.last_uuid,
            policy=source.policy,
            extra={UNREADABLE_KEY: self._unread.count} if self._unread.count else None,
        )
        if archive.members is None:
            return sign_parts(self._context, [part])
        members = describe_part(
            self._context,
            members_handle,
            url.members(),
            # Every list is whole: one that follows none begins a chain, whatever its element does.
            BackupType.FULL if memory.members_uuid is None else backup_type,
            timestamp,
            archive.members,
            predecessor=memory.members_uuid,
            policy=source.policy,
            extra={"MembersOf": base64.b64encode(part.metainfo.data_uuid or b"").decode("ascii")},
        )
        return sign_parts(self._context, [part, members])

    def _report_progress(
        self,
        seconds: float,
        stages: tuple[StageProgress, ...],
        memory: SourceMemory,
        backup_type: BackupType,
    ) -> None:
        expected = memory.expected_size(backup_type)
        self._context.listen(PipelineProgress(self._source.source_url, seconds, stages, expected))

    def _report_complaints(self, archive: Archive) -> None:
        """What tar said although it was content: files that changed or vanished; sockets are a remark."""
        sockets, complaints = split_sockets(archive.complaints)
        self.remarks = () if sockets is None else (sockets,)
        self._report.warn_of_lines(self._source.source_url, [*map(shorten, complaints)])
