"""Interfaces that code written for the original derives from."""

from guerillabackup.original.interfaces import without_abstract_methods
from guerillabackup.storage import interface as storage


def test_a_class_with_the_originals_methods_can_be_made():
    class Own(without_abstract_methods(storage.SinkInterface)):
        def getSinkHandle(self, sourceUrl):
            return sourceUrl

    assert Own().getSinkHandle("/a") == "/a"
    assert isinstance(Own(), storage.SinkInterface)
