"""Storing while the disk is full, while system calls fail, and killed at each of them.

Each run is seen in its log to have been hit.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tracer import DEADLINE, SEARCH_PATH, Traced, Tracer, ordinals

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import ElementLockedError, StorageError
from guerillabackup.osfile import open_directory
from guerillabackup.storage.default_file import DefaultFileStorage

pytestmark = pytest.mark.exhaustive

CHILD = Path(__file__).with_name("fault_child.py")
TAKEN = ElementId.parse("/host/20231114221320-etc-full")
PREPARED = ElementId.parse("/host/20231114221321-etc-full")
# fmt: off
OPERATIONS = [
    "store", "store in a new folder", "store without unnamed files", "prepare and close", "batch",
    "batch without unnamed files", "close together", "replace an attribute", "set an attribute",
    "remove an attribute", "complete", "delete", "delete together",
]
STORING = OPERATIONS[:7]
CHANGING = frozenset((
    "linkat", "unlinkat", "unlink", "mkdirat", "fsync", "syncfs", "write", "renameat", "renameat2", "rename",
    "rmdir", "fchmod", "fchown", "flock",
))
"""Calls between which the state on disk differs, and the locks."""
NEEDING_SPACE = frozenset(("openat", "linkat", "mkdirat", "write", "fsync", "syncfs", "renameat", "rename"))
FALLIBLE = {"EIO": CHANGING | {"openat", "dup", "fstat", "newfstatat", "close"}, "ENOSPC": NEEDING_SPACE}
# fmt: on
@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    one = Tracer(tmp_path_factory.mktemp("traces"), CHILD)
    yield one
    one.close()


def metainfo(data: bytes, timestamp: int = 1_700_000_000) -> BackupElementMetainfo:
    values = {"BackupType": "full", "Timestamp": timestamp}
    return BackupElementMetainfo({**values, "StorageFileChecksumSha512": hashlib.sha512(data).digest()})


def put(storage: DefaultFileStorage, data: bytes, source: str = "/host/etc") -> None:
    with storage.get_sink_handle(SourceUrl(source)) as handle:
        handle.write(data)
        handle.close(metainfo(data))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A storage with an element whose second the operations use too, an attribute, and prepared data."""
    path = tmp_path / "template"
    path.mkdir()
    with DefaultFileStorage(str(path)) as storage:
        put(storage, b"taken")
        storage.get_backup_data_element(TAKEN).set_extra_data("mark", b"old")
    (path / "host" / f"{PREPARED.file_stem}.data").write_bytes(b"left")
    return path


def copies(template: Path, count: int) -> list[Path]:
    paths = [template.with_name(f"copy {number}") for number in range(count)]
    for path in paths:
        shutil.copytree(template, path)
    return paths


def run_each(
    tracer: Tracer, operation: str, template: Path, injections: Sequence[str]
) -> list[tuple[Path, Traced]]:
    """The operation once with each injection, each in a storage of its own."""
    paths = copies(template, len(injections))
    with concurrent.futures.ThreadPoolExecutor(4, "tracer") as pool:
        runs = list(pool.map(lambda one: tracer.run(operation, *one), zip(paths, injections, strict=True)))
    for injection, run in zip(injections, runs, strict=True):
        assert run.was_hit, f"{injection} hit nothing"
    return list(zip(paths, runs, strict=True))


def contents(storage: DefaultFileStorage) -> dict[str, bytes]:
    """Every element's data by id; a test fails unless each is what its metadata says."""
    found = {}
    for element in storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            data = stream.read()
        assert hashlib.sha512(data).digest() == element.get_metadata().checksum
        found[str(element.get_element_id())] = data
    return found


def check_works(storage: DefaultFileStorage) -> None:
    """The next store, list, attribute, completion and deletion work."""
    before = contents(storage)
    put(storage, b"next")
    put(storage, b"next", "/new/folder/etc")
    with storage.open_batch() as batch:
        put(batch, b"next of a batch")
    assert len(contents(storage)) == len(before) + 3
    storage.complete(PREPARED, metainfo(b"left", 1_700_000_001))
    assert contents(storage)[str(PREPARED)] == b"left"
    for element in storage.query_backup_data_elements():
        element.set_extra_data("mark", b"next")
        element.set_extra_data("other", b"next")
        element.delete()
    assert contents(storage) == {}
    list(storage.find_leftovers())


EXPECTED_DATA = {b"taken", b"stored", b"prepared", b"first", b"second", b"third", b"left"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_any_call_an_element_is_complete_or_absent_and_the_next_works(tracer, template, operation):
    plain = tracer.run(operation, copies(template, 1)[0])
    assert plain.outcome == "done"
    shutil.rmtree(template.with_name("copy 0"))
    injections = [place.replace(":", ":signal=KILL:") for place in ordinals(plain.calls, CHANGING)]
    assert len(injections) >= 3
    for path, run in run_each(tracer, operation, template, injections):
        assert run.outcome is None
        with DefaultFileStorage(str(path)) as storage:
            found = contents(storage)
            assert set(found.values()) <= EXPECTED_DATA
            if not operation.startswith("delete"):
                assert found[str(TAKEN)] == b"taken"
            if operation == "delete together":
                assert list(found.values()).count(b"third") == 2, "what was not to be deleted"
            if str(TAKEN) in found:
                element = storage.get_backup_data_element(TAKEN)
                attributes = {name: element.get_extra_data(name) for name in element.list_extra_data()}
                assert attributes in allowed_attributes(operation)
            check_works(storage)


def allowed_attributes(operation: str) -> list[dict[str, bytes]]:
    """What an element that is there may have; one that is being deleted is whole while it is there."""
    before = {"mark": b"old"}
    after = {
        "replace an attribute": {"mark": b"new"},
        "set an attribute": {"mark": b"old", "other": b"new"},
        "remove an attribute": {},
    }
    return [before, after.get(operation, before)]


@pytest.mark.parametrize("error", list(FALLIBLE))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_error_of_any_call_is_reported_clearly_and_leaves_nothing_that_blocks(
    tracer, template, operation, error
):
    plain = tracer.run(operation, copies(template, 1)[0])
    shutil.rmtree(template.with_name("copy 0"))
    injections = [place.replace(":", f":error={error}:") for place in ordinals(plain.calls, FALLIBLE[error])]
    for (path, run), injection in zip(
        run_each(tracer, operation, template, injections), injections, strict=True
    ):
        assert run.outcome is not None, injection
        classes, _, message = run.outcome.partition("\n")
        with DefaultFileStorage(str(path)) as storage:
            found = contents(storage)
            if run.outcome == "done":
                assert operation not in STORING or len(found) in (2, 4), injection
            else:
                kind = "StorageFullError" if error == "ENOSPC" else "StorageError"
                assert kind in classes.split(), f"{injection}: {run.outcome}"
                assert re.match(r"cannot \w+|element /(host|new)/\S+: ", message), message
                if operation in STORING[:4]:
                    assert list(found) == [str(TAKEN)], f"{injection}: an element in spite of {message}"
            may_be_left = {f"host/{PREPARED.file_stem}.data"}
            if not injection.startswith(
                ("unlink", "rmdir", "close", "openat", "dup")
            ) and not operation.startswith("delete"):
                left = {leftover.path for leftover in storage.find_leftovers()}
                assert left <= may_be_left, f"{injection}: {left}"
            check_works(storage)


def positions(calls: Sequence[tuple[str, str]], name: str, pattern: str) -> list[int]:
    return [
        index
        for index, (called, arguments) in enumerate(calls)
        if called == name and re.search(pattern, arguments)
    ]


@pytest.mark.parametrize(
    "operation", ["store", "store in a new folder", "prepare and close", "batch", "close together"]
)
def test_bytes_are_durable_before_their_names_and_folders_after(tracer, template, operation):
    calls = tracer.run(operation, copies(template, 1)[0]).calls
    data_links = positions(calls, "linkat", r"\.data\"")
    info_links = positions(calls, "linkat", r"\.info\"")
    is_group = operation in ("batch", "close together")
    count = 3 if is_group else 1
    assert (len(data_links), len(info_links)) == (count, count)
    writes = positions(calls, "write", "")
    syncs = positions(calls, "fsync", r"\(deleted\)|/#\d+")
    if is_group:
        (syncs,) = [positions(calls, "syncfs", "")]
        assert len(syncs) == 1
    else:
        assert len(syncs) == 2, "data and metadata are synced"
    assert len(writes) == 2 * count
    assert max(writes) < max(syncs) < min(data_links)
    for data_link, info_link in zip(data_links, info_links, strict=True):
        assert data_link < info_link
    folders = {re.search(r"<([^>]*)>, \"[^\"]*\.info\"", calls[link][1])[1] for link in info_links}
    for folder in folders:
        last_link = max(link for link in info_links if f"<{folder}>" in calls[link][1])
        assert positions(calls, "fsync", rf"<{re.escape(folder)}>\)")[-1] > last_link
    for made in positions(calls, "mkdirat", ""):
        parent = re.search(r"<([^>]*)>", calls[made][1])[1]
        synced = [at for at in positions(calls, "fsync", rf"<{re.escape(parent)}>\)") if at > made]
        assert synced, f"{parent} is synced after a folder was made in it"
        assert synced[0] < min(data_links)


def test_a_folder_that_somebody_else_made_is_synced_before_it_is_first_relied_on(tracer, template):
    calls = tracer.run("store", copies(template, 1)[0]).calls
    root = positions(calls, "fsync", r"copy 0>\)")
    assert root
    assert root[0] < positions(calls, "linkat", r"\.data\"")[0]


def test_a_deletion_takes_info_first_data_last_and_syncs(tracer, template):
    calls = tracer.run("delete", copies(template, 1)[0]).calls
    info, mark, data = (positions(calls, "unlinkat", rf"\.{one}\"") for one in ("info", "mark", "data"))
    assert info[0] < mark[0] < data[0] < positions(calls, "fsync", "host>")[-1]


def test_elements_are_deleted_together_with_one_sync_for_each_folder_after_the_last_of_its_names(
    tracer, template
):
    calls = tracer.run("delete together", copies(template, 1)[0]).calls
    assert len(positions(calls, "fsync", "")) == 2
    for folder, count in (("host", 2), ("new", 1)):
        infos, datas = (
            positions(calls, "unlinkat", rf"/{folder}>, \"[^\"]*\.{suffix}\"") for suffix in ("info", "data")
        )
        assert len(infos) == len(datas) == count
        assert all(info < data for info, data in zip(infos, datas, strict=True))
        assert max(datas) < positions(calls, "fsync", rf"/{folder}>")[0]


# A disk that is full


MOUNT_AND_RUN = """
import os, subprocess, sys
directory, options, code = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
exec(code)
"""

FULL = """
import sys
sys.path.insert(0, {tests!r})
from fault_child import *
from guerillabackup.errors import *
base = directory
with open(os.path.join(base, "ballast"), "wb") as file:
    file.write(bytes({ballast}))
for number in range({inodes}):
    open(os.path.join(base, f"ballast{{number}}"), "w").close()
for unnamed in (True, False):
    storage = DefaultFileStorage(base, unnamed_files=unnamed)
    descriptors = len(os.listdir("/proc/self/fd"))
    def attempt(sink, source, data):
        with sink.get_sink_handle(SourceUrl(source)) as handle:
            for offset in range(0, len(data), 65536):
                handle.write(data[offset : offset + 65536])
            handle.close(metainfo(data))
    def attempt_batch():
        with storage.open_batch() as batch:
            for turn in range(8):
                attempt(batch, "/host/etc", bytes({size} // 4))
    def found():
        return [str(one.get_element_id()) for one in storage.query_backup_data_elements()]
    for action in (lambda: attempt(storage, "/host/etc", bytes({size})), attempt_batch) * 2:
        try:
            action()
        except StorageFullError as error:
            print("full:", error)
        assert found() == [], found()
        assert [one.path for one in storage.find_leftovers() if "ballast" not in one.path] == []
        assert len(os.listdir("/proc/self/fd")) == descriptors
    storage.close()
for name in os.listdir(base):
    if name.startswith("ballast"):
        os.unlink(os.path.join(base, name))
for unnamed in (True, False):
    storage = DefaultFileStorage(base, unnamed_files=unnamed)
    put(storage, "/host/etc", bytes({size} // 4))
    with storage.open_batch() as batch:
        put(batch, "/host/etc", b"batch")
    assert len(list(storage.query_backup_data_elements())) == 2
    for element in storage.query_backup_data_elements():
        element.delete()
    storage.close()
print("stored")
"""


def run_on_tmpfs(directory: Path, options: str, code: str) -> str:
    """What the code prints on a small tmpfs of its own, in a mount namespace that ends with it."""
    directory.mkdir(exist_ok=True)
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    result = subprocess.run(
        [*namespace, sys.executable, "-c", MOUNT_AND_RUN, str(directory), options, code],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("options", "ballast", "inodes", "size"),
    [
        ("size=2M", 0, 0, 3 << 20),
        ("size=2M", 1_900_000, 0, 1 << 20),
        ("size=2M", (2 << 20) - 4096, 0, 1 << 20),
        ("size=2M,nr_inodes=16", 0, 14, 4096),
        ("size=2M,nr_inodes=16", 0, 13, 4096),
    ],
)
def test_a_full_disk_is_a_clear_error_without_leftovers_and_passes(tmp_path, options, ballast, inodes, size):
    code = FULL.format(tests=str(CHILD.parent), ballast=ballast, inodes=inodes, size=size)
    lines = run_on_tmpfs(tmp_path / "small", options, code).splitlines()
    assert len(lines) == 9, lines
    assert lines[-1] == "stored"
    for line in lines[:-1]:
        assert re.match(r"full: cannot (write|store|begin) an? .*: No space left on device$", line), line


READ_ONLY = """
import sys
sys.path.insert(0, {tests!r})
from fault_child import *
from guerillabackup.errors import *
storage = DefaultFileStorage(directory)
put(storage, "/host/etc", b"data")
(element,) = storage.query_backup_data_elements()
subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
actions = [lambda source=source: put(storage, source, b"x") for source in ("/host/etc", "/new/etc")]
for action in (*actions, element.delete, lambda: element.set_extra_data("mark", b"x")):
    try:
        action()
    except StorageError as error:
        print(error)
assert element.get_data_stream().read() == b"data"
"""


def test_a_file_system_that_is_read_only_is_a_clear_error_and_is_read(tmp_path):
    lines = run_on_tmpfs(
        tmp_path / "small", "size=2M", READ_ONLY.format(tests=str(CHILD.parent))
    ).splitlines()
    assert len(lines) == 4
    assert all(line.endswith(": Read-only file system") for line in lines), lines


MOUNT_BELOW = """
import sys
sys.path.insert(0, {tests!r})
os.makedirs(os.path.join(directory, "host"))
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", os.path.join(directory, "host")], check=True)
from fault_child import *
storage = DefaultFileStorage(directory)
batch(storage)
put(storage, "/host/etc", b"single")
print(len(list(storage.query_backup_data_elements())))
"""


def test_a_folder_of_a_storage_may_be_another_file_system(tmp_path):
    assert run_on_tmpfs(tmp_path / "small", "size=2M", MOUNT_BELOW.format(tests=str(CHILD.parent))) == "4\n"


def test_locks_of_a_killed_process_are_gone(tmp_path, template):
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv[2])\nfrom fault_child import *\n"
        "element = DefaultFileStorage(sys.argv[1]).get_backup_data_element(TAKEN)\n"
        "element.lock()\nprint('locked', flush=True)\nsignal.pause()\n"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, str(template), str(CHILD.parent)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": SEARCH_PATH},
        ) as process,
        DefaultFileStorage(str(template)) as storage,
    ):
        assert process.stdout.readline() == "locked\n"
        element = storage.get_backup_data_element(TAKEN)
        with pytest.raises(ElementLockedError):
            element.delete()
        process.kill()
        process.wait(DEADLINE)
        element.delete()
        assert contents(storage) == {}
    with contextlib.suppress(StorageError):
        os.close(open_directory(str(template)))
