"""Interfaces that code written for the original derives from."""

import pytest

from guerillabackup.original.interfaces import BackupDataElementQueryResult, SinkInterface
from guerillabackup.storage import interface as storage


def test_a_class_with_the_originals_methods_can_be_made():
    class Own(SinkInterface):
        def getSinkHandle(self, sourceUrl):
            return sourceUrl

    assert Own().getSinkHandle("/a") == "/a"
    assert isinstance(Own(), storage.SinkInterface)


def test_a_query_result_without_its_method_says_so():
    with pytest.raises(NotImplementedError, match="getNextElement"):
        BackupDataElementQueryResult().getNextElement()
