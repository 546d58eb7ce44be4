"""The interfaces as classes that code written for the original derives from. No I/O.

They are ours without their abstract methods, since such code defines the original's. What it hands to us is
wrapped where it comes in.
"""

from typing import Any

from guerillabackup.pipeline import interface as pipeline
from guerillabackup.storage import interface as storage


def without_abstract_methods(interface: type) -> Any:
    """A class derived from an interface that can be instantiated whatever it lacks."""
    opened = type(interface)(interface.__name__, (interface,), {"__doc__": interface.__doc__})
    opened.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    return opened


TransformationProcessInterface = without_abstract_methods(pipeline.TransformationProcessInterface)
TransformationProcessOutputInterface = without_abstract_methods(pipeline.TransformationProcessOutputInterface)
SinkInterface = without_abstract_methods(storage.SinkInterface)
SinkHandleInterface = without_abstract_methods(storage.SinkHandleInterface)
StorageInterface = without_abstract_methods(storage.StorageInterface)
StorageBackupDataElementInterface = without_abstract_methods(storage.StorageBackupDataElementInterface)


class BackupDataElementQueryResult:
    """The answer to a query of a storage: one element after the other, None at the end."""

    def getNextElement(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no getNextElement")
