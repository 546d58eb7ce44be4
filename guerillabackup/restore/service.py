"""Restores sources from a storage: reads the configuration, builds what is needed, and runs it.

Joins chain, survey and patterns, which decide, with storage, keyrings, pipelines and the target directory.
"""

import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from guerillabackup.config import Configuration
from guerillabackup.config_keys import elements_leave, elements_move_on, gaps_are_meant
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.events import EventListener, ignore_events
from guerillabackup.generator.deleted_elements import note_deleted
from guerillabackup.generator.last_elements import read_last_of
from guerillabackup.generator.storage_place import find_storage_problem
from guerillabackup.pipeline.compression import decompression_element
from guerillabackup.pipeline.confinement import Confinement
from guerillabackup.pipeline.digest import DigestPipelineElement, DigestProcess
from guerillabackup.pipeline.formats import detect_format
from guerillabackup.pipeline.gpg import GpgDecryptionPipelineElement
from guerillabackup.pipeline.interface import TransformationProcessInterface
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline, start_all
from guerillabackup.pipeline.thread import ThreadPipelineElement
from guerillabackup.restore.advice import NOT_ROOT
from guerillabackup.restore.chain import RestoreChain
from guerillabackup.restore.chain_search import search_chain, tell_way_out
from guerillabackup.restore.commands import Commands
from guerillabackup.restore.decode import ElementDecoder
from guerillabackup.restore.elements import ElementOperations
from guerillabackup.restore.interface import Content, ListedMember, PipelineTools, RestoreReport
from guerillabackup.restore.keyrings import PrivateKeyrings, check_named
from guerillabackup.restore.listing import StateListing
from guerillabackup.restore.member_patterns import MemberPatterns
from guerillabackup.restore.replay import ArchiveReplay
from guerillabackup.restore.rules import open_rules
from guerillabackup.restore.stream import VerifiedStream
from guerillabackup.restore.target import RestoreTarget, check_free, check_outside
from guerillabackup.restore.unpack import Unpacker, check_programs, leaves_files_whole
from guerillabackup.restore.verify import (
    Verification,
    summarize_warnings,
    verify_element,
    verify_needed,
)
from guerillabackup.signature import read_passphrase
from guerillabackup.storage.interface import StorageBackupDataElementInterface
from guerillabackup.storage.place import describe_missing, find_foreign_file
from guerillabackup.storage.registry import make_ownership, open_storage

MAX_HELD = 256
"""Elements of a chain whose data is held open from the start, so that nobody deletes them meanwhile."""

READER_STALL_SECONDS = 86400.0
"""How long who reads a restored stream may be busy without a sign of it: a database builds indices."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What is to be restored, and to where; `at` in UTC seconds; `element_id` decides instead of `at`."""

    source_url: SourceUrl
    target: str
    at: float | None = None
    element_id: ElementId | None = None
    includes: tuple[str, ...] = ()
    into_existing: bool = False


class RestoreService:
    """One storage, its keyrings, and what is done with its elements; a context manager.

    `storage_directory` and `private_keyring`, one or several that are used together, stand for what the
    configuration says; `passphrase_file` is for private keys that have a passphrase. With `accept_unverified`
    an element without a signature, or with one by a key that is unknown, expired or revoked, is only warned
    of.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        storage_directory: str | None = None,
        private_keyring: str | Sequence[str] | None = None,
        passphrase_file: str | None = None,
        accept_unverified: bool = False,
        listen: EventListener = ignore_events,
    ) -> None:
        named_storage = storage_directory
        storage_directory = _require_storage(configuration, storage_directory)
        ownership = make_ownership(
            configuration["StorageDirectoryMode"],
            configuration["StorageFileMode"],
            configuration.get("StorageOwner"),
            configuration.get("StorageGroup"),
        )
        self._configuration = configuration
        self._directory = os.path.abspath(storage_directory)
        named = [private_keyring] if isinstance(private_keyring, str) else list(private_keyring or ())
        for directory in named:
            check_named(directory)
        configured: str | None = configuration.get("GeneralPrivateKeyringDir")
        directories = named or ([] if configured is None else [configured])
        if passphrase_file is not None:
            read_passphrase(passphrase_file)
        self._listen = listen
        with contextlib.ExitStack() as stack:
            self._keyrings = PrivateKeyrings(directories, passphrase_file)
            stack.callback(self._keyrings.close)
            self.storage = open_storage(storage_directory, ownership)
            stack.callback(self.storage.close)
            trusted = configuration.get("GeneralTrustedSigningKeys")
            self.rules = open_rules(
                configuration.keys_directory,
                directories,
                trusted,
                is_required=configuration.get("GeneralRequireSignatures"),
                signs_here=bool(configuration.get("GeneralSigningKey") or trusted),
                accept_unverified=accept_unverified,
                stack=stack,
            )
            commands = Commands(configuration.directory, named_storage, tuple(named))
            if " --private-keyring " not in self.rules.import_command:
                command = self.rules.import_command + commands.import_words
                self.rules = replace(self.rules, import_command=command)
            self.tools = self._make_tools()
            self.decoder = ElementDecoder(self.tools, listen)
            read_last = partial(_read_last, configuration, self.storage.base_directory)
            self.elements = ElementOperations(
                self.storage,
                self.rules,
                listen,
                read_last,
                gaps_are_meant=gaps_are_meant(configuration, self._directory),
                elements_leave=elements_leave(configuration, self._directory),
                find_foreign=partial(find_foreign_file, self._directory),
                note_deleted=partial(_note_deleted, configuration, self.storage.base_directory),
                commands=commands,
            )
            self._stack = stack.pop_all()

    def __enter__(self) -> "RestoreService":
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def find_chain(
        self, source_url: SourceUrl, at: float | None = None, element_id: ElementId | None = None
    ) -> RestoreChain:
        """The elements that a restore would use; raises ElementNotFoundError, IntegrityError."""
        return search_chain(self.elements, source_url, at, element_id, directory=self._directory)

    def verify_chain(self, chain: RestoreChain) -> list[Verification]:
        """Read and judge every element of a chain."""
        return [verify_element(element, self.rules, self._listen) for element in self._get(chain)]

    def restore(self, request: RestoreRequest) -> RestoreReport:
        """Verify everything that is needed, then write it; raises what prevents it.

        Before the first byte is written all elements are known to be whole and every key to be there. What
        fails after that leaves a target that is incomplete, and the error says so.
        """
        patterns = MemberPatterns(request.includes)
        check_outside(request.target, self._list_storages())
        chain = self.find_chain(request.source_url, request.at, request.element_id)
        check_free(request.target, into_existing=request.into_existing)
        elements = self._get(chain)
        warnings = list(chain.warnings)
        with contextlib.ExitStack() as held:
            for element in elements[:MAX_HELD]:
                held.enter_context(element.get_data_stream())
            warnings += self._verify_needed(chain, elements)
            contents = self._find_contents(elements)
            if contents[-1].is_archive:
                report = self._restore_archives(request, patterns, elements, contents, warnings)
            else:
                report = self._restore_file(request, elements[-1], contents[-1], warnings)
        return replace(report, warnings=(*report.warnings, *self.key_warnings))

    def list_members(self, chain: RestoreChain, includes: Sequence[str] = ()) -> Iterator[ListedMember]:
        """The members of the state a chain leads to; raises ConfigError without an archive.

        At the end ElementNotFoundError when a pattern matched none of them.
        """
        patterns = MemberPatterns(includes)
        elements = self._get(chain)
        contents = self._find_contents(elements)
        if not contents[-1].is_archive:
            raise ConfigError(f"element {chain.target.element_id} is not an archive: it has no members")
        yield from StateListing(self.decoder, elements, contents, patterns).members()

    def write_content(self, element_id: str, descriptor: int, *, raw: bool) -> None:
        """An element's data, decoded or as it is stored, to a descriptor; IntegrityError comes at the end."""
        element = self.elements.get(element_id)
        content = Content((), False) if raw else self.decoder.find_content(element)
        Unpacker(self.tools, self.decoder).write_stream(element, content, descriptor)

    @contextlib.contextmanager
    def open_stream(self, chain: RestoreChain) -> Iterator[VerifiedStream]:
        """The content of a chain's last element, verified before it is handed out, and held meanwhile.

        Raises ConfigError for an archive, and what `restore` raises.
        """
        element = self._get(chain)[-1]
        tools = replace(self.tools, run=partial(run_pipeline, stall_timeout=READER_STALL_SECONDS))
        with element.get_data_stream():
            warnings = [*chain.warnings, *self._verify_needed(chain, [element])]
            content = self.decoder.find_content(element)
            yield VerifiedStream(
                tools, ElementDecoder(tools, self._listen), element, content, tuple(warnings)
            )

    @property
    def key_warnings(self) -> tuple[str, ...]:
        """What is to be said of the keys that decrypted until now: which have expired or were revoked."""
        return self._keyrings.ended_keys

    def way_out(self, chain: RestoreChain, damaged: ElementId) -> str:
        """What can be restored where an element of a chain is damaged, to end a sentence with, or nothing."""
        return tell_way_out(self.elements, chain, damaged)

    def _list_storages(self) -> list[str]:
        keys = ("DefaultFileSystemSinkBaseDir", "TransferServiceStorageBaseDir")
        configured = [self._configuration.get(key) for key in keys]
        return [self.storage.base_directory, *(each for each in configured if isinstance(each, str))]

    def _verify_needed(
        self, chain: RestoreChain, elements: Sequence[StorageBackupDataElementInterface]
    ) -> list[str]:
        way_out = partial(self.way_out, chain)
        return summarize_warnings(verify_needed(elements, self.rules, self._listen, way_out))

    def _get(self, chain: RestoreChain) -> list[StorageBackupDataElementInterface]:
        return [self.storage.get_backup_data_element(link.element_id) for link in chain.links]

    def _find_contents(self, elements: Sequence[StorageBackupDataElementInterface]) -> list[Content]:
        contents: list[Content] = []
        for element in elements:
            contents.append(self.decoder.find_content(element, contents[-1] if contents else None))
        return contents

    def _restore_archives(
        self,
        request: RestoreRequest,
        patterns: MemberPatterns,
        elements: Sequence[StorageBackupDataElementInterface],
        contents: Sequence[Content],
        warnings: list[str],
    ) -> RestoreReport:
        check_programs()
        unpacker = Unpacker(self.tools, self.decoder)
        replay = ArchiveReplay(self.decoder, unpacker, elements, contents, patterns)
        replay.survey()
        with RestoreTarget(request.target, into_existing=request.into_existing) as target:
            try:
                replay.run(target)
                is_merged = not target.is_staged or all(map(leaves_files_whole, replay.problems))
                if is_merged:
                    target.merge()
            except KeyboardInterrupt:
                if not target.is_staged:
                    log.warning(
                        "what is in %s is incomplete: remove it before you restore again", target.path
                    )
                raise
            except GuerillaBackupError as error:
                if target.is_staged:
                    raise
                raise type(error)(f"{error}; what is in {target.path} is incomplete") from error
            warnings += [*target.warnings, *replay.warnings]
            warnings += [NOT_ROOT] if unpacker.lost_owners else []
            ids = tuple(element.get_element_id() for element in elements)
            problems = tuple(replay.problems)
            return RestoreReport(
                *(request.source_url, ids, target.path, True, tuple(warnings), problems),
                is_merged=is_merged,
                members=replay.members_kept,
                remarks=tuple(replay.remarks),
                confined_by=replay.confined_by,
            )

    def _restore_file(
        self,
        request: RestoreRequest,
        element: StorageBackupDataElementInterface,
        content: Content,
        warnings: list[str],
    ) -> RestoreReport:
        element_id = element.get_element_id()
        if request.includes:
            raise ConfigError(f"element {element_id} is not an archive: it has no members to choose from")
        with RestoreTarget(request.target, into_existing=request.into_existing) as target:
            is_stream = element.get_metadata().content_type is not None
            name = element_id.file_stem if is_stream else request.source_url.name
            unpacker = Unpacker(self.tools, self.decoder)
            unpacker.write_file(element, content, target.unpack_fd, name)
            target.merge()
            path = os.path.join(target.path, name)
            warnings += target.warnings
        return RestoreReport(request.source_url, (element_id,), path, False, tuple(warnings), ())

    def _make_tools(self) -> PipelineTools:
        timeout = float(self._configuration["PipelineStallTimeout"])
        return PipelineTools(
            detect_format=detect_format,
            decryption=self._make_decryption,
            advise_on_keys=self._keyrings.advise,
            decompression=decompression_element,
            digest=DigestPipelineElement,
            function=ThreadPipelineElement,
            confine=Confinement,
            program=lambda argv, allowed, confinement: OSProcessPipelineElement(
                *(argv[0], argv, allowed),
                environment={"TAR_OPTIONS": ""},
                name="tar",
                start_by=confinement.start,
            ),
            instantiate=instantiate_pipeline,
            start=start_all,
            run=partial(run_pipeline, stall_timeout=timeout),
            digest_of=_digest_of,
            outcome_of=_outcome_of,
        )

    def _make_decryption(self) -> GpgDecryptionPipelineElement:
        keyrings = self._keyrings
        return GpgDecryptionPipelineElement(
            keyrings.open(),
            keyrings.passphrase_file,
            keyrings=keyrings.further_keyrings,
            called=keyrings.called,
            warn=keyrings.note_ended_key,
        )


def _require_storage(configuration: Configuration, directory: str | None) -> str:
    """Where the storage is, None being the host's own; raises ConfigError where it is not, or not mounted."""
    problem = None
    if directory is None:
        configuration.require("DefaultFileSystemSinkBaseDir")
        directory = str(configuration["DefaultFileSystemSinkBaseDir"])
        if state := configuration.get("GeneralPersistencyBaseDir"):
            move_on = elements_move_on(configuration)
            problem = find_storage_problem(directory, state, elements_move_on=move_on)
    if problem := problem or describe_missing(directory):
        raise ConfigError(problem)
    return directory


def _read_last(configuration: Configuration, directory: str) -> LastElements:
    """What this host's generator remembers as the last elements, if the storage in the directory is its."""
    own, state = (
        configuration.get(key) for key in ("DefaultFileSystemSinkBaseDir", "GeneralPersistencyBaseDir")
    )
    return read_last_of(directory, own, state, move_on=elements_move_on(configuration))


def _note_deleted(configuration: Configuration, directory: str, uuids: Collection[bytes]) -> None:
    own = configuration.get("DefaultFileSystemSinkBaseDir")
    note_deleted(directory, own, configuration.get("GeneralPersistencyBaseDir"), uuids)


def _digest_of(process: TransformationProcessInterface) -> bytes:
    assert isinstance(process, DigestProcess)
    return process.get_digest_data()


def _outcome_of(process: TransformationProcessInterface) -> tuple[int, Sequence[str]]:
    assert isinstance(process, OSProcess)
    assert process.exit_status is not None
    return process.exit_status, process.get_messages()
