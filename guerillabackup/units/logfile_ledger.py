"""Elements of log files and the memory of them as one step, and the removal of the files after it.

  1 elements prepared                   a crash after it leaves data without info; the files are there
  2 state.pending written, with files   the next start publishes, removes and remembers
  3 elements published
  4 state.current written               the next start sees in it that the elements were stored
  5 files removed, directories synced   the next start repeats what is missing
  6 extras.current, if one could not be
  7 state.pending removed               done; not synced, since all of it can be done once more

After 2 and before 4 an element that is not in the storage any more may have been moved on, or cleaned away
before it was published. Its file stays then, and is stored once more, after it in the chain: rather twice
than never.

It joins state, storage and the files.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.generator.pending import (
    Presence,
    Recovered,
    forget_pending,
    recover,
    store_together,
)
from guerillabackup.generator.state import OLD_STATE, PENDING, STATE, DamagedStateError, StateDirectory
from guerillabackup.osfile import storage_errors
from guerillabackup.storage.interface import (
    SinkHandleInterface,
    StorageBackupDataElementInterface,
    StorageInterface,
)
from guerillabackup.units.logfile_files import (
    FileIdentity,
    LogDirectory,
    MissingDirectoryError,
    Removal,
    show_path,
)
from guerillabackup.units.logfile_memory import (
    LogMemory,
    StoredFile,
    dump_files,
    dump_state,
    parse_files,
    parse_state,
)
from guerillabackup.units.source_book import damage_told

EXTRAS = "extras.current"
"""State file, there only while it is needed: files that are stored, but could not be removed."""

log = logging.getLogger(__name__)


class LogLedger:
    """The memory of a unit and its state directory. Raises StateError where it cannot be used."""

    def __init__(self, state_directory: str, storage: StorageInterface) -> None:
        self._storage = storage
        self._state = StateDirectory(state_directory)
        self._run_before = -1
        self._is_saved = True
        try:
            self._memory = _load_memory(self._state)
            if self.recover():
                self._memory.last_run = -1  # what the interrupted run did not come to is due
        except BaseException:
            self._state.close()
            raise

    def close(self) -> None:
        """Let go of the state; may be called twice."""
        self._state.close()

    @property
    def last_run(self) -> int:
        """UTC seconds, -1 before the first one."""
        return self._memory.last_run

    @property
    def heads(self) -> Mapping[str, bytes]:
        """The newest DataUuid of each source."""
        return self._memory.uuids

    def store(
        self,
        parts: Sequence[tuple[SinkHandleInterface, BackupElementMetainfo]],
        files: Sequence[StoredFile],
    ) -> tuple[list[StorageBackupDataElementInterface], dict[SourceUrl, StorageError]]:
        """Store elements, each made from the file in its place, and remove these.

        Hands back the elements, and why files of which sources could not be removed. When it raises,
        `recover` says what became of it.
        """
        elements = store_together(self._state, parts, {"Files": dump_files(files)})
        return elements, self._remember(files, files)

    def recover(self) -> bool:
        """Finish what a crash, or a full disk, interrupted; called before anything new is written.

        Says whether there was something.
        """
        recovered = recover(self._state, self._storage)
        if recovered is None:
            return False
        with damage_told(self._state, PENDING):
            files = parse_files(recovered.details["Files"])
            if len(files) < len(recovered.elements):
                raise ValueError("it has more elements than files")
        stored, removable = _judge(files, recovered, is_remembered=self._remembers(files))
        log.warning(
            "finished what an interrupted run had begun to store: elements of %d log files", len(stored)
        )
        self._remember(stored, removable, after_restart=True)
        return True

    def retry_removals(self) -> dict[SourceUrl, StorageError]:
        """Try again to remove what is stored; why it still cannot be."""
        if not self._memory.unremoved:
            return {}
        failed = self._remove(self._memory.unremoved, after_restart=True)
        self._save_unremoved(list(failed))
        return _by_source(failed)

    def begin_run(self, now: int) -> None:
        """Take note of a run: it is remembered with the first thing it stores, or at its end."""
        self._run_before, self._memory.last_run = self._memory.last_run, now
        self._is_saved = False

    def end_run(self, *, has_failed: bool = False) -> None:
        """Remember the run, if that was not done yet; one that failed counts for this process only."""
        if has_failed:
            self._save(replace(self._memory, last_run=-1))
        elif not self._is_saved:
            self._save_state()

    def give_up_run(self) -> None:
        """What the run did not come to is due as before it."""
        self._memory.last_run = self._run_before
        if self._is_saved:
            self._save_state()

    def _remember(
        self, stored: Sequence[StoredFile], removable: Sequence[StoredFile], *, after_restart: bool = False
    ) -> dict[SourceUrl, StorageError]:
        """Take note of stored elements; every step can be repeated after a crash."""
        for file in stored:
            self._memory.uuids[file.source_url.text] = file.data_uuid
        self._save_state()
        failed = self._remove(removable, after_restart=after_restart)
        if failed:
            others = [file for file in self._memory.unremoved if file not in failed]
            self._save_unremoved([*others, *failed])
        forget_pending(self._state, durably=False)
        return _by_source(failed)

    def _remembers(self, files: Sequence[StoredFile]) -> bool:
        """Whether it is remembered that there are elements of all these files."""
        newest = {file.source_url.text: file.data_uuid for file in files}
        return all(self._memory.uuids.get(url) == uuid for url, uuid in newest.items())

    def _remove(self, files: Iterable[StoredFile], *, after_restart: bool) -> dict[StoredFile, StorageError]:
        """Remove files durably; those of which it cannot be said that they are gone, and why."""
        by_directory: dict[str, list[StoredFile]] = {}
        for file in files:
            by_directory.setdefault(file.directory, []).append(file)
        failed: dict[StoredFile, StorageError] = {}
        for path, in_directory in by_directory.items():
            try:
                with LogDirectory(path) as directory:
                    for file in in_directory:
                        _remove_one(directory, file, failed, after_restart=after_restart)
                    with storage_errors(f"directory {path} cannot be synced"):
                        directory.sync()
            except StorageError as error:
                failed.update((file, error) for file in in_directory if file not in failed)
        return failed

    def _save_state(self) -> None:
        self._save(self._memory)

    def _save(self, memory: LogMemory) -> None:
        self._state.save(STATE, dump_state(memory), keep_as=OLD_STATE)
        self._is_saved = True

    def _save_unremoved(self, files: list[StoredFile]) -> None:
        self._memory.unremoved = files
        if files:
            self._state.save(EXTRAS, {"Unremoved": dump_files(files)})
        else:
            self._state.remove(EXTRAS)


def _judge(
    files: Sequence[StoredFile], recovered: Recovered, *, is_remembered: bool
) -> tuple[list[StoredFile], list[StoredFile]]:
    """Of which files there are elements, and which of them are to be removed for that."""
    stored: list[StoredFile] = []
    removable: list[StoredFile] = []
    for file, (element_id, presence) in zip(files, recovered.elements, strict=False):
        where = show_path(file.directory, file.name)
        if presence is Presence.DAMAGED:
            log.error("%s is damaged, and not stored: %s is stored anew", element_id, where)
            break
        stored.append(file)
        if presence is Presence.MOVED_ON and not is_remembered:
            log.warning("whether %s was stored before it vanished is not known: %s stays", element_id, where)
        else:
            removable.append(file)
    return stored, removable


def _remove_one(
    directory: LogDirectory, file: StoredFile, failed: dict[StoredFile, StorageError], *, after_restart: bool
) -> None:
    identity = FileIdentity(file.device, file.inode, file.size, file.modified_ns)
    where = directory.show(file.name)
    try:
        with storage_errors(f"{where} is stored, but cannot be removed"):
            removal = directory.remove(file.name, identity, after_restart=after_restart)
    except StorageError as error:
        failed[file] = error
        return
    if removal is Removal.CHANGED:
        log.warning(
            "source %s: %s changed after it was stored: it stays, and is stored again as a whole",
            file.source_url,
            where,
        )


def _by_source(failed: Mapping[StoredFile, StorageError]) -> dict[SourceUrl, StorageError]:
    """The first error of each source; a directory that is not there, for now or for good, is none."""
    errors: dict[SourceUrl, StorageError] = {}
    for file, error in failed.items():
        if not isinstance(error, MissingDirectoryError):
            errors.setdefault(file.source_url, error)
    return errors


def _load_memory(state: StateDirectory) -> LogMemory:
    """What is remembered, also of sources that are not configured any more."""
    current = state.load(STATE)
    with damage_told(state, STATE):
        memory = LogMemory() if current is None else parse_state(current)
    try:
        memory.unremoved = _parse_extras(state)
    except DamagedStateError as error:
        aside = state.move_aside(EXTRAS)
        log.warning(
            "%s; it was moved to %s: log files that could not be removed are stored again", error, aside
        )
    return memory


def _parse_extras(state: StateDirectory) -> list[StoredFile]:
    extras = state.load(EXTRAS)
    with damage_told(state, EXTRAS):
        return [] if extras is None else parse_files(extras["Unremoved"])
