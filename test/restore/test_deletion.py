"""Which elements are deleted, in which order, and what is refused."""

import pytest
from element_operations import ids

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementIdError, ElementLockedError, ElementNotFoundError, StorageError


def test_deleting_goes_from_the_last_to_the_first_and_takes_the_members_lists(operations, make, storage):
    elements, lists = make("/a/b", ["full", "inc"]), make("/a/b.members", ["full", "inc"])
    plan = operations.plan_deletion(ids(elements))
    assert plan.dependents == {}
    assert [str(each) for each in operations.delete(plan)] == [
        *reversed(ids(lists)),
        *reversed(ids(elements)),
    ]
    assert list(storage.query_backup_data_elements()) == []


def test_what_others_need_is_deleted_only_by_force(operations, make, storage):
    elements = make("/a/b", ["full", "inc"])
    plan = operations.plan_deletion(ids(elements)[:1])
    assert list(plan.dependents.values()) == [[elements[1].get_element_id()]]
    with pytest.raises(StorageError, match="is needed to restore"):
        list(operations.delete(plan))
    list(operations.delete(plan, force=True))
    assert ids(storage.query_backup_data_elements()) == ids(elements)[1:]


@pytest.mark.parametrize(("copied", "is_safe"), [(b"/a/b", True), (b"junk", False)])
def test_a_copy_stands_in_for_an_element_only_with_the_right_data(operations, make, storage, copied, is_safe):
    full, _ = make("/a/b", ("full", "inc"))
    with storage.get_sink_handle(SourceUrl("/a/b")) as handle:
        handle.write(copied)
        handle.close(full.get_metadata())
    plan = operations.plan_deletion([str(full.get_element_id())])
    assert (not plan.dependents) is is_safe


def test_what_cannot_be_read_may_need_what_is_deleted(operations, make, tmp_path):
    full, inc = make("/a/b", ("full", "inc"))
    (tmp_path / "data" / f"{str(inc.get_element_id())[1:]}.info").write_text("{")
    plan = operations.plan_deletion([str(full.get_element_id())])
    assert plan.dependents == {full.get_element_id(): [inc.get_element_id()]}


def test_nothing_is_deleted_when_one_of_the_elements_is_locked(operations, make, storage):
    elements = make("/a/b", ["full", "full"])
    with elements[0].get_data_stream():
        plan = operations.plan_deletion(ids(elements))
        with pytest.raises(ElementLockedError):
            list(operations.delete(plan))
    assert ids(storage.query_backup_data_elements()) == ids(elements)
    list(operations.delete(operations.plan_deletion(ids(elements))))
    assert list(storage.query_backup_data_elements()) == []


def test_what_is_gone_already_keeps_nothing_else_from_being_deleted(operations, make, storage):
    elements = make("/a/b", ("full", "inc"))
    names = ids(elements)
    elements[1].delete()
    plan = operations.plan_deletion(names)
    (warning,) = plan.warnings
    assert names[1] in warning
    assert [str(each) for each in operations.delete(plan)] == names[:1]
    with pytest.raises(ElementNotFoundError):
        operations.plan_deletion(names)


def test_only_exact_ids_are_deleted(operations, make):
    make("/a/b")
    make("/a/b-full")
    with pytest.raises((ElementNotFoundError, ElementIdError)):
        operations.plan_deletion(["/a/b"])
