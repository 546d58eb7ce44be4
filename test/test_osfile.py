"""The one hand on the file system: never through a link, exact modes, every byte, old or new and no part."""

import ast
import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup import osfile
from guerillabackup.errors import StorageError, StorageFullError, StorageReadOnlyError
from guerillabackup.osfile import PRIVATE, Ownership


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "base").mkdir()
    descriptor = os.open(tmp_path / "base", os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "base"


@pytest.fixture(params=[0, 0o022, 0o077, 0o177])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Never through a link


def test_a_link_on_the_way_is_not_followed(directory, base, tmp_path):
    (tmp_path / "outside" / "sub").mkdir(parents=True)
    (base / "link").symlink_to(tmp_path / "outside")
    before = open_descriptors()
    for components in (("link",), ("link", "sub")):
        with pytest.raises(OSError):
            osfile.open_directory_below(directory, components)
        with pytest.raises(OSError):
            osfile.make_directory_below(directory, components, PRIVATE)
    with pytest.raises(OSError):
        osfile.make_directory_below(directory, ("link", "new"), PRIVATE)
    assert os.listdir(tmp_path / "outside") == ["sub"]
    assert open_descriptors() == before


def test_a_link_as_file_is_neither_read_nor_written(directory, base, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (base / "link").symlink_to(tmp_path / "secret")
    before = open_descriptors()
    with pytest.raises(OSError):
        osfile.open_file(directory, "link")
    with pytest.raises(OSError):
        osfile.read_file(directory, "link", 100)
    osfile.replace_file(directory, "link", b"new")
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (base / "link").is_symlink()
    assert open_descriptors() == before


def test_a_link_in_the_place_of_the_temporary_file_is_removed_not_followed(directory, base, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (base / "state.tmp").symlink_to(tmp_path / "secret")
    osfile.replace_file(directory, "state", b"new")
    assert (tmp_path / "secret").read_text() == "secret"
    assert os.listdir(base) == ["state"]


def test_removing_a_link_leaves_what_it_points_to(directory, base, tmp_path):
    (tmp_path / "kept").write_text("kept")
    (base / "link").symlink_to(tmp_path / "kept")
    assert osfile.remove_file(directory, "link")
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_folder_that_turns_into_a_link_and_back_never_leads_outside(directory, base, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (base / "inside").mkdir()
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            (base / "inside").rename(base / "aside")
            (base / "inside").symlink_to(outside)
            (base / "inside").unlink()
            (base / "aside").rename(base / "inside")
            is_over.wait(0.001)

    swapper = threading.Thread(target=swap, name="swapper")
    swapper.start()
    made = tried = 0
    try:
        while tried < 2000 or made < 20:
            tried += 1
            try:
                descriptor = osfile.open_directory_below(directory, ("inside",))
            except OSError:
                continue
            made += 1
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
            os.close(descriptor)
    finally:
        is_over.set()
        swapper.join()
    assert os.listdir(outside) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b"])
def test_only_single_names_are_taken(directory, name):
    for action in (
        lambda: osfile.open_directory_below(directory, ("a", name)[1:]),
        lambda: osfile.make_directory_below(directory, (name,), PRIVATE),
        lambda: osfile.open_file(directory, name),
        lambda: osfile.read_file(directory, name, 1),
        lambda: osfile.replace_file(directory, name, b""),
        lambda: osfile.remove_file(directory, name),
    ):
        with pytest.raises(StorageError, match="single file name"):
            action()


def test_what_is_not_a_regular_file_is_refused_without_waiting_for_it(directory, base):
    os.mkfifo(base / "fifo")
    (base / "folder").mkdir()
    before = open_descriptors()
    for name in ("fifo", "folder"):
        with pytest.raises(StorageError, match="not a regular file"):
            osfile.open_file(directory, name)
    assert open_descriptors() == before


# Modes and owners


def test_new_folders_have_exactly_their_mode_under_any_umask(directory, base, umask):
    os.close(osfile.make_directory_below(directory, ("a", "b"), Ownership(directory_mode=0o2750)))
    assert [mode(base / "a"), mode(base / "a" / "b")] == [0o2750, 0o2750]


def test_a_named_directory_and_what_is_above_it_have_exactly_their_mode_under_any_umask(tmp_path, umask):
    osfile.make_directories(str(tmp_path / "x" / "y"), Ownership(directory_mode=0o755))
    assert [mode(tmp_path / "x"), mode(tmp_path / "x" / "y")] == [0o755, 0o755]


def test_a_directory_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "x").mkdir(mode=0o711)
    osfile.make_directories(str(tmp_path / "x"), Ownership(directory_mode=0o700))
    assert mode(tmp_path / "x") == 0o711


@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o444, 0o666])
def test_a_replaced_file_has_exactly_its_mode_under_any_umask(directory, base, umask, wanted):
    osfile.replace_file(directory, "state", b"one", wanted)
    assert mode(base / "state") == wanted


def test_an_unnamed_file_gets_its_mode_and_name(directory, base, umask):
    descriptor = osfile.open_unnamed(directory, 0o640)
    assert descriptor is not None
    osfile.apply_ownership(descriptor, 0o640, PRIVATE)
    osfile.write_all(descriptor, b"data")
    assert os.listdir(base) == []
    osfile.link_unnamed(descriptor, directory, "named")
    with pytest.raises(FileExistsError):
        osfile.link_unnamed(descriptor, directory, "named")
    os.close(descriptor)
    assert mode(base / "named") == 0o640
    assert (base / "named").read_bytes() == b"data"


def test_an_unnamed_file_in_a_removed_directory_is_an_error_not_a_missing_feature(directory, base):
    base.rmdir()
    with pytest.raises(OSError):
        osfile.open_unnamed(directory, 0o600)


def test_giving_files_away_works_as_root_and_says_what_was_refused_otherwise(directory, base):
    ownership = Ownership(user_id=12345, group_id=54321)
    if os.geteuid() == 0:
        os.close(osfile.make_directory_below(directory, ("a",), ownership))
        assert ((base / "a").stat().st_uid, (base / "a").stat().st_gid) == (12345, 54321)
    else:
        with pytest.raises(PermissionError, match="may not give a file to user 12345, group 54321"):
            osfile.make_directory_below(directory, ("a",), ownership)


# Every byte, or an error


@given(st.binary(max_size=2000))
def test_what_is_written_to_a_pipe_arrives(data):
    read_end, write_end = os.pipe()
    os.write(write_end, b"")
    osfile.write_all(write_end, data)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        assert file.read() == data


def test_a_pipe_that_takes_a_little_at_a_time_gets_everything():
    read_end, write_end = os.pipe()
    data = os.urandom(3_000_000)
    writer = threading.Thread(target=lambda: (osfile.write_all(write_end, data), os.close(write_end)))
    writer.start()
    received = bytearray()
    while part := os.read(read_end, 4097):
        received += part
    writer.join()
    os.close(read_end)
    assert received == data


def test_a_limit_to_the_size_of_files_cuts_no_write_silently(tmp_path):
    script = (
        "import os, resource, sys\nfrom guerillabackup import osfile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "try:\n    osfile.write_all(descriptor, bytes(150_000))\n"
        "except OSError as error:\n    print(error.errno, os.fstat(descriptor).st_size)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")], capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == (f"{errno.EFBIG} 100000\n", "")


@pytest.mark.parametrize(
    "data", [b"", bytearray(b"ab"), memoryview(b"abcd")[1:3], memoryview(bytes(8)).cast("I")]
)
def test_any_buffer_is_written(tmp_path, data):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    osfile.write_all(descriptor, data)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == bytes(data)


@pytest.mark.parametrize(("size", "limit"), [(0, 0), (0, 5), (4, 5), (5, 5), (3_000_000, 3_000_000)])
def test_a_file_within_its_limit_is_read_whole(directory, base, size, limit):
    (base / "file").write_bytes(bytes(size))
    assert osfile.read_file(directory, "file", limit) == bytes(size)


@pytest.mark.parametrize(("size", "limit"), [(1, 0), (6, 5), (3_000_000, 2_999_999), (3_000_000, 5)])
def test_a_file_longer_than_its_limit_is_refused(directory, base, size, limit):
    (base / "file").write_bytes(bytes(size))
    with pytest.raises(StorageError, match=f"longer than {limit} bytes"):
        osfile.read_file(directory, "file", limit)


def test_the_names_of_a_folder_are_the_same_for_many_threads_at_once(directory, base):
    names = sorted(f"name{number}" for number in range(300))
    for name in names:
        (base / name).touch()
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(osfile.list_names(directory)), name=f"lister {number}")
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [names] * 8


def test_names_nobody_can_print_are_not_listed(directory, base):
    for name in (b"good", b"new\nline", b"\xff", "ä".encode()):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=directory))
    assert osfile.list_names(directory) == ["good"]


def test_removing_what_is_not_there_says_so(directory):
    assert not osfile.remove_file(directory, "missing")
    assert not osfile.remove_file(directory, "x" * 300)
    assert osfile.stat_file(directory, "missing") is None
    assert osfile.stat_file(directory, "x" * 300) is None


# Replacing


def test_replacing_removes_what_a_crash_left(directory, base):
    (base / "state.tmp").write_text("half")
    osfile.replace_file(directory, "state", b"new")
    assert {path.name: path.read_bytes() for path in base.iterdir()} == {"state": b"new"}


def test_a_failed_replacement_keeps_the_old_file_and_leaves_nothing(directory, base):
    osfile.replace_file(directory, "state", b"old")
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError):
            osfile.replace_file(directory, "state", b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in base.iterdir()} == {"state": b"old"}
    assert open_descriptors() == before


def test_readers_of_a_file_that_is_replaced_see_the_old_or_the_new_one(directory):
    contents = {b"a" * 5000, b"b" * 7000}
    osfile.replace_file(directory, "state", b"a" * 5000)
    is_over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not is_over.is_set():
            seen.add(osfile.read_file(directory, "state", 10_000))

    reader = threading.Thread(target=read, name="reader")
    reader.start()
    for _ in range(30):
        for content in sorted(contents):
            osfile.replace_file(directory, "state", content)
    is_over.set()
    reader.join()
    assert seen <= contents


# Folders


def test_folders_are_made_by_many_threads_at_once(directory, base):
    failures: list[BaseException] = []

    def make(number: int) -> None:
        try:
            for name in ("x", "y", "z"):
                os.close(osfile.make_directory_below(directory, (name, "b", f"c{number % 3}"), PRIVATE))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(number,), name=f"maker {number}") for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.name for path in (base / "x" / "b").iterdir()) == ["c0", "c1", "c2"]


def test_a_missing_folder_is_a_plain_error_and_leaks_nothing(directory):
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        osfile.open_directory_below(directory, ("a", "b"))
    with pytest.raises(StorageError, match="cannot open directory /nowhere"):
        osfile.open_directory("/nowhere")
    assert open_descriptors() == before


def test_a_path_longer_than_the_kernel_takes_at_once_is_walked_step_by_step(directory):
    components = [f"{number:0200d}" for number in range(40)]
    os.close(osfile.make_directory_below(directory, components, PRIVATE))
    os.close(osfile.open_directory_below(directory, components))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_lack_of_space_or_quota_may_pass(number):
    with pytest.raises(StorageFullError, match="cannot write x: "), osfile.storage_errors("cannot write x"):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_other_errors_of_the_system_are_storage_errors_that_say_what_was_done(number):
    with (
        pytest.raises(StorageError, match=os.strerror(number)) as caught,
        osfile.storage_errors("cannot write x"),
    ):
        raise OSError(number, os.strerror(number))
    assert not isinstance(caught.value, StorageFullError)
    assert isinstance(caught.value, StorageReadOnlyError) == (number == errno.EROFS)
    assert isinstance(caught.value.__cause__, OSError)


def test_syncing_a_file_system_of_a_closed_descriptor_is_an_error(directory):
    osfile.sync_file_system(directory)
    descriptor = os.dup(directory)
    os.close(descriptor)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        osfile.sync_file_system(descriptor)
    osfile.start_writeback(descriptor, 0, 0)


# Interrupts.


@pytest.fixture
def interrupt(monkeypatch):
    """Raise KeyboardInterrupt right after a descriptor was closed, once; hands back all that were closed."""
    really, closed = os.close, []

    def close(descriptor):
        closed.append(descriptor)
        really(descriptor)
        if len(closed) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", close)
    yield closed
    monkeypatch.undo()


@pytest.mark.parametrize(
    "act",
    [
        lambda directory: osfile.open_directory_below(directory, ["a", "b"]),
        lambda directory: osfile.make_directory_below(directory, ["a", "new"], PRIVATE),
    ],
    ids=["open", "make"],
)
def test_an_interrupt_after_a_descriptor_was_closed_closes_it_no_second_time(directory, base, interrupt, act):
    (base / "a" / "b").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        act(directory)
    assert len(interrupt) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def closed_before_it_is_forgotten(source: str) -> list[str]:
    """What is closed by os.close in a function, and only then set to something else."""
    found = []
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)):
        closed: dict[str, int] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.close":
                closed[ast.unparse(node.args[0])] = node.lineno
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                names = {ast.unparse(name) for target in node.targets for name in ast.walk(target)}
                found += [name for name in names & closed.keys() if closed[name] < node.lineno]
    return found


def test_what_holds_a_descriptor_is_seen_to_be_closed_before_it_is_forgotten():
    assert closed_before_it_is_forgotten("def f(self):\n os.close(self.fd)\n self.fd = -1") == ["self.fd"]
    assert closed_before_it_is_forgotten("def f():\n fd, own = own, -1\n os.close(fd)") == []


def test_whatever_holds_a_descriptor_forgets_it_before_it_is_closed():
    package = Path(osfile.__file__).parent
    found = {str(path): closed_before_it_is_forgotten(path.read_text()) for path in package.rglob("*.py")}
    assert len(found) > 200
    assert {path: names for path, names in found.items() if names} == {}


def test_a_path_that_is_much_too_long_is_told_shortened():
    with pytest.raises(StorageError, match=f"^cannot open directory /{'a' * 199}…{'a' * 200}: ") as caught:
        osfile.open_directory("/" + "a" * 5000)
    assert len(str(caught.value)) < 500
