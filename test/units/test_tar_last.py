"""An incremental backup needs the element before it: what happens when that is gone from the storage."""

import json
import os
import shutil

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.events import SourceWarning
from guerillabackup.generator.state import StateDirectory

SETTING = "GeneralElementsMoveOn"


@pytest.fixture
def bench(bench):
    (bench.tree / "file").touch()
    return bench


def lose_newest(bench):
    *_, newest = bench.storage.query_backup_data_elements(source_url=SourceUrl("/host/tree"))
    newest.delete()


def stored_types(bench):
    elements = bench.storage.query_backup_data_elements(source_url=SourceUrl("/host/tree"))
    return [element.get_metadata().backup_type.value for element in elements]


def warnings(bench):
    return [event.message for event in bench.events if isinstance(event, SourceWarning)]


def test_after_the_newest_element_is_gone_a_full_backup_is_made_with_a_warning(bench):
    for _ in range(3):
        bench.run()
    lose_newest(bench)
    assert bench.run().error is None
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "inc", "full", "inc"]
    (warning,) = warnings(bench)
    assert "is not in the storage any more" in warning
    assert f"{SETTING} = True" in warning


def test_after_the_whole_storage_is_gone_a_full_backup_is_made(bench):
    bench.run()
    bench.run()
    for element in list(bench.storage.query_backup_data_elements()):
        element.delete()
    bench.run()
    assert stored_types(bench) == ["full"]


def test_another_element_under_the_name_of_the_last_one_is_not_gone_on_from(bench):
    bench.run()
    path = bench.state / "state.current"
    (values,) = json.loads(path.read_text()).values()
    path.write_text(json.dumps({"/host/tree": [*values[:2], "b3RoZXI="]}))
    extras = bench.state / "extras.current"
    remembered = json.loads(extras.read_text())
    remembered["/host/tree"]["LastElement"][1] = "b3RoZXI="
    extras.write_text(json.dumps(remembered))
    bench.run()
    assert stored_types(bench) == ["full", "full"]


@pytest.mark.parametrize(
    "settings", [{SETTING: True}, {"TransferSenderPolicyClass": dict}, {SETTING: True, "x": 1}]
)
def test_where_elements_move_on_incrementals_go_on(bench, settings):
    bench.configuration.update(settings)
    bench.run()
    lose_newest(bench)
    bench.run()
    assert stored_types(bench) == ["inc"]
    assert warnings(bench) == []


def test_that_elements_do_not_move_on_can_be_said_beside_a_sender_policy(bench):
    bench.configuration.update({SETTING: False, "TransferSenderPolicyClass": dict})
    bench.run()
    lose_newest(bench)
    bench.run()
    assert stored_types(bench) == ["full"]


def test_a_last_element_that_is_not_known_is_no_reason_for_a_full_backup(bench):
    """The state of the original comes without extras."""
    bench.run()
    bench.run()
    (bench.state / "extras.current").unlink()
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "inc", "inc"]


def test_a_state_that_was_put_back_from_the_copy_beside_it_makes_a_full_backup(bench):
    """The index is that of the element after: what changed in between would be in no element of the chain."""
    bench.run()
    bench.run()
    (bench.state / "state.current").write_bytes((bench.state / "state.old").read_bytes())
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "inc", "full"]
    bench.run()
    assert stored_types(bench) == ["full", "inc", "full", "inc"]


def test_a_state_directory_that_was_put_back_whole_does_not_fork_the_chain(bench, tmp_path):
    bench.run()
    shutil.copytree(bench.state, tmp_path / "copy")
    bench.run()
    shutil.rmtree(bench.state)
    shutil.copytree(tmp_path / "copy", bench.state)
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "inc", "full"]


def put_back_without_the_index(bench, copy):
    for name in ("state.current", "extras.current"):
        shutil.copy(copy / name, bench.state / name)
    lose_newest(bench)


def test_an_older_memory_beside_a_newer_index_makes_a_full_backup_with_a_warning(bench, tmp_path):
    """What the lost element had would be in no element of the chain."""
    bench.run()
    shutil.copytree(bench.state, tmp_path / "copy")
    (bench.tree / "file").write_text("in the lost element")
    bench.run()
    put_back_without_the_index(bench, tmp_path / "copy")
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "full"]
    assert "tar's index is not the one of the last element" in warnings(bench)[0]
    assert (bench.restore() / "file").read_text() == "in the lost element"
    bench.run()
    assert stored_types(bench) == ["full", "full", "inc"]


def test_a_memory_without_a_mark_of_the_index_goes_on_with_it(bench):
    """It is that of an older version."""
    bench.run()
    path = bench.state / "extras.current"
    extras = json.loads(path.read_text())
    del extras["/host/tree"]["Index"]
    path.write_text(json.dumps(extras))
    bench.run()
    assert stored_types(bench) == ["full", "inc"]
    assert json.loads(path.read_text())["/host/tree"]["Index"]


def test_an_incremental_whose_full_is_gone_is_not_followed_by_another(bench):
    bench.run()
    bench.run()
    full, *_ = [
        element
        for element in bench.storage.query_backup_data_elements()
        if not element.get_source_url().is_members and element.get_metadata().get("BackupType") == "full"
    ]
    full.delete()
    assert bench.run().error is None
    assert stored_types(bench) == ["inc", "full"]


def data_files(bench, backup_type="full"):
    return sorted((bench.spool / "host").glob(f"*-tree-{backup_type}.data"))


@pytest.mark.parametrize("size", [0, 100])
def test_a_last_element_whose_data_was_cut_off_is_not_gone_on_from(bench, size):
    bench.run()
    bench.run()
    (path,) = data_files(bench, "inc")
    before = path.stat().st_size
    os.truncate(path, size)
    assert bench.run().error is None
    assert bench.run().error is None
    assert stored_types(bench) == ["full", "inc", "full", "inc"]
    (warning,) = warnings(bench)
    assert warning.startswith("a full backup is made in place of an incremental one: ")
    assert f"element /host/{path.stem}," in warning
    assert f"has {size} bytes, and had {before} " in warning


def test_any_element_from_the_full_on_whose_data_has_another_size_is_noticed(bench):
    for _ in range(3):
        bench.run()
    (path,) = data_files(bench)
    with open(path, "ab") as file:
        file.write(b"x")
    bench.run()
    assert stored_types(bench) == ["full", "inc", "inc", "full"]


def test_elements_before_the_last_full_may_be_damaged(bench):
    bench.run()
    os.truncate(*data_files(bench), 0)
    bench.run()
    bench.run()
    assert stored_types(bench) == ["full", "full", "inc"]


def test_where_elements_move_on_those_that_are_there_still_count(bench):
    bench.configuration[SETTING] = True
    for _ in range(3):
        bench.run()
    lose_newest(bench)
    os.truncate(*data_files(bench), 10)
    bench.run()
    assert stored_types(bench) == ["full", "inc", "full"]


def test_a_memory_without_sizes_goes_on(bench):
    """That of a version before they were remembered."""
    bench.run()
    extras = bench.state / "extras.current"
    remembered = json.loads(extras.read_text())
    sizes = remembered["/host/tree"].pop("DataSizes")
    assert list(sizes.values()) == [path.stat().st_size for path in data_files(bench)]
    extras.write_text(json.dumps(remembered))
    bench.run()
    assert stored_types(bench) == ["full", "inc"]
    assert warnings(bench) == []


def test_an_element_that_a_crash_left_to_be_finished_is_known_too(bench, monkeypatch):
    bench.run()
    with monkeypatch.context() as patched:
        patched.setattr(StateDirectory, "save", dying_save(StateDirectory.save))
        with pytest.raises(SystemExit):
            bench.run()
    bench.open().close()
    bench.run()
    assert stored_types(bench) == ["full", "inc", "inc"]
    lose_newest(bench)
    bench.run()
    assert stored_types(bench) == ["full", "inc", "full"]


def dying_save(save):
    """The elements are visible when the extras are about to be written."""

    def die(self, name, value, **options):
        if name == "extras.current":
            raise SystemExit(1)
        save(self, name, value, **options)

    return die
