"""Whether a directory can be that of a storage: what to say of one that is missing, or is something else.

Touches: os.
"""

import os
from contextlib import suppress
from itertools import islice

from guerillabackup import osfile
from guerillabackup.errors import StorageError
from guerillabackup.storage.naming import parse_file_name, relative_path
from guerillabackup.storage.walk import FolderNames, list_folder, walk_folders

MAX_FOLDERS = 10_000
"""That are looked at for a file of others."""

WHICH = "is it mounted, and is it the right directory"


def describe_missing(directory: str) -> str | None:
    """That there is no such directory; None where there is one, or where that cannot be known."""
    try:
        os.stat(os.path.join(directory, "."))
    except (FileNotFoundError, NotADirectoryError):
        return f"the storage {directory} is not there or no directory: {WHICH}"
    except OSError:
        return None  # whoever opens it says why that cannot be
    return None


def describe_empty(directory: str) -> str:
    """That a directory holds no elements, which whoever calls has seen."""
    return f"the storage {directory} has no elements at all: {WHICH}"


def find_foreign_file(directory: str) -> str | None:
    """Path below the directory of a file that no storage has; what cannot be read is passed over."""

    def look(components: tuple[str, ...], descriptor: int) -> FolderNames:
        return list_folder(descriptor)

    with suppress(OSError, StorageError):
        root_fd = osfile.open_directory(directory)
        try:
            for components, _, names in islice(walk_folders(root_fd, directory, look), MAX_FOLDERS):
                for name in names.files:
                    if parse_file_name(components, name) is None:
                        return relative_path(components, name)
        finally:
            os.close(root_fd)
    return None
