"""Names in a storage which say that an element was there and is not, or not whole. Touches: os.

Only names are read, so it is quick; whether there is anything to it, whoever asks has to find out.
"""

import os
from collections.abc import Iterable, Iterator

from guerillabackup import osfile
from guerillabackup.element import MEMBERS_SUFFIX
from guerillabackup.storage.interface import ElementSelection
from guerillabackup.storage.naming import DATA, INFO, parse_file_name
from guerillabackup.storage.walk import FolderNames, list_folder, walk_folders


def find_suspects(directory: str, selection: ElementSelection) -> dict[str, str]:
    """For each source of which a part of an element, or a list of members, is alone: the latest's label.

    The label is the fourteen digits that the element's name begins with. Raises StorageError.
    """

    def look(components: tuple[str, ...], descriptor: int) -> FolderNames:
        return list_folder(descriptor)

    found: dict[str, str] = {}
    root_fd = osfile.open_directory(directory)
    try:
        for start, deeper in selection.starts():
            for components, _, names in walk_folders(root_fd, directory, look, start, deeper=deeper):
                for source, digits in _suspects_of(components, names.files):
                    if selection.takes_source(source):
                        found[source] = max(digits, found.get(source, ""))
    finally:
        os.close(root_fd)
    return found


def _suspects_of(components: tuple[str, ...], files: Iterable[str]) -> Iterator[tuple[str, str]]:
    stems: dict[str, set[str]] = {DATA: set(), INFO: set()}
    for name in files:
        stem, _, suffix = name.rpartition(".")
        if suffix in stems:
            stems[suffix].add(stem)
    labels = {_label(stem) for stem in stems[INFO] if not _is_members(stem)}
    lonely = {
        stem for stem in stems[INFO] if _is_members(stem) and _label(stem, MEMBERS_SUFFIX) not in labels
    }
    for stem in (stems[DATA] ^ stems[INFO]) | lonely:
        file = parse_file_name(components, f"{stem}.{INFO}")
        if file is not None:
            element_id = file.element_id
            yield str(element_id.source_url).removesuffix(MEMBERS_SUFFIX), element_id.digits


def _is_members(stem: str) -> bool:
    return stem.rpartition("-")[0].endswith(MEMBERS_SUFFIX)


def _label(stem: str, suffix: str = "") -> str:
    """Without the type, which that of a list need not be."""
    return stem.rpartition("-")[0].removesuffix(suffix)
