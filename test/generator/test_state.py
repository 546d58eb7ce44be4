"""The memory of a unit: replaced whole, locked, and clear about what is wrong with it."""

import fcntl
import os

import pytest

from guerillabackup.errors import StateError, StorageError, TemporaryError
from guerillabackup.generator.state import OLD_STATE, PENDING, STATE, StateBusyError, StateDirectory


@pytest.fixture
def state(tmp_path):
    with StateDirectory(str(tmp_path / "generators" / "unit")) as directory:
        yield directory


def test_the_directory_is_made_for_its_owner_alone(state):
    assert os.stat(state.path).st_mode & 0o777 == 0o700


def test_what_is_saved_is_loaded_and_for_its_owner_alone(state):
    state.save(STATE, {"/a": [1, None, "x"]})
    assert state.load(STATE) == {"/a": [1, None, "x"]}
    assert os.stat(state.file_path(STATE)).st_mode & 0o777 == 0o600


def test_a_file_that_is_not_there_is_none(state):
    assert state.load(STATE) is None
    assert not state.has(STATE)


def test_the_file_before_is_kept_under_the_name_that_is_asked_for(state):
    for number in range(3):
        state.save(STATE, number, keep_as=OLD_STATE)
    assert state.load(STATE) == 2
    assert state.load(OLD_STATE) == 1
    assert sorted(os.listdir(state.path)) == [STATE, OLD_STATE]


def test_removing_can_be_repeated(state):
    state.save(PENDING, [])
    state.remove(PENDING)
    state.remove(PENDING)
    assert os.listdir(state.path) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"/a": [1, 2', b"\xff\xfe", b"null", b"[" * 100_000, b"\0" * 64]
)
@pytest.mark.parametrize("name", [STATE, PENDING])
def test_a_damaged_file_is_told_with_its_path_and_the_remedy(state, name, content):
    with open(state.file_path(name), "wb") as file:
        file.write(content)
    with pytest.raises(StateError) as error:
        state.load(name)
    assert state.file_path(name) in str(error.value)
    assert "remove it" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: open(path, "w").close()])
def test_what_is_moved_aside_replaces_nothing(state, make):
    paths = []
    for _ in range(3):
        make(state.file_path("extras.current"))
        paths.append(state.move_aside("extras.current"))
    assert sorted(os.path.join(state.path, name) for name in os.listdir(state.path)) == sorted(paths)


def test_a_file_above_the_limit_is_refused_unread(state):
    with open(state.file_path(STATE), "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StateError, match="longer than"):
        state.load(STATE)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/proc/version", path)])
def test_what_is_no_file_is_refused_and_not_waited_for(state, make):
    make(state.file_path(STATE))
    with pytest.raises(StateError, match=r"state\.current"):
        state.load(STATE)


def test_two_do_not_work_with_one_directory(state):
    with pytest.raises(StateBusyError, match="another generator works with"):
        StateDirectory(state.path)
    assert issubclass(StateBusyError, TemporaryError)


def test_after_close_another_may_work_with_it(state):
    state.close()
    state.close()
    with StateDirectory(state.path) as other:
        other.save(STATE, 1)


def test_the_lock_is_not_handed_to_programs(state):
    assert fcntl.fcntl(state.descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot open the state directory"):
        StateDirectory(str(tmp_path / "file" / "unit"))


def test_a_leftover_of_a_crash_does_not_stop_the_next_save(state):
    with open(state.file_path(f"{STATE}.tmp"), "w") as file:
        file.write("half")
    state.save(STATE, {"a": 1})
    assert state.load(STATE) == {"a": 1}
    assert os.listdir(state.path) == [STATE]


def test_a_failed_save_leaves_the_value_before(state):
    state.save(STATE, {"a": 1})
    os.mkdir(state.file_path(f"{STATE}.tmp"))
    with pytest.raises(StorageError, match=r"cannot write state file .*state\.current"):
        state.save(STATE, {"a": 2})
    assert state.load(STATE) == {"a": 1}
