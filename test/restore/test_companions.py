"""Which lists of members belong to which elements, and which to none that is here."""

import base64

import pytest
from sample_source import SampleSource

from guerillabackup.element import SourceUrl
from guerillabackup.restore.companions import find_lists, find_lonely_lists
from guerillabackup.storage.registry import open_storage

MEMBERS = SourceUrl("/a/b.members")


@pytest.fixture
def storage(tmp_path):
    storage = open_storage(str(tmp_path / "data"), create=True)
    yield storage
    storage.close()


@pytest.fixture
def pairs(storage, tmp_path):
    """A full and an incremental, each with its list; the first list of all is a full one."""
    main = SampleSource(storage, tmp_path, source="/a/b", compression=None)
    lists = SampleSource(storage, tmp_path, source="/a/b.members", compression=None)
    made = []
    for kind in ("full", "inc"):
        element = main.store(kind, b"archive of " + kind.encode())
        uuid = base64.b64encode(element.get_metadata().data_uuid).decode("ascii")
        made.append((element, lists.store(kind, b"list of " + kind.encode(), MembersOf=uuid)))
    return made


def ids(elements):
    return {each.get_element_id() for each in elements}


def test_each_element_has_its_own_list(storage, pairs):
    for element, members in pairs:
        assert ids(find_lists(storage, element)) == {members.get_element_id()}
        assert ids(find_lists(storage, members)) == set()


def test_a_list_is_lonely_once_its_element_is_gone(storage, pairs):
    assert find_lonely_lists(storage, MEMBERS) == set()
    element, members = pairs[1]
    element.delete()
    assert find_lonely_lists(storage, MEMBERS) == {members.get_element_id()}
    assert find_lonely_lists(storage, SourceUrl("/a/b")) == set()


def test_no_list_is_lonely_that_may_be_of_an_element_that_cannot_be_read(storage, pairs, tmp_path):
    pairs[1][0].delete()
    (tmp_path / f"data{pairs[0][0].get_element_id()}.info").write_bytes(b"none")
    assert find_lonely_lists(storage, MEMBERS) == set()


def test_a_list_that_names_no_element_is_not_called_lonely(storage, tmp_path):
    SampleSource(storage, tmp_path, source="/a/b.members", compression=None).store(
        "full", b"of another program"
    )
    assert find_lonely_lists(storage, MEMBERS) == set()
