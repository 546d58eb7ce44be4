"""What the making of an element needs whatever its content is: the way to the storage, metadata, signatures.

It joins the pipelines and what the unit was given.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

from guerillabackup.element import (
    CONTENT_LAYERS_KEY,
    CONTENT_TYPE_KEY,
    BackupElementMetainfo,
    BackupType,
    SourceUrl,
    make_data_uuid,
)
from guerillabackup.errors import ConfigError, PipelineError
from guerillabackup.generator.interface import UnitContext
from guerillabackup.pipeline.counting import CountingPipelineElement
from guerillabackup.pipeline.digest import DigestProcess
from guerillabackup.pipeline.gpg import GpgEncryptionPipelineElement
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessInterface,
)
from guerillabackup.pipeline.run import default_downstream
from guerillabackup.pipeline.thread import ThreadProcess
from guerillabackup.storage.interface import SinkHandleInterface


class StoredStream(NamedTuple):
    """What went through one pipeline: SHA-512 and size of what came out."""

    digest: bytes
    size: int


class Part(NamedTuple):
    """An element that is written but not stored: its handle, source and metadata, not signed yet."""

    handle: SinkHandleInterface
    source_url: SourceUrl
    metainfo: BackupElementMetainfo


def downstream_elements(
    encryption_key: str | Sequence[str] | None,
    configuration: Mapping[str, Any],
    keys_directory: str,
    find_key: Callable[[str], str] | None,
) -> list[TransformationPipelineElementInterface]:
    """What a source's data goes through on its way to the storage; raises ConfigError, KeyUnusableError."""
    elements = default_downstream(
        configuration.get("GeneralDefaultCompressionElement"),
        configuration.get("GeneralDefaultEncryptionElement"),
        encryption_key,
        keys_directory,
        find_key,
    )
    for element in elements:
        if not isinstance(element, TransformationPipelineElementInterface):
            raise ConfigError(f"{element!r} is not a pipeline element")
    return elements


def downstream_of(
    context: UnitContext, encryption_key: str | Sequence[str] | None
) -> list[TransformationPipelineElementInterface]:
    """The same for a source of a unit; asked for each time, because keys come and expire."""
    keys_directory = os.path.join(context.config_directory, "keys")
    return downstream_elements(
        encryption_key, context.configuration, keys_directory, context.find_encryption_key
    )


def recipients_of(downstream: Sequence[TransformationPipelineElementInterface]) -> tuple[str, ...]:
    """The keys that what goes through these elements is encrypted for, sorted; none where nobody knows."""
    encryptions = (each for each in downstream if isinstance(each, GpgEncryptionPipelineElement))
    return tuple(sorted({key for each in encryptions for key in each.keys}))


def stall_timeout(context: UnitContext) -> float:
    """Seconds after which a pipeline that does nothing is given up."""
    return float(context.configuration.get("PipelineStallTimeout") or 3600)


def stream_keys(
    content_type: str, downstream: Sequence[TransformationPipelineElementInterface]
) -> dict[str, Any]:
    """What the metadata of a plain stream says of it, for `extra` of `describe_part`.

    `downstream` is all it goes through, the digest at the end included. A restore undoes that much and no
    more: a stream that is compressed by its maker comes back so.
    """
    return {CONTENT_TYPE_KEY: content_type, CONTENT_LAYERS_KEY: len(downstream) - 1}


def counted(
    downstream: Sequence[TransformationPipelineElementInterface],
) -> list[TransformationPipelineElementInterface]:
    """The same with what comes out of each program counted, for `stored_stream`; the digest counts by itself.

    Nothing else knows it: of a program that has ended only root may read how much it wrote, messages and what
    it wrote elsewhere are in that number, and an encryption makes something of nothing.
    """
    elements: list[TransformationPipelineElementInterface] = []
    for element in downstream[:-2]:
        elements += [element, CountingPipelineElement(f"count-{len(elements) // 2 + 1}")]
    return [*elements, *downstream[-2:]]


def stored_stream(
    processes: Sequence[TransformationProcessInterface], *, has_content: bool = True
) -> StoredStream:
    """What came out of a pipeline that ended; its last process is the digest's.

    Raises PipelineError when a stage made nothing of content: no compression or encryption does, whatever its
    exit status says. That is known where the stage behind it counts.
    """
    digest = processes[-1]
    assert isinstance(digest, DigestProcess)
    if has_content:
        for before, behind in pairwise(processes):
            if isinstance(behind, ThreadProcess | DigestProcess) and behind.get_counts().bytes_read == 0:
                raise PipelineError(f"stage {before.name} ended well, but wrote nothing: that is no backup")
    return StoredStream(digest.get_digest_data(), digest.get_size())


def describe_part(
    context: UnitContext,
    handle: SinkHandleInterface,
    url: SourceUrl,
    backup_type: BackupType,
    timestamp: int,
    stored: StoredStream,
    *,
    predecessor: bytes | None,
    policy: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Part:
    """The metadata of what was written to a handle; `extra` are further keys of it."""
    values: dict[str, Any] = {
        "BackupType": backup_type.value,
        "Timestamp": timestamp,
        "DataUuid": make_data_uuid(predecessor, stored.digest, timestamp, url),
        "StorageFileChecksumSha512": stored.digest,
        **(extra or {}),
    }
    if predecessor is not None:
        values["Predecessor"] = predecessor
    if policy is not None:
        values["HandlingPolicy"] = [policy]
    if context.data_signature is not None:
        values["StorageFileSignature"] = context.data_signature(handle.get_sink_stream())
    return Part(handle, url, BackupElementMetainfo(values))


def sign_parts(
    context: UnitContext, parts: Sequence[Part]
) -> list[tuple[SinkHandleInterface, BackupElementMetainfo]]:
    """The parts as `store_together` takes them, signed where elements are; all signatures are made at once.

    Each is a process to wait for. Raises KeyUnusableError.
    """
    metainfos = [part.metainfo for part in parts]
    if context.sign is not None:
        with ThreadPoolExecutor(len(parts), "sign") as threads:
            metainfos = list(threads.map(context.sign, metainfos, (part.source_url for part in parts)))
    return [(part.handle, metainfo) for part, metainfo in zip(parts, metainfos, strict=True)]
