"""What can be asked of the elements of a storage, and how they are deleted."""

import base64
import os

import pytest
from element_operations import RULES, ids
from sample_source import SampleSource

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementIdError, ElementNotFoundError
from guerillabackup.events import ignore_events
from guerillabackup.restore.chain_check import Severity
from guerillabackup.restore.elements import ElementOperations


def test_an_element_is_described_with_all_of_its_metadata(operations, make):
    (element,) = make("/a/b")
    element.set_extra_data("note", b"x")
    record = operations.describe_fully(element)
    assert (record["id"], record["source"], record["type"]) == (str(element.get_element_id()), "/a/b", "full")
    assert base64.b64decode(record["DataUuid"]) == element.get_metadata().data_uuid
    assert (record["attributes"], record["members"], record["locked"]) == (["note"], None, False)


def test_elements_in_order_are_found_so_one_by_one(operations, make):
    elements = make("/a/b", ["full", "inc"])
    findings = list(operations.verify([]))
    assert [(each.subject, each.severity) for each in findings] == [(name, None) for name in ids(elements)]


def test_damage_and_a_gap_are_violations_of_the_elements_that_have_them(operations, make, tmp_path):
    elements = make("/a/b", ["full", "inc", "inc"])
    elements[1].delete()
    (tmp_path / "data" / f"{ids(elements)[0][1:]}.data").write_bytes(b"damaged")
    found = [(each.subject, each.text) for each in operations.verify(["/a/b"]) if each.severity is not None]
    assert [subject for subject, _ in found] == [ids(elements)[0], ids(elements)[2]]
    assert "checksum" in found[0][1]
    assert "not here" in found[1][1]


@pytest.mark.parametrize(
    ("gaps_are_meant", "severity"), [(False, Severity.VIOLATION), (True, Severity.WARNING)]
)
def test_a_hole_before_a_full_is_a_violation_unless_gaps_are_meant(storage, make, gaps_are_meant, severity):
    elements = make("/a/b", ["full", "inc", "full"])
    elements[1].delete()
    operations = ElementOperations(storage, RULES, ignore_events, gaps_are_meant=gaps_are_meant)
    for names in ([], ["/a/b"], ids(elements)[2:]):
        found = [each for each in operations.verify(names) if each.severity is not None]
        assert [(each.subject, each.severity) for each in found] == [(ids(elements)[2], severity)]
        assert "hole in the history" in found[0].text


def test_a_single_element_is_judged_within_its_whole_chain(operations, make):
    elements = make("/a/b", ["full", "inc", "inc"])
    (finding,) = operations.verify([ids(elements)[2]])
    assert finding.severity is None
    elements[0].delete()
    severities = [each.severity for each in operations.verify([ids(elements)[2]])]
    assert severities == [None, Severity.VIOLATION]


def test_metadata_that_is_none_is_a_violation_and_the_others_go_on(operations, make, tmp_path):
    elements = make("/a/b", ["full", "full"])
    (tmp_path / "data" / f"{ids(elements)[0][1:]}.info").write_bytes(b"no JSON")
    findings = {each.subject: each.severity for each in operations.verify([])}
    assert findings == {ids(elements)[0]: Severity.VIOLATION, ids(elements)[1]: None}


def info_path(element, tmp_path):
    return tmp_path / "data" / f"{str(element.get_element_id())[1:]}.info"


def test_an_element_with_damaged_metadata_is_named_and_described_as_far_as_it_goes(
    operations, make, storage, tmp_path
):
    elements = make("/a/b", ["full", "inc"])
    info_path(elements[1], tmp_path).write_text("{")
    damaged = storage.get_backup_data_element(elements[1].get_element_id())
    record = operations.describe_fully(damaged)
    assert ids(elements)[1] in record["problem"]
    assert (record["id"], record["type"], record["attributes"]) == (ids(elements)[1], "inc", [])
    found = operations.links(SourceUrl("/a/b"))
    assert [link.element_id for link in found.links] == [elements[0].get_element_id()]
    assert list(found.unreadable) == [elements[1].get_element_id()]


@pytest.mark.parametrize("is_list_damaged", [True, False])
def test_what_is_damaged_can_be_deleted_with_its_members_list(
    operations, make, storage, tmp_path, is_list_damaged
):
    elements, lists = make("/a/b", ["full", "inc"]), make("/a/b.members", ["full", "inc"])
    info_path((lists if is_list_damaged else elements)[1], tmp_path).write_text("{")
    deleted = [str(each) for each in operations.delete(operations.plan_deletion(ids(elements)[1:]))]
    assert deleted == [ids(lists)[1], ids(elements)[1]]
    assert ids(storage.query_backup_data_elements()) == [ids(elements)[0], ids(lists)[0]]


def test_what_belongs_to_no_element_of_a_source_is_told_of_with_the_source(operations, make, tmp_path):
    elements = make("/a/b", ["full", "inc"])
    make("/a/c")
    (tmp_path / "data" / "a" / "20200101000000-c-full.data").write_bytes(b"x")
    info_path(elements[1], tmp_path).with_suffix(".data").unlink()
    found = [each for each in operations.verify(["/a/b"]) if each.severity is not None]
    assert [each.subject for each in found] == [f"{ids(elements)[1][1:]}.info"]
    assert found[0].severity is Severity.VIOLATION
    assert f"info without data; element {ids(elements)[1]} was stored and is not whole" in found[0].text


@pytest.mark.parametrize("suffix", [".data", ".info"])
@pytest.mark.parametrize("make_other", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/hostname", path)])
@pytest.mark.parametrize("names", [[], ["/a/b"]])
def test_an_element_with_no_file_in_the_place_of_one_is_violated(
    operations, make, tmp_path, suffix, make_other, names
):
    elements = make("/a/b", ["full", "inc"])
    path = info_path(elements[1], tmp_path).with_suffix(suffix)
    path.unlink()
    make_other(path)
    found = [each for each in operations.verify(names) if each.severity is Severity.VIOLATION]
    assert found
    assert all(ids(elements)[1] in each.text for each in found)


def test_a_source_of_which_only_such_files_are_left_is_verified_too(operations, make, tmp_path):
    (element,) = make("/a/b")
    info_path(element, tmp_path).unlink()
    (finding,) = operations.verify(["/a/b"])
    assert (finding.subject, finding.severity) == (f"{ids([element])[0][1:]}.data", Severity.WARNING)


def test_files_that_belong_to_no_element_are_told_of(operations, make, tmp_path):
    make("/a/b")
    (tmp_path / "data" / "a" / "20200101000000-b-full.data").write_bytes(b"x")
    (finding,) = [each for each in operations.verify([]) if each.severity is not None]
    assert finding.severity is Severity.WARNING
    assert "20200101000000-b-full.data" in finding.subject


@pytest.mark.parametrize("name", ["/nothing", "/a/20200101000000-b-full"])
def test_verifying_what_is_not_there_is_an_error(operations, make, name):
    make("/a/b")
    with pytest.raises(ElementNotFoundError):
        list(operations.verify([name]))


def test_verifying_what_is_neither_name_is_an_error(operations):
    with pytest.raises(ElementIdError):
        list(operations.verify(["no slash"]))


def test_an_element_is_told_which_other_lists_its_members(operations, make):
    elements, lists = make("/a/b", ["full", "inc"]), make("/a/b.members", ["full", "inc"])
    assert [str(operations.companion(each)) for each in elements] == ids(lists)
    assert operations.companion(lists[0]) is None


def test_a_list_that_names_its_element_may_be_of_another_type(operations, storage, tmp_path):
    elements = SampleSource(storage, tmp_path, source="/a/b", compression=None)
    stored = [elements.store(kind, b"data") for kind in ("full", "inc")]
    lists = SampleSource(storage, tmp_path, source="/a/b.members", compression=None)
    lists.store("full", b"list", MembersOf=_uuid(stored[0]))
    listed = lists.store("full", b"list", MembersOf=_uuid(stored[1]))
    assert operations.companion(stored[1]) == listed.get_element_id()


def _uuid(element):
    return base64.b64encode(element.get_metadata().data_uuid).decode()


def test_the_sources_of_a_storage_are_told_sorted(operations, make):
    for source in ("/x", "/a/b", "/a/b", "/a"):
        make(source)
    assert operations.sources() == [SourceUrl("/a"), SourceUrl("/a/b"), SourceUrl("/x")]


def test_a_list_whose_element_is_not_here_is_warned_of_and_not_called_in_order(operations, storage, tmp_path):
    lists = SampleSource(storage, tmp_path, source="/a/b.members", compression=None)
    lists.store("full", b"list", MembersOf="AAAA", MetaDataSignature=b"s")
    (finding,) = operations.verify(["/a/b.members"])
    assert finding.severity is Severity.WARNING
    assert "is not in this storage" in finding.text


def test_a_list_whose_element_is_here_is_in_order(operations, storage, make, tmp_path):
    (element,) = make("/a/b")
    lists = SampleSource(storage, tmp_path, source="/a/b.members", compression=None)
    lists.store("full", b"list", MembersOf=_uuid(element), MetaDataSignature=b"s")
    assert [finding.severity for finding in operations.verify([])] == [None, None]
