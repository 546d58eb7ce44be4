"""Deleting many elements with one sync for each folder.

Each goes as alone: under its lock, `.info` first, by exact names. Only the sync is shared, so that a crash
before it may bring elements back, whole; what is said to be gone is gone for good. Touches: os.
"""

import os
from collections.abc import Sequence

from guerillabackup import osfile
from guerillabackup.errors import ElementNotFoundError, StorageError
from guerillabackup.osfile import raise_storage_error
from guerillabackup.storage.file_element import FileElement
from guerillabackup.storage.folder import RootDirectory


def delete_together(root: RootDirectory, elements: Sequence[FileElement]) -> list[StorageError | None]:
    """See StorageInterface.delete_elements."""
    results: list[StorageError | None] = [None] * len(elements)
    folders: dict[tuple[str, ...], list[int]] = {}
    for position, element in enumerate(elements):
        folders.setdefault(element.get_source_url().directory, []).append(position)
    for directory, positions in folders.items():
        try:
            root.check_in_place()
            _delete_in(
                root.descriptor, directory, {position: elements[position] for position in positions}, results
            )
        except StorageError as error:
            for position in positions:
                results[position] = error
        except OSError as error:
            # Also what was unlinked may come back, where the sync failed.
            for position in positions:
                results[position] = results[position] or _explain(elements[position], error)
    return results


def _delete_in(
    root_fd: int,
    directory: tuple[str, ...],
    elements: dict[int, FileElement],
    results: list[StorageError | None],
) -> None:
    """Delete those of one folder, noting what hinders each; OSError: none is known to be gone."""
    directory_fd = osfile.open_directory_below(root_fd, directory)
    try:
        for position, element in elements.items():
            try:
                element.delete_from(directory_fd)
            except StorageError as error:
                results[position] = error
            except OSError as error:
                results[position] = _explain(element, error)
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)


def _explain(element: FileElement, error: OSError) -> StorageError:
    """What the element's own `delete` would have raised."""
    element_id = element.get_element_id()
    try:
        if isinstance(error, FileNotFoundError):
            raise ElementNotFoundError(f"element {element_id} is not in the storage") from error
        raise_storage_error(error, f"element {element_id}")
    except StorageError as explained:
        return explained
