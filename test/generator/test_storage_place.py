"""A storage that is not mounted is neither made nor written to, whatever is remembered of it."""

import pytest

from guerillabackup.generator.storage_place import FILLED, find_storage_problem, remember_storage


@pytest.fixture
def place(tmp_path):
    """Paths of a storage and of the state, both there and empty."""
    for name in ("data", "state"):
        (tmp_path / name).mkdir()
    return tmp_path / "data", tmp_path / "state"


def find(place, *, elements_move_on=False):
    return find_storage_problem(*map(str, place), elements_move_on=elements_move_on)


def remember(place):
    remember_storage(*map(str, place))


def test_a_storage_that_is_not_there_is_a_problem_and_not_made(place):
    place[0].rmdir()
    assert find(place) == (
        f"the storage {place[0]} is not there or no directory: is it mounted; if it is new, make it with:"
        f" mkdir -m 0700 -p {place[0]}"
    )
    remember(place)
    assert not place[0].exists()


def test_a_new_storage_may_be_empty(place):
    remember(place)
    assert list(place[1].iterdir()) == []


@pytest.mark.parametrize("left", [None, "lost+found"])
def test_a_storage_that_had_elements_must_not_be_empty(place, left):
    (place[0] / "host").touch()
    remember(place)
    remember(place)
    (place[0] / "host").unlink()
    if left is not None:
        (place[0] / left).mkdir()
    assert "is empty, although there were elements in it: is it mounted" in find(place)
    assert find(place, elements_move_on=True) is None
    (place[1] / FILLED).unlink()
    assert find(place) is None


def test_another_storage_may_be_empty(place, tmp_path):
    (place[0] / "host").touch()
    remember(place)
    (tmp_path / "other").mkdir()
    assert find((tmp_path / "other", place[1])) is None


def test_several_storages_are_remembered(place, tmp_path):
    other = tmp_path / "other", place[1]
    for each in (place, other):
        each[0].mkdir(parents=True, exist_ok=True)
        (each[0] / "host").touch()
        remember(each)
        (each[0] / "host").unlink()
    for each in (place, other):
        assert "is empty, although there were elements in it" in find(each)


@pytest.mark.parametrize("content", ["", "[", "[" * 100_000, "{}"])
def test_a_damaged_memory_keeps_no_backup_from_being_made(place, content):
    (place[1] / FILLED).write_text(content)
    assert find(place) is None
    (place[0] / "host").touch()
    remember(place)
    assert str(place[0]) in (place[1] / FILLED).read_text()


def test_state_that_is_not_there_yet_says_nothing(place):
    place[1].rmdir()
    assert find(place) is None


OVERLAPS = [
    ("data", "data", "is"),
    ("data", "data/state", "has in it"),
    ("state/data", "state", "lies in"),
    ("data/../state/data", "state", "lies in"),
]


@pytest.mark.parametrize(("storage", "other", "relation"), OVERLAPS)
def test_a_storage_overlaps_nothing_else(tmp_path, storage, other, relation):
    for path in (storage, other, "elsewhere"):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
    storage, other, elsewhere = (str(tmp_path / path) for path in (storage, other, "elsewhere"))
    for state, apart, what in (
        (other, {}, "GeneralPersistencyBaseDir"),
        (elsewhere, {"the keyring": other}, "the keyring"),
    ):
        problem = find_storage_problem(storage, state, elements_move_on=False, apart=apart)
        assert problem.startswith(f"the storage {storage} {relation} {other}, which is {what}: ")
    assert find_storage_problem(storage, elsewhere, elements_move_on=False) is None


def test_a_link_to_the_state_is_no_other_directory(place):
    place[0].rmdir()
    place[0].symlink_to(place[1])
    assert "which is GeneralPersistencyBaseDir" in find(place)


def test_names_that_begin_alike_are_side_by_side(place):
    beside = place[0].with_name("data-state")
    assert find_storage_problem(str(place[0]), str(beside), elements_move_on=False) is None


def test_folders_alone_do_not_fill_a_storage(place):
    (place[0] / "host" / "system").mkdir(parents=True)
    remember(place)
    assert not (place[1] / FILLED).exists()
    (place[0] / "host" / "system" / "a.info").touch()
    remember(place)
    assert find(place) is None
    (place[0] / "host" / "system" / "a.info").unlink()
    assert "is empty, although there were elements in it" in find(place)
