"""The file names of elements: which belongs to which element, and what it is to it. No I/O."""

import re
from typing import NamedTuple

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import ElementIdError, SourceUrlError, StorageError

DATA = "data"
INFO = "info"
LOCK = "lock"
PARTIAL_DIRECTORY = ".partial"
"""Below the storage's directory: what is being received and can be resumed; not a source's folder."""

# What the original allows, as far as it is printable: ours sets fewer, and deletes all of them.
_ATTRIBUTE_SUFFIX = re.compile(r"[!-,0-~]{1,64}")


class FileName(NamedTuple):
    """One file name taken apart: the element it belongs to, and data, info, lock or an attribute's name."""

    element_id: ElementId
    suffix: str


def parse_file_name(directory: tuple[str, ...], name: str) -> FileName | None:
    """The element's file that `name` in that folder is, None when it is none."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or _ATTRIBUTE_SUFFIX.fullmatch(suffix) is None:
        return None
    try:
        return FileName(ElementId.parse("".join(f"/{part}" for part in (*directory, stem))), suffix)
    except ElementIdError:
        return None


def is_source_directory(directory: tuple[str, ...], name: str) -> bool:
    """Whether a folder of that name can hold elements."""
    if not directory and name == PARTIAL_DIRECTORY:
        return False
    try:
        SourceUrl("".join(f"/{part}" for part in (*directory, name)))
    except SourceUrlError:
        return False
    return True


def check_storable(source_url: SourceUrl) -> None:
    """Refuse the sources whose files would be among the storage's own; raises StorageError."""
    if source_url.components[0] == PARTIAL_DIRECTORY and len(source_url.components) > 1:
        raise StorageError(
            f"source {source_url} cannot be stored: {PARTIAL_DIRECTORY} is the storage's own folder"
        )


def file_name(element_id: ElementId, suffix: str) -> str:
    """The name of one of the element's files in its folder."""
    return f"{element_id.file_stem}.{suffix}"


def relative_path(directory: tuple[str, ...], name: str) -> str:
    """A path below the storage, for messages."""
    path = "/".join((*directory, name))
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
